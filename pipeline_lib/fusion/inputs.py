"""What fusion reads, side by side and checked once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.fusion.availability import available
from pipeline_lib.tables import predictions
from pipeline_lib.tables.manifest import Manifest, keep
from pipeline_lib.tables.predictions import Predictions


@dataclass(frozen=True)
class Inputs:
    """The experts' values of every utterance that any of them predicts, and the truth.

    Attributes:
        ids: shape ``(n,)``
        speakers: of each, None where unknown
        tuning: the utterances to fit on, bool, shape ``(n,)``
        labels: of the posteriors
        posteriors: shape ``(n_with_posterior, n, n_labels)``, NaN rows where absent; None where no expert has any
        posterior_experts: in the order of the first axis
        truth: label indices, -1 where there is none, shape ``(n,)``
        attribute_names, attributes, attribute_experts, attribute_truth: likewise; truth ``(n, n_attributes)``, NaN
    """

    ids: np.ndarray
    speakers: list[str | None]
    tuning: np.ndarray
    labels: tuple[str, ...]
    posteriors: np.ndarray | None
    posterior_experts: tuple[Predictions, ...]
    truth: np.ndarray
    attribute_names: tuple[str, ...]
    attributes: np.ndarray | None
    attribute_experts: tuple[Predictions, ...]
    attribute_truth: np.ndarray


def gather(experts: Sequence[Predictions], manifest: Manifest, tuning: str) -> Inputs:
    """Return the experts side by side, in the order of the manifest; utterances that no expert saw are left out.

    Raises:
        InputError: experts differ in labels or attributes, predict unknown utterances, or have none in common; or the
            tuning set does not exist or has no labelled utterance
    """
    ids = manifest.ids
    _refuse_unknown(experts, ids)
    with_posterior = tuple(each for each in experts if each.posterior is not None)
    with_attributes = tuple(each for each in experts if each.attributes is not None)
    if not with_posterior and not with_attributes:
        raise InputError(f"experts {[each.expert for each in experts]} have neither posteriors nor attributes to fuse")
    labels = with_posterior[0].labels if with_posterior else ()
    names = with_attributes[0].attribute_names if with_attributes else ()
    if with_posterior and labels != manifest.labels:
        raise InputError(
            f"expert {with_posterior[0].expert!r} has labels {list(labels)}, the manifest {list(manifest.labels)}"
            " (does it come from data/predictions, not rebalanced?)"
        )
    posteriors = predictions.stack(with_posterior, ids)[0] if with_posterior else None
    attributes = predictions.stack(with_attributes, ids)[1] if with_attributes else None
    seen = _seen(posteriors, ids, "posterior", with_posterior) & _seen(attributes, ids, "attributes", with_attributes)
    if not seen.any():
        raise InputError(f"no utterance has all that experts {[each.expert for each in experts]} say, nothing is fused")
    manifest = keep(manifest, seen)
    inputs = Inputs(
        ids=manifest.ids,
        speakers=[None if s is None or s != s else str(s) for s in manifest.frame["speaker"]],
        tuning=manifest.mask(tuning),
        labels=labels,
        posteriors=None if posteriors is None else posteriors[:, seen],
        posterior_experts=with_posterior,
        truth=manifest.truth(labels),
        attribute_names=names,
        attributes=None if attributes is None else attributes[:, seen],
        attribute_experts=with_attributes,
        attribute_truth=manifest.attributes(names),
    )
    if with_posterior and not (inputs.tuning & (inputs.truth >= 0)).any():
        raise InputError(
            f"no utterance of {tuning!r}, the tuning set of fusion, is labelled with one of {list(labels)}"
        )
    return inputs


def _refuse_unknown(experts: Sequence[Predictions], ids: np.ndarray) -> None:
    known = set(ids)
    for expert in experts:
        unknown = [each for each in expert.utterance_ids if each not in known]
        if unknown:
            raise InputError(
                f"expert {expert.expert!r} predicts {len(unknown)} utterances that the manifest lacks,"
                f" {unknown[0]!r} first (was the corpus stage run again after fine-tuning?)"
            )


def _seen(values: np.ndarray | None, ids: np.ndarray, what: str, experts: tuple[Predictions, ...]) -> np.ndarray:
    """Return which utterances any expert has values of, bool, shape ``(n,)``, and print how many none has."""
    seen = np.ones(len(ids), dtype=bool) if values is None else available(values).any(axis=0)
    if not seen.all():
        print(
            f"{int((~seen).sum())} of {len(ids)} utterances have no {what} of any expert among"
            f" {[each.expert for each in experts]}, {ids[~seen][0]!r} first: they are left out of the fused tables"
        )
    return seen

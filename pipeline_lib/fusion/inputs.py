"""Inputs of fusion, aligned by utterance and checked once."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.fusion.availability import available
from pipeline_lib.tables import predictions
from pipeline_lib.tables.manifest import Manifest, keep
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import Provenance
from pipeline_lib.tables.truth import labels_of


@dataclass(frozen=True)
class Inputs:
    """The experts' values of every utterance that any of them predicts, and the truth.

    Attributes:
        ids: shape ``(n,)``
        speakers: of the utterances, None where unknown
        tuning: the utterances to fit on, bool, shape ``(n,)``
        labels: of the posteriors
        posteriors: shape ``(n_with_posterior, n, n_labels)``, NaN rows where absent; None where no expert has any
        posterior_experts: in the order of the first axis
        truth: label indices of the tuning set, -1 elsewhere and where there is none, shape ``(n,)``
        attribute_names: of the attributes' last axis
        attributes: shape ``(n_with_attributes, n, n_attributes)``, NaN rows where absent; None where no expert has any
        attribute_experts: in the order of the first axis
        attribute_truth: of the tuning set, shape ``(n, n_attributes)``, NaN elsewhere and where there is none
        read: the tuning set, as what labels were read of
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
    read: Provenance = field(default_factory=Provenance)


def gather(
    experts: Sequence[Predictions], manifest: Manifest, tuning: str | None, *, allow_test: bool = False
) -> Inputs:
    """Return the experts side by side, in the order of the manifest; utterances without an expert are left out.

    Args:
        experts: rebalanced predictions, in the order of ``fusion.experts``
        manifest: utterances, truth and speakers
        tuning: split or subset to fit on; None where nothing is fitted
        allow_test: whether it may hold utterances of a test split

    Raises:
        InputError: experts differ in labels or attributes, predict unknown utterances, or have none in common; or the
            tuning set does not exist, has no labelled utterance or holds utterances of a test split
    """
    ids = manifest.ids
    _refuse_unknown(experts, ids)
    with_posterior = tuple(expert for expert in experts if expert.posterior is not None)
    with_attributes = tuple(expert for expert in experts if expert.attributes is not None)
    expert_names = [expert.expert for expert in experts]
    if not with_posterior and not with_attributes:
        raise InputError(f"experts {expert_names} have neither posteriors nor attributes to fuse")
    labels = with_posterior[0].labels if with_posterior else ()
    names = with_attributes[0].attribute_names if with_attributes else ()
    if with_posterior and labels != manifest.labels:
        raise InputError(
            f"expert {with_posterior[0].expert!r} has labels {list(labels)}, the manifest {list(manifest.labels)}"
            " (does it come from data/predictions, not rebalanced?)"
        )
    posteriors = predictions.stack(with_posterior, ids.tolist())[0] if with_posterior else None
    attributes = predictions.stack(with_attributes, ids.tolist())[1] if with_attributes else None
    seen = _seen(posteriors, ids, "posterior", with_posterior) & _seen(attributes, ids, "attributes", with_attributes)
    if not seen.any():
        raise InputError(f"no utterance has every kind of prediction that experts {expert_names} give; nothing to fuse")
    manifest = keep(manifest, seen)
    fit = [] if tuning is None else [tuning]
    read = labels_of(manifest, fit=fit, where="fusion.tuning", allow_test=allow_test)
    inputs = Inputs(
        ids=manifest.ids,
        speakers=[None if s is None or s != s else str(s) for s in manifest.frame["speaker"]],
        tuning=read.inside,
        labels=labels,
        posteriors=None if posteriors is None else posteriors[:, seen],
        posterior_experts=with_posterior,
        truth=read.classes(labels),
        attribute_names=names,
        attributes=None if attributes is None else attributes[:, seen],
        attribute_experts=with_attributes,
        attribute_truth=read.values(names),
        read=read.record,
    )
    if tuning is not None and with_posterior and not (inputs.tuning & (inputs.truth >= 0)).any():
        raise InputError(
            f"no utterance of {tuning!r}, the tuning set of fusion, is labelled with one of {list(labels)}"
        )
    return inputs


def _refuse_unknown(experts: Sequence[Predictions], ids: np.ndarray) -> None:
    known = set(ids)
    for expert in experts:
        unknown = [name for name in expert.utterance_ids if name not in known]
        if unknown:
            raise InputError(
                f"expert {expert.expert!r} predicts {len(unknown)} utterances that the manifest lacks,"
                f" {unknown[0]!r} first (was the corpus stage run again after fine-tuning?)"
            )


def _seen(values: np.ndarray | None, ids: np.ndarray, what: str, experts: tuple[Predictions, ...]) -> np.ndarray:
    """Return which utterances any expert has values of, bool, shape ``(n,)``, and print how many none has."""
    seen = np.ones(len(ids), dtype=bool)
    if values is not None:
        seen = np.asarray(available(values).any(axis=0))
    if not seen.all():
        print(
            f"{int((~seen).sum())} of {len(ids)} utterances have no {what} of any expert among"
            f" {[expert.expert for expert in experts]}, {ids[~seen][0]!r} first: they are left out of the fused tables"
        )
    return seen

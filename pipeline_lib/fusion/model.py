"""models/fusion/: the fitted fusion, readable by a person and by this module.

``fusion.json`` holds the weights or, for logreg and plda, the coefficients of one classifier a set of experts, numbers
in full; of a vote there is nothing to hold. Biases of the labels stand beside them. ``curve.csv`` holds every weight
that the search tried with its criteria, a row a trial: the grid curve.
"""

import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib.classifiers.state import restore, state
from pipeline_lib.errors import InputError
from pipeline_lib.fusion.attributes import AttributeInterpolation
from pipeline_lib.fusion.biases import Biased
from pipeline_lib.fusion.fuse import Fuser, Fusion, make
from pipeline_lib.fusion.interpolation import Interpolation
from pipeline_lib.fusion.stacking import Stacked
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.storage import atomic, checksummed_json
from pipeline_lib.tables.provenance import Provenance

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Loaded:
    """A fitted fusion read from disk.

    Attributes:
        labels: of the posteriors
        posterior_experts: the order of the first axis of ``fuser``'s inputs
        fuser: fitted, with its biases; None without posteriors
        attribute_names: of the attributes
        attribute_experts: the order of the first axis of ``attribute_fuser``'s inputs
        attribute_fuser: fitted; None without attributes
        provenance: splits that the fusion and its experts were fitted or chosen on
    """

    labels: tuple[str, ...]
    posterior_experts: tuple[str, ...]
    fuser: Fuser | Biased | None
    attribute_names: tuple[str, ...]
    attribute_experts: tuple[str, ...]
    attribute_fuser: AttributeInterpolation | None
    provenance: Provenance = field(default_factory=Provenance)


def write(folder: Path, fusion: Fusion, settings: FusionSettings) -> None:
    """Write the folder atomically, in place of an earlier one.

    Args:
        folder: models/fusion
        fusion: fitted
        settings: the options it was fitted with
    """
    with atomic.replace_folder(folder) as temporary:
        record = checksummed_json.dumps(_record(fusion, settings), indent=1)
        (temporary / "fusion.json").write_text(record + "\n", encoding="utf-8")
        (temporary / "curve.csv").write_text(_curve(fusion), encoding="utf-8")


def read(folder: Path) -> Loaded:
    """Return the fusion that ``write`` wrote.

    Args:
        folder: models/fusion

    Raises:
        InputError: the file is missing or damaged, or has another format version
    """
    path = folder / "fusion.json"
    try:
        record, _ = checksummed_json.read(path)
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; the stage that writes it has not run (dvc repro)") from None
    if record.get("format_version") != FORMAT_VERSION:
        raise InputError(f"{path} has format version {record.get('format_version')}, this code reads {FORMAT_VERSION}")
    settings = FusionSettings.parse(record["settings"], "settings", path)
    categories, attributes = record["categories"], record["attributes"]
    return Loaded(
        labels=tuple(categories["labels"]) if categories else (),
        posterior_experts=tuple(categories["experts"]) if categories else (),
        fuser=_fuser_from(categories, settings) if categories else None,
        attribute_names=tuple(attributes["weights"]) if attributes else (),
        attribute_experts=tuple(attributes["experts"]) if attributes else (),
        attribute_fuser=_attribute_fuser_from(attributes, settings) if attributes else None,
        provenance=Provenance.of(record, "fusion"),
    )


def _record(fusion: Fusion, settings: FusionSettings) -> dict[str, Any]:
    """Return the fitted parameters as JSON's types."""
    inputs, fuser, attribute_fuser = fusion.inputs, fusion.fuser, fusion.attribute_fuser
    categories: dict[str, Any] | None = None
    attributes: dict[str, Any] | None = None
    biases = fuser.biases_.tolist() if isinstance(fuser, Biased) else None
    fuser = fuser.fuser if isinstance(fuser, Biased) else fuser
    if fuser is not None:
        names = [expert.expert for expert in inputs.posterior_experts]
        categories = {"experts": names, "labels": list(inputs.labels)}
        if isinstance(fuser, Interpolation):
            categories["weights"] = dict(zip(names, fuser.weights_.tolist(), strict=True))
            if len(fuser.tried_):  # of one expert alone nothing was fitted
                categories[f"{settings.objective}_on_{settings.tuning}"] = fuser.score_
        elif isinstance(fuser, Stacked):
            categories["models"] = [
                {"experts": [names[index] for index in indices], **_listed(state(model))}
                for indices, model in sorted(fuser.models_.items())
            ]
        if biases is not None:
            categories["class_biases"] = dict(zip(inputs.labels, biases, strict=True))
    if attribute_fuser is not None:
        names = [expert.expert for expert in inputs.attribute_experts]
        rows = zip(attribute_fuser.names, attribute_fuser.weights_.tolist(), strict=True)
        attributes = {"experts": names, "weights": {name: dict(zip(names, row, strict=True)) for name, row in rows}}
        if len(attribute_fuser.scores_):
            scores = zip(attribute_fuser.names, attribute_fuser.scores_.tolist(), strict=True)
            attributes[f"ccc_on_{settings.tuning}"] = dict(scores)
    return {
        "format_version": FORMAT_VERSION,
        "settings": settings.model_dump(),
        "categories": categories,
        "attributes": attributes,
        **fusion.fused.provenance.entries(),
    }


def _listed(learned: dict[str, Any]) -> dict[str, Any]:
    return {name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in learned.items()}


def _fuser_from(categories: dict[str, Any], settings: FusionSettings) -> Fuser | Biased:
    if settings.passes_through:
        return Interpolation.of_one()
    fuser = make(settings)
    if isinstance(fuser, Interpolation):
        fuser.weights_ = np.array(list(categories["weights"].values()))
    elif isinstance(fuser, Stacked):
        fuser.models_ = {}
        for record in categories["models"]:
            model = restore(fuser.classifier(), record)
            indices = tuple(categories["experts"].index(name) for name in record["experts"])
            fuser.models_[indices] = model
    biases = categories.get("class_biases")
    return fuser if biases is None else Biased(fuser, np.array([biases[label] for label in categories["labels"]]))


def _attribute_fuser_from(attributes: dict[str, Any], settings: FusionSettings) -> AttributeInterpolation:
    fuser = AttributeInterpolation(tuple(attributes["weights"]), settings.interpolation.step)
    fuser.weights_ = np.array([list(row.values()) for row in attributes["weights"].values()])
    return fuser


def _curve(fusion: Fusion) -> str:
    """Return the tried weights as CSV: target, a weight an expert (empty: not an input), score and tie-breaker."""
    names = list(dict.fromkeys(e.expert for e in (*fusion.inputs.posterior_experts, *fusion.inputs.attribute_experts)))
    rows: list[list[Any]] = []
    searches: list[tuple[str, tuple, np.ndarray, np.ndarray]] = []
    fuser = fusion.fuser.fuser if isinstance(fusion.fuser, Biased) else fusion.fuser
    if isinstance(fuser, Interpolation):
        searches.append(("categories", fusion.inputs.posterior_experts, fuser.tried_, fuser.criteria_))
    if fusion.attribute_fuser is not None:
        fitted = fusion.attribute_fuser
        experts = fusion.inputs.attribute_experts
        searches += [(n, experts, t, c) for n, t, c in zip(fitted.names, fitted.tried_, fitted.criteria_, strict=True)]
    for target, experts, tried, criteria in searches:
        indices = {expert.expert: k for k, expert in enumerate(experts)}
        for weights, reached in zip(tried.tolist(), criteria.tolist(), strict=True):
            given = [weights[indices[name]] if name in indices else "" for name in names]
            rows.append([target, *given, *reached])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["target", *(f"weight_{name}" for name in names), "score", "tie_breaker"])
    writer.writerows(rows)
    return text.getvalue()

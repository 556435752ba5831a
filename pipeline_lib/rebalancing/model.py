"""models/rebalancing/<entry>/: what rebalancing fitted, and how it makes a table of its source.

``model.json`` holds settings, labels, priors and temperature, readable by a person, with its own checksum and that of
``back_ends.safetensors``, which holds the arrays of the back ends and of the regressions to attributes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib.classifiers.lda import LinearDiscriminantAnalysis
from pipeline_lib.classifiers.normalisation import Normalisation
from pipeline_lib.classifiers.state import restore, state
from pipeline_lib.errors import InputError
from pipeline_lib.labels import PSEUDO
from pipeline_lib.params.rebalancing import RebalancingSettings
from pipeline_lib.rebalancing import prior, temperature
from pipeline_lib.rebalancing.backend import BackEnd
from pipeline_lib.rebalancing.regression import AttributeRegression
from pipeline_lib.rebalancing.source import Layers, Source
from pipeline_lib.storage import atomic, checksummed_json
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import Provenance

FORMAT_VERSION = 1
RECORD, ARRAYS = "model.json", "back_ends.safetensors"
PARTS = ("normalisation", "lda", "classifier")  # of a back end


@dataclass(frozen=True)
class Model:
    """What an entry fitted.

    Attributes:
        name: of the entry
        settings: the options it was fitted with
        labels: of the table's posterior
        back_ends: by the layers whose mean vector each reads, () for an expert's embedding; none without a back end
        regressions: by layers likewise, then by attribute; none where the attributes are the expert's
        training_prior: the prior that the posterior contains before its replacement, shape ``(n_labels,)``, None where
            it is not known
        temperature: of the evidence, None without calibration
        target_prior: the prior that the table's posterior contains, shape ``(n_labels,)``, None where none is put in
        provenance: splits on which something was fitted or chosen, those of the source among them
        on_dev: macro-F1 on dev by layer, where a layer was chosen by it
    """

    name: str
    settings: RebalancingSettings
    labels: tuple[str, ...]
    back_ends: dict[Layers, BackEnd] = field(default_factory=dict)
    regressions: dict[Layers, dict[str, AttributeRegression]] = field(default_factory=dict)
    training_prior: np.ndarray | None = None
    temperature: float | None = None
    target_prior: np.ndarray | None = None
    provenance: Provenance = field(default_factory=Provenance)
    on_dev: dict[int, float] = field(default_factory=dict)


def apply(model: Model, source: Source) -> Predictions:
    """Return the table of the entry: the posterior of its method, tempered, under the target prior.

    Args:
        model: fitted
        source: of the kind that the model was fitted on

    Returns:
        labels as in the model, ``training_prior`` the prior that the posterior contains; attributes are the
        regressions' where there are any, else the source's

    Raises:
        InputError: the source has other labels than the model
    """
    table = replace(source.predictions, expert=model.name, embedding=None, provenance=model.provenance)
    if model.regressions:
        names = tuple(next(iter(model.regressions.values())))
        parts = (
            np.column_stack([by_name[name].predict(source.vectors(layers)) for name in names])
            for layers, by_name in model.regressions.items()
        )
        table = replace(table, attribute_names=names, attributes=_mean(parts))
    if not model.back_ends and source.predictions.posterior is None:
        return table
    posterior, _ = evidence(model, source)
    if model.temperature is not None:
        posterior = temperature.temper(posterior, contained(model), model.temperature)
    if model.target_prior is None or model.training_prior is None:
        same = np.ones(len(model.labels))
        posterior = prior.rebalance(posterior, training_prior=same, target_prior=same)
    else:
        posterior = prior.rebalance(posterior, model.training_prior, model.target_prior)
    now = model.training_prior if model.target_prior is None else model.target_prior
    return replace(table, labels=model.labels, posterior=posterior, training_prior=now)


def evidence(model: Model, source: Source) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the posterior of the method over the model's labels, not yet summing to 1, and the prior it contains.

    Posteriors of several back ends, one a layer, are averaged as probabilities.

    Args:
        model: its back ends and labels
        source: of the kind that the model was fitted on

    Returns:
        shapes ``(n, n_labels)`` and ``(n_labels,)``; the prior is None where the expert's is not known

    Raises:
        InputError: the expert has no output for a label, or one that is unknown
    """
    given = source.predictions
    if model.back_ends:
        parts = (back_end.predict_proba(source.vectors(layers)) for layers, back_end in model.back_ends.items())
        prior_ = next(iter(model.back_ends.values())).prior_
        given = replace(given, labels=model.labels, posterior=_mean(parts), training_prior=prior_)
    assert given.posterior is not None
    return _without_pseudo_labels(given, given.posterior, model.labels)


def contained(model: Model) -> np.ndarray:
    """Return the prior that the posterior contains before its replacement, shape ``(n_labels,)``.

    Args:
        model: its training prior; where that is not known the prior is uniform
    """
    if model.training_prior is None:
        return np.full(len(model.labels), 1 / len(model.labels))
    return model.training_prior


def _mean(parts: Iterator[np.ndarray]) -> np.ndarray:
    total, count = next(parts), 1
    for part in parts:
        total, count = total + part, count + 1
    return total / count


def _without_pseudo_labels(
    predictions: Predictions, posterior: np.ndarray, labels: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return the posterior's columns of ``labels`` in that order, not yet summing to 1, and their training prior."""
    expert = predictions.expert
    missing = [label for label in labels if label not in predictions.labels]
    if missing:
        raise InputError(f"expert {expert!r} has no output for {missing}; it was trained on {list(predictions.labels)}")
    unknown = [label for label in predictions.labels if label not in (*labels, *PSEUDO)]
    if unknown:
        raise InputError(f"expert {expert!r} predicts {unknown}, the manifest's labels are {list(labels)}")
    order = [predictions.labels.index(label) for label in labels]
    training_prior = predictions.training_prior
    if training_prior is not None:
        training_prior = training_prior[order]
        if not training_prior.sum() > 0:
            raise InputError(f"expert {expert!r} was trained on none of {list(labels)}")
        training_prior = training_prior / training_prior.sum()
    return posterior[:, order], training_prior


def write(folder: Path, model: Model) -> None:
    """Write the folder atomically, in place of an earlier one.

    Args:
        folder: models/rebalancing/<entry>
        model: fitted
    """
    from safetensors.numpy import save

    arrays = dict(_arrays(model))
    # the order in memory is kept: a product of matrices may round differently with the other one
    by_column = sorted(name for name, array in arrays.items() if array.flags.f_contiguous > array.flags.c_contiguous)
    content = save({n: (a.T if n in by_column else a).copy(order="C") for n, a in sorted(arrays.items())})
    record = {
        "format_version": FORMAT_VERSION,
        "name": model.name,
        "settings": model.settings.model_dump(),
        "labels": list(model.labels),
        "back_ends": [list(layers) for layers in model.back_ends],
        "regressions": [{"layers": list(layers), "attributes": list(r)} for layers, r in model.regressions.items()],
        "by_column": by_column,
        "training_prior": None if model.training_prior is None else model.training_prior.tolist(),
        "temperature": model.temperature,
        "target_prior": None if model.target_prior is None else model.target_prior.tolist(),
        **model.provenance.entries(),
        "macro_f1_on_dev": {str(layer): score for layer, score in model.on_dev.items()},
    }
    with atomic.replace_folder(folder) as temporary:
        (temporary / ARRAYS).write_bytes(content)
        text = checksummed_json.dumps(record, {ARRAYS: content}, indent=1)
        (temporary / RECORD).write_text(text + "\n", encoding="utf-8")


def read(folder: Path) -> Model:
    """Return the model that ``write`` wrote; ``apply`` gives the same table to the bit.

    Args:
        folder: models/rebalancing/<entry>

    Raises:
        InputError: a file is missing or damaged, or has another format version
    """
    from safetensors.numpy import load

    path = folder / RECORD
    try:
        record, digests = checksummed_json.read(path)
        checksummed_json.check(folder / ARRAYS, digests.get(ARRAYS))
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} does not exist; the stage rebalancing writes it (dvc repro)") from None
    if record.get("format_version") != FORMAT_VERSION:
        raise InputError(f"{path} has format version {record.get('format_version')}, this code reads {FORMAT_VERSION}")
    arrays = load((folder / ARRAYS).read_bytes())
    arrays = {name: array.T if name in record["by_column"] else array for name, array in arrays.items()}
    settings = RebalancingSettings.parse(record["settings"], "settings", path)
    back_ends = [tuple(numbers) for numbers in record["back_ends"]]
    regressions = [(tuple(fitted["layers"]), fitted["attributes"]) for fitted in record["regressions"]]
    return Model(
        name=record["name"],
        settings=settings,
        labels=tuple(record["labels"]),
        back_ends={layers: _back_end(settings, arrays, _key("back_end", layers)) for layers in back_ends},
        regressions={
            layers: {name: _regression(settings, arrays, _key(name, layers)) for name in names}
            for layers, names in regressions
        },
        training_prior=_array(record["training_prior"]),
        temperature=record["temperature"],
        target_prior=_array(record["target_prior"]),
        provenance=Provenance.of(record, record["name"]),
        on_dev={int(layer): score for layer, score in record["macro_f1_on_dev"].items()},
    )


def _arrays(model: Model) -> Iterator[tuple[str, np.ndarray]]:
    """Yield every fitted array with its name in the file."""
    for layers, back_end in model.back_ends.items():
        parts: dict[str, Any] = {name: getattr(back_end, f"{name}_") for name in PARTS}
        for name, part in parts.items():
            if part is not None:
                yield from ((f"{_key('back_end', layers)}.{name}.{k}", np.asarray(v)) for k, v in state(part).items())
        yield f"{_key('back_end', layers)}.prior", back_end.prior_
    for layers, by_name in model.regressions.items():
        for name, regression in by_name.items():
            key, normalisation = _key(name, layers), state(regression.normalisation_)
            yield from ((f"{key}.normalisation.{k}", np.asarray(v)) for k, v in normalisation.items())
            yield f"{key}.coef", regression.coef_
            yield f"{key}.intercept", np.asarray(regression.intercept_)


def _back_end(settings: RebalancingSettings, arrays: dict[str, np.ndarray], key: str) -> BackEnd:
    back_end = BackEnd(getattr(settings, settings.method))
    options = back_end.settings
    back_end.normalisation_ = restore(Normalisation(options.normalisation), _part(arrays, f"{key}.normalisation."))
    back_end.lda_ = None
    if options.components is not None:
        lda = LinearDiscriminantAnalysis(options.components, options.shrinkage)
        back_end.lda_ = restore(lda, _part(arrays, f"{key}.lda."))
    back_end.classifier_ = restore(back_end.new_classifier(), _part(arrays, f"{key}.classifier."))
    back_end.classes_, back_end.prior_ = back_end.classifier_.classes_, arrays[f"{key}.prior"]
    return back_end


def _regression(settings: RebalancingSettings, arrays: dict[str, np.ndarray], key: str) -> AttributeRegression:
    assert settings.source is not None
    regression = AttributeRegression(settings.source.ridge)
    regression.normalisation_ = restore(Normalisation("standardise"), _part(arrays, f"{key}.normalisation."))
    regression.coef_, regression.intercept_ = arrays[f"{key}.coef"], float(arrays[f"{key}.intercept"])
    return regression


def _part(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray | float]:
    """Return the arrays whose name begins so, without that; of no dimension as numbers."""
    named = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
    return {name: array if array.ndim else float(array) for name, array in named.items()}


def _key(part: str, layers: Layers) -> str:
    return f"{part}.{'+'.join(f'{layer:02d}' for layer in layers) or 'embedding'}"


def _array(values: list[float] | None) -> np.ndarray | None:
    return None if values is None else np.array(values, dtype=np.float64)

"""Predictions of a trained expert for any utterances: resumable, batches fixed by length.

Nothing is read but the expert's folder and the checkpoint that it names: longest audio, scale and range of attributes,
and the prior are saved with the expert. Without autocast: in float32, or where the encoder's weights are in bfloat16 or
4 bit, the encoder in bfloat16, on a CPU one utterance at a time: its rounding would show which others share a batch.
"""

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
import pyarrow as pa
import torch
from scipy.special import softmax

from pipeline_lib.encoders.device import pick
from pipeline_lib.errors import InputError
from pipeline_lib.experts import availability, disk, folds
from pipeline_lib.experts.build import AnyNetwork, precision
from pipeline_lib.experts.prediction_job import PredictionJob
from pipeline_lib.experts.settings import ExpertSettings
from pipeline_lib.experts.utterances import Utterances
from pipeline_lib.metrics.attributes import RANGES, to_scale
from pipeline_lib.modalities import BOTH
from pipeline_lib.params.machine import FINETUNING, FinetuningMachine
from pipeline_lib.shards.store import by_length, run_shards
from pipeline_lib.tables.folds import name_of
from pipeline_lib.tables.origin import Origin, Origins, join
from pipeline_lib.tables.predictions import Predictions

SHARD, EXACT = 256, "float32"
OUTPUTS = ("logits", "attributes", "embedding")


@dataclass(frozen=True)
class Expert:
    """A trained expert that is loaded.

    Attributes:
        folder: where it is saved; workers load it from there
        settings: that are saved with it
        network: merged, on its device
    """

    folder: Path
    settings: ExpertSettings
    network: AnyNetwork

    @classmethod
    def load(cls, folder: Path, device: torch.device) -> Self:
        """Return the expert of a folder.

        Args:
            folder: the expert's
            device: where its network runs

        Raises:
            InputError: a file is missing or damaged, or does not fit the encoder's checkpoint
        """
        return cls(folder, disk.read_settings(folder), disk.load(folder, device))


def predict(
    expert: Path | Expert,
    utterances: Utterances,
    *,
    batch_size: int = 16,
    machine: FinetuningMachine = FINETUNING,
    folder: Path | None = None,
    combination: str = BOTH,
    name: str | None = None,
    from_frames: bool = False,
) -> Predictions:
    """Return posteriors over the trained labels, attributes on the corpus's scale, and embeddings.

    An expert with folds predicts the mean of its folds' posteriors and attributes, and no embedding.
    An expert of several modalities predicts from all of them and from each combination at once; the same call with
    another ``combination`` reads the shards of the first.

    Args:
        expert: its folder, or the expert loaded
        utterances: of its modalities; those that have none of them are left out
        batch_size: utterances of like length in a forward pass
        machine: executor, device, workers and threads
        folder: for unfinished shards, which a run that was killed goes on from; None for a temporary one
        combination: modalities whose predictions are returned
        name: of the expert in the table; None for its folder's
        from_frames: read the utterances' cached frames, which every row has, in place of running frozen encoders

    Raises:
        InputError: the expert cannot be loaded, reads other modalities, or memory does not suffice
    """
    if isinstance(expert, Path):
        name = expert.name if name is None else name
        of_folds = [
            predict(
                each,
                utterances,
                batch_size=batch_size,
                machine=machine,
                folder=None if folder is None else folder / each.name,
                combination=combination,
                name=name,
            )
            for each in folds.experts_of(expert)
        ]
        if of_folds:
            return mean(of_folds)
        expert = Expert.load(expert, pick(machine.device))
    executor = machine.executor
    job = _job(expert, utterances if from_frames else utterances.with_frames({}), batch_size, machine)
    plan = by_length(utterances.lengths[job.rows], SHARD, job.batch_size)
    compute = None if executor.workers else job.predicting_with(expert.network)
    name = expert.folder.name if name is None else name
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(folder) as shards:
        tables = run_shards(Path(shards), plan, compute, f"predicting {name}", job=job, executor=executor)
        watched = (origins := Origins()).watch(tables)
        outputs = _gathered(watched, job.rows, "" if combination == BOTH else f"{combination}.")
    return _shown(name, expert, job, outputs, combination, origins.joined)


def predict_here(
    expert: Expert,
    utterances: Utterances,
    combinations: Sequence[str],
    *,
    batch_size: int,
    machine: FinetuningMachine,
    name: str,
) -> dict[str, Predictions]:
    """Return the predictions of a few utterances from each combination of modalities, computed at once in this process.

    Args:
        expert: loaded
        utterances: of its modalities, any of which some utterance has
        combinations: whose predictions are returned
        batch_size: utterances of like length in a forward pass
        machine: workers and threads; the device is the expert's
        name: of the expert in the tables

    Raises:
        InputError: the expert reads other modalities, or memory does not suffice
    """
    job = _job(expert, utterances.with_frames({}), batch_size, machine)
    (rows,) = by_length(utterances.lengths[job.rows], len(job.rows), job.batch_size)
    table = job.predicting_with(expert.network)(rows)
    origin = Origin(job.device, precision(expert.network))
    gathered = {each: _gathered([table], job.rows, "" if each == BOTH else f"{each}.") for each in combinations}
    return {each: _shown(name, expert, job, outputs, each, origin) for each, outputs in gathered.items()}


def _shown(
    name: str, expert: Expert, job: PredictionJob, outputs: dict[str, np.ndarray], combination: str, origin: Origin
) -> Predictions:
    """Return the predictions of the utterances that have all modalities of a combination."""
    utterances = job.utterances
    has = availability.shows(utterances.present[job.rows], utterances.modalities, combination)
    if not has.all():
        for key in outputs:
            outputs[key] = outputs[key][has]  # one after the other: a copy of all would double the memory
    return _predictions(name, expert.settings, utterances.ids[job.rows[has]], outputs, origin)


def mean(tables: Sequence[Predictions]) -> Predictions:
    """Return the mean of the posteriors, priors and attributes of a fold's experts each; without embeddings.

    Args:
        tables: predictions of the same utterances, one a fold

    Raises:
        InputError: they differ in labels or attributes
    """
    first = tables[0]
    for number, table in enumerate(tables):
        if (table.labels, table.attribute_names) != (first.labels, first.attribute_names):
            raise InputError(
                f"{first.expert!r}: {name_of(number)} predicts {[*table.labels, *table.attribute_names]}, fold0"
                f" {[*first.labels, *first.attribute_names]}; train the expert again"
            )
    return replace(
        first,
        posterior=_mean([table.posterior for table in tables]),
        training_prior=_mean([table.training_prior for table in tables]),
        attributes=_mean([table.attributes for table in tables]),
        embedding=None,
        device=join(table.device for table in tables if table.device is not None),
        precision=join(table.precision for table in tables if table.precision is not None),
    )


def _mean(values: Sequence[np.ndarray | None]) -> np.ndarray | None:
    given = [value for value in values if value is not None]
    return np.mean(given, axis=0) if len(given) == len(values) else None


def _job(expert: Expert, utterances: Utterances, batch_size: int, machine: FinetuningMachine) -> PredictionJob:
    """Return the job that predicts all utterances that have any of the expert's modalities.

    Raises:
        InputError: the expert reads other modalities, or another context
    """
    modalities, executor = expert.settings.modalities, machine.executor
    if modalities != utterances.modalities:
        raise InputError(
            f"{expert.folder} reads {list(modalities)}, the utterances have {list(utterances.modalities)}; make them of"
            " the expert's modalities"
        )
    if expert.settings.context != utterances.context:
        raise InputError(
            f"{expert.folder} reads {expert.settings.context} previous turns before a text, the utterances have"
            f" {utterances.context}; make them with context={expert.settings.context}"
        )
    utterances = utterances.without_cache() if executor.workers else utterances
    device = machine.device if executor.is_remote else next(expert.network.parameters()).device.type
    if device == "cpu" and precision(expert.network) != EXACT:
        batch_size = 1
    return PredictionJob(
        folder=expert.folder,
        device=device,
        utterances=utterances.fitted(expert.network.encoder.branches),
        rows=np.flatnonzero(utterances.present.any(axis=1)),
        batch_size=batch_size,
        max_s=expert.settings.max_s,
        workers=machine.workers,
        threads=machine.threads,
    )


def _predictions(
    name: str, settings: ExpertSettings, ids: np.ndarray, outputs: dict[str, np.ndarray], origin: Origin
) -> Predictions:
    """Return a network's outputs as posteriors and attributes on the corpus's scale."""
    posterior = attributes = prior = None
    if settings.labels:
        posterior = softmax(outputs["logits"].astype(np.float64), axis=1)
        prior = None if settings.prior is None else np.array(settings.prior)
    if settings.attributes:
        attributes = to_scale(outputs["attributes"], RANGES[settings.attribute_range], settings.attribute_scale)
    return Predictions(
        utterance_ids=ids,
        expert=name,
        labels=tuple(settings.labels),
        posterior=posterior,
        training_prior=prior,
        attribute_names=tuple(settings.attributes),
        attributes=attributes,
        embedding=outputs["embedding"],
        device=origin.device,
        precision=origin.precision,
    )


def _gathered(tables: Iterable[pa.Table], rows: np.ndarray, prefix: str) -> dict[str, np.ndarray]:
    """Return one view's columns as arrays in the order of ``rows``, filled shard by shard."""
    outputs: dict[str, np.ndarray] = {}
    for table in tables:
        positions = np.searchsorted(rows, table["row"].to_numpy())
        for name in (output for output in OUTPUTS if prefix + output in table.column_names):
            values = _matrix(table[prefix + name])
            if name not in outputs:
                outputs[name] = np.empty((len(rows), values.shape[1]), values.dtype)
            outputs[name][positions] = values
    return outputs


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    width = column.type.list_size
    return np.concatenate([chunk.flatten().to_numpy().reshape(-1, width) for chunk in column.chunks])

"""Predictions of a trained expert for every utterance: resumable, batches fixed by length.

Without autocast: in float32, or where the encoder's weights are in bfloat16 or 4 bit, the encoder in bfloat16.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from scipy.special import softmax
from torch import nn

from pipeline_lib import experts
from pipeline_lib.encoders.device import Device, pick
from pipeline_lib.expert_network import precision
from pipeline_lib.finetuning.data import Targets
from pipeline_lib.finetuning.outputs import in_batches, outputs_of, repeatable
from pipeline_lib.finetuning.readers import Pairs, Reader, Recordings
from pipeline_lib.networks.joint import BOTH, JointNetwork
from pipeline_lib.params.branches import Combination
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.machine import FINETUNING, FinetuningMachine
from pipeline_lib.shards.store import by_length, run_shards
from pipeline_lib.tables.origin import Origin, Origins
from pipeline_lib.tables.predictions import Predictions

SHARD = 256
OUTPUTS = ("logits", "attributes", "embedding")


@dataclass(frozen=True)
class PredictionJob:
    """Job of a worker: the saved expert, and the reader of its inputs.

    Attributes:
        expert: its folder
        settings: the entry
        device: auto, cpu, cuda or mps
        read: row, start, duration to a waveform, a text, or both
        rows: of the manifest, those to predict; the plan numbers the positions in this array
        lengths: seconds or characters, of all rows of the manifest
        ids: of the rows to predict
        workers: processes that load batches
        threads: of the CPU's arithmetic in a worker, None as torch chooses
    """

    expert: Path
    settings: FinetuningSettings
    device: Device
    read: Reader
    rows: np.ndarray
    lengths: np.ndarray
    ids: list[str]
    workers: int = 0
    threads: int | None = None

    def start(self) -> Callable[[list[int]], pa.Table]:
        """Load the expert and return a function that predicts rows."""
        device = pick(self.device)
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        repeatable(device)
        return self.predicting_with(experts.load(self.expert, device))

    def predicting_with(self, network: nn.Module) -> Callable[[list[int]], pa.Table]:
        """Return a function that predicts rows with a trained network on its device; a joint one by its views."""
        forward = network.views if isinstance(network, JointNetwork) else None
        origin = Origin(next(network.parameters()).device.type, precision(network))

        def compute(positions: list[int]) -> pa.Table:
            plan = [self.rows[batch] for batch in in_batches(positions, self.settings)]
            given = (plan, self.lengths, self.read, self.settings)
            parts = list(outputs_of(network, *given, workers=self.workers, forward=forward))
            outputs = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
            columns = {key: _column(values) for key, values in outputs.items()}
            return origin.mark(pa.table({"row": pa.array(self.rows[positions]), **columns}))

        return compute


def predict(
    name: str,
    network: nn.Module,
    settings: FinetuningSettings,
    *,
    expert: Path,
    ids: np.ndarray,
    rows: np.ndarray,
    lengths: np.ndarray,
    read: Reader,
    targets: Targets,
    prior: np.ndarray | None,
    folder: Path,
    modalities: Combination = "both",
    has_modalities: np.ndarray | None = None,
    machine: FinetuningMachine = FINETUNING,
) -> Predictions:
    """Return posteriors over the trained labels, attributes on the corpus's scale, and embeddings.

    A joint expert predicts from both modalities and from each alone at once; the same call with other ``modalities``
    reads the shards of the first.

    Args:
        name: of the expert
        network: trained
        settings: the entry
        expert: where the same network is saved, which workers load
        ids: of all utterances of the manifest, shape ``(n,)``
        rows: those to predict, ascending, shape ``(n_rows,)``
        lengths: seconds or characters, of all, shape ``(n,)``
        read: row, start, duration to a waveform, a text, or both
        targets: label order, attribute names and scale
        prior: the class prior that the posterior contains, shape ``(n_labels,)``, None without labels
        folder: for unfinished shards
        modalities: those of a joint expert whose predictions are returned
        has_modalities: which of ``rows`` have any of them, bool, shape ``(n_rows,)``; None for all
        machine: executor, device, workers and threads
    """
    executor = machine.executor
    device = machine.device if executor.is_remote else next(network.parameters()).device.type
    if isinstance(read, Pairs):
        read = read.without_cache() if executor.workers else replace(read, cache={})  # its frames are those of training
    elif executor.workers and isinstance(read, Recordings):
        read = Recordings(read.paths, read.minimum_samples)  # without cached audio
    names = ids[rows].tolist()
    job = PredictionJob(expert, settings, device, read, rows, lengths, names, machine.workers, machine.threads)
    plan = by_length(lengths[rows], SHARD, settings.predict.batch_size)
    compute = None if executor.workers else job.predicting_with(network)
    tables = run_shards(folder, plan, compute, f"predicting {name}", job=job, executor=executor)
    outputs = _gathered((origins := Origins()).watch(tables), rows, "" if modalities == BOTH else f"{modalities}.")
    if has_modalities is not None and not has_modalities.all():
        rows = rows[has_modalities]
        for key in outputs:
            outputs[key] = outputs[key][has_modalities]  # one after the other: a copy of all would double the memory
    posterior = attributes = None
    if targets.labels:
        posterior = softmax(outputs["logits"].astype(np.float64), axis=1)
    if targets.attribute_names:
        attributes = targets.on_scale(outputs["attributes"])
    return Predictions(
        utterance_ids=ids[rows],
        expert=name,
        labels=targets.labels,
        posterior=posterior,
        training_prior=prior,
        attribute_names=targets.attribute_names,
        attributes=attributes,
        embedding=outputs["embedding"],
        **asdict(origins.joined),
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


def _column(values: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])


def _matrix(column: pa.ChunkedArray) -> np.ndarray:
    width = column.type.list_size
    return np.concatenate([chunk.flatten().to_numpy().reshape(-1, width) for chunk in column.chunks])

"""The job that workers predict by: the saved expert and its utterances; a worker loads the expert for itself."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch

from pipeline_lib.encoders.device import Device, pick
from pipeline_lib.experts import disk
from pipeline_lib.experts.build import AnyNetwork, precision
from pipeline_lib.experts.outputs import in_batches, outputs_of, repeatable
from pipeline_lib.experts.utterances import Utterances
from pipeline_lib.shards.batches import Halving
from pipeline_lib.tables.origin import Origin


@dataclass(frozen=True)
class PredictionJob:
    """Job of a worker: the saved expert, and what it predicts.

    Attributes:
        folder: of the expert
        device: auto, cpu, cuda or mps
        utterances: all of them
        rows: those to predict; the plan numbers the positions in this array
        batch_size: utterances in a forward pass
        max_s: longest audio that is read whole, in seconds
        workers: processes that load batches
        threads: of the CPU's arithmetic in a worker, None as torch chooses
    """

    folder: Path
    device: Device
    utterances: Utterances
    rows: np.ndarray
    batch_size: int
    max_s: float
    workers: int = 0
    threads: int | None = None

    @property
    def ids(self) -> list[str]:
        """Identifiers of the rows to predict."""
        return self.utterances.ids[self.rows].tolist()

    def start(self) -> Callable[[list[int]], pa.Table]:
        """Load the expert and return a function that predicts rows."""
        device = pick(self.device)
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        repeatable(device)
        return self.predicting_with(disk.load(self.folder, device))

    def predicting_with(self, network: AnyNetwork) -> Callable[[list[int]], pa.Table]:
        """Return a function that predicts rows, by all views of a trained network on its device."""
        halving = Halving(torch.cuda.empty_cache)
        origin = Origin(next(network.parameters()).device.type, precision(network))

        def compute(positions: list[int]) -> pa.Table:
            plan = [self.rows[batch] for batch in in_batches(positions, self.batch_size)]
            given = (network, plan, self.utterances, self.max_s)
            parts = list(outputs_of(*given, workers=self.workers, forward=network.views, halving=halving))
            outputs = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}
            columns = {key: _column(values) for key, values in outputs.items()}
            return origin.mark(pa.table({"row": pa.array(self.rows[positions]), **columns}))

        return compute


def _column(values: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), values.shape[1])

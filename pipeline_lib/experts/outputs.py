"""A network's outputs of whole utterances, of the development split and of all alike: without autocast."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline_lib.experts.loading import Loader, load, to, whole
from pipeline_lib.experts.utterances import Utterances
from pipeline_lib.shards.batches import Halving

REMEDY = "lower predict.batch_size or predict.max_s, or choose another device"
Outputs = dict[str, np.ndarray]
Forward = Callable[[dict[str, Any]], dict[str, Tensor]]


def outputs_of(
    network: nn.Module,
    plan: Sequence[np.ndarray],
    utterances: Utterances,
    max_s: float,
    *,
    workers: int = 0,
    forward: Forward | None = None,
    halving: Halving | None = None,
) -> Iterator[Outputs]:
    """Yield the network's outputs for each batch of rows, float32; whole utterances, the middle of those over max_s.

    Where memory runs out, batches are forwarded in halves from there on; a batch's outputs are yielded together.

    Args:
        network: on its device; put into eval mode
        plan: rows of the utterances, one array of shape ``(batch,)`` a batch
        utterances: all of them
        max_s: longest audio that is read whole, in seconds
        workers: processes that load batches
        forward: inputs to outputs, one of the network's methods; None calls the network itself
        halving: of the run that the batches are a part of; None begins with whole batches

    Yields:
        arrays by name, first axis of shape ``(batch,)``

    Raises:
        InputError: memory does not suffice for half a batch either
    """
    network.eval()
    halving, done = halving or Halving(torch.cuda.empty_cache), 0
    while plan:
        pieces = [[whole(utterances, part, max_s) for part in halving.parts(rows)] for rows in plan[done:]]
        loader = Loader([piece for batch in pieces for piece in batch], utterances, network.encoder.prepare)
        try:
            outputs = _forwarded(forward or network, loader, workers, next(network.parameters()).device)
            for batch in pieces:
                parts = [next(outputs) for _ in batch]
                done += 1
                yield {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        except RuntimeError as error:
            size = len(halving.parts(plan[done])[0])
            halving.cut(error, size, f"{size} utterances a forward pass", REMEDY)
        else:
            return
        halving.release()


def repeatable(device: torch.device) -> None:
    """Make a GPU's arithmetic repeatable where torch can, in this process from here on."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False


def in_batches(rows: Sequence[int] | np.ndarray, size: int) -> list[np.ndarray]:
    """Return rows in batches, in their order.

    Args:
        rows: to cut into batches
        size: rows a batch

    Returns:
        arrays of shape ``(batch,)``
    """
    return [np.asarray(rows[start : start + size]) for start in range(0, len(rows), size)]


def _forwarded(forward: Forward, loader: Loader, workers: int, device: torch.device) -> Iterator[Outputs]:
    for inputs, _ in load(loader, workers, device):
        with torch.inference_mode():
            outputs = {name: values.float().cpu().numpy() for name, values in forward(to(inputs, device)).items()}
        yield outputs

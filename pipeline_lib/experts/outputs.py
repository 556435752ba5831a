"""A network's outputs of whole utterances, of the development split and of all alike: without autocast."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pipeline_lib.experts.utterances import Reader
from pipeline_lib.finetuning import sampling
from pipeline_lib.finetuning.sampling import Batch
from pipeline_lib.params.finetuning import FinetuningSettings


def outputs_of(
    network: nn.Module,
    plan: Sequence[np.ndarray],
    lengths: np.ndarray,
    read: Reader,
    settings: FinetuningSettings,
    *,
    workers: int = 0,
    forward: Callable[[dict[str, Any]], dict[str, Tensor]] | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """Yield the network's outputs for each batch of rows, float32; whole utterances, the middle of those over max_s.

    Args:
        network: on its device; put into eval mode
        plan: rows of the manifest, one array of shape ``(batch,)`` a batch
        lengths: seconds or characters of all rows, shape ``(n,)``
        read: row, start, duration in seconds to a waveform, a text, or both
        settings: the entry
        workers: processes that load batches
        forward: inputs to outputs, one of the network's methods; None calls the network itself

    Yields:
        arrays by name, first axis of shape ``(batch,)``
    """
    if not len(plan):
        return
    network.eval()
    device = next(network.parameters()).device
    chunked = [Batch(rows, *sampling.whole(lengths[rows], settings)) for rows in plan]
    loader = sampling.Loader(chunked, read, network.encoder.prepare, {})
    with torch.inference_mode():
        for inputs, _ in sampling.load(loader, workers, device):
            outputs = (forward or network)(sampling.to(inputs, device))
            yield {name: values.float().cpu().numpy() for name, values in outputs.items()}


def repeatable(device: torch.device) -> None:
    """Make a GPU's arithmetic repeatable where torch can, in this process from here on."""
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False


def in_batches(rows: Sequence[int], settings: FinetuningSettings) -> list[np.ndarray]:
    """Return rows in batches of ``predict.batch_size``, in their order.

    Args:
        rows: to cut into batches
        settings: the entry

    Returns:
        arrays of shape ``(batch,)``
    """
    size = settings.predict.batch_size
    return [np.asarray(rows[start : start + size]) for start in range(0, len(rows), size)]

"""Steps of one expert, or passes of one embedding, at its real size with random weights, in a process of its own.

``python -m pipeline_lib.rehearsal.measure PARAMS STAGE SECONDS BATCH BUDGET PRECISION`` prints a line of JSON.
"""

import json
import resource
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pipeline_lib.encoders.branches import BranchEncoder
from pipeline_lib.encoders.device import autocast, pick
from pipeline_lib.encoders.load import LOADERS
from pipeline_lib.errors import InputError
from pipeline_lib.experts.loading import to
from pipeline_lib.finetuning import optimisation
from pipeline_lib.params.base import read_params
from pipeline_lib.params.check import read_all
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.sections import Params
from pipeline_lib.rehearsal import counting, devices, networks


@dataclass(frozen=True)
class Measured:
    """What a stage took on this machine.

    Attributes:
        stage: its name
        precision: of its training: auto, float32 or bfloat16
        batch: utterances
        seconds: of each
        training_s: for a second of audio; None of an embedding
        forward_s: for a second of audio
        peak_gb: memory of the GPU, of a CPU that of the process, in 10^9 bytes
    """

    stage: str
    precision: str
    batch: int
    seconds: float
    training_s: float | None
    forward_s: float
    peak_gb: float


def measure(params: Params, stage: str, seconds: float, batch: int, budget_s: float, precision: str) -> Measured:
    """Return the time and memory of a stage's network on the device at hand.

    Args:
        params: all sections
        stage: ``finetuning.<name>`` or ``embedding.<name>``
        seconds: of each utterance
        batch: utterances
        budget_s: seconds for which steps are repeated, after one that warms up
        precision: of a training, see ``finetuning.<name>.precision``

    Raises:
        InputError: the weights do not fit into memory, or the sizes of a checkpoint are not known
    """
    section, name = stage.split(".")
    device = pick()
    with tempfile.TemporaryDirectory() as folder:
        if section == "embedding":
            entry = params.embedding[name]
            assert entry.encoder is not None  # the plan has no figures of others
            network = _encoder(networks.Architecture.of(entry.encoder), entry.modality, Path(folder), device)
            training_s = None
        else:
            expert = params.finetuning[name].model_copy(update={"precision": precision})
            network = _expert(expert, params, Path(folder), device)
            training_s = _training(network, expert, seconds, batch, budget_s, device) / (batch * seconds)
        forward_s = _forward(network, seconds, batch, budget_s, device) / (batch * seconds)
    return Measured(stage, precision, batch, seconds, training_s, forward_s, peak_gb(device))


def _expert(expert: FinetuningSettings, params: Params, folder: Path, device: torch.device) -> nn.Module:
    known = networks.architectures(expert, params)
    encoders: Mapping[str, EncoderSettings] = {
        name: whole.laid_down(folder / name, whole.blocks) for name, whole in known.items()
    }
    labels = networks.labels_of(expert, params)
    return networks.build(networks.settings_of(expert, labels, encoders), expert, device)


def _encoder(architecture: networks.Architecture, modality: str, folder: Path, device: torch.device) -> nn.Module:
    encoder = LOADERS[modality](architecture.laid_down(folder / modality, architecture.blocks), device)
    return BranchEncoder({modality: encoder.requires_grad_(False)})


def _inputs(network: nn.Module, seconds: float, batch: int, device: torch.device) -> dict[str, Any]:
    encoder = getattr(network, "encoder", network)
    return to(encoder.prepare([counting.spoken(encoder.branches, seconds)] * batch), device)


def _training(
    network: nn.Module, expert: FinetuningSettings, seconds: float, batch: int, budget_s: float, device: torch.device
) -> float:
    optimiser = optimisation.optimiser_of(network, next(iter(expert.phases.values())))
    inputs = _inputs(network, seconds, batch, device)

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with autocast(device, enabled=expert.precision != "float32"):
            loss = counting.step(network, inputs, expert)
        loss.backward()
        optimiser.step()

    return devices.timed(step, device, budget_s)


def _forward(network: nn.Module, seconds: float, batch: int, budget_s: float, device: torch.device) -> float:
    inputs = _inputs(network, seconds, batch, device)
    network.eval()

    def forward() -> None:
        with torch.no_grad():
            network(inputs) if hasattr(network, "encoder") else network(**inputs)

    return devices.timed(forward, device, budget_s)


def peak_gb(device: torch.device) -> float:
    """Return the highest memory in use, of a GPU or of this process, in 10^9 bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def main(arguments: list[str]) -> None:
    """Print what a stage took, or why it was not measured, as a line of JSON.

    Args:
        arguments: see the module
    """
    path, stage, seconds, batch, budget_s, precision = arguments
    params = read_all(read_params(Path(path)), Path(path))
    try:
        print(json.dumps(asdict(measure(params, stage, float(seconds), int(batch), float(budget_s), precision))))
    except InputError as error:
        print(json.dumps({"why": str(error)}))


if __name__ == "__main__":
    main(sys.argv[1:])

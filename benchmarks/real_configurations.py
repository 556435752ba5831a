"""The real architectures without their weights: parameters, memory and arithmetic, or real steps with random weights.

``python -m benchmarks.real_configurations`` builds the experts of the TalTech recipes on the meta device, as they are
there, and prints a table. Nothing is downloaded: ``real_experts`` has the configurations. One process, and so:

=============== ======================================================================================================
weights         4 bytes a float32, 2 a bfloat16; nf4: 0.5 + 1/64 + 4/(64 * 256) a weight of a linear layer (4 bits, and
                for 64 weights a constant in 8 bits, for 256 constants one in 32), 4 for embeddings and norms
training        12 bytes a trained parameter: its gradient and Adam's two moments, float32
activations     what autograd saves of one forward pass of a batch, under autocast to bfloat16: the network runs on fake
                tensors (shapes without values), each storage counts once, weights do not, bfloat16 copies of float32
                weights do. Audio: chunks of 4 s; text: 64 tokens; the batch size of the recipe's first phase
fits            the smallest card whose GB hold the sum and 3 GB for CUDA itself, fragments and what lives a moment (a
                layer's unpacked 4-bit weights, the block that gradient checkpointing computes again)
FLOP            two a multiply-add, forward and, in training, backward, of the same pass; text at 4 tokens a second
=============== ======================================================================================================

``--device cuda --expert audio`` builds the network with random weights on the device, trains some steps on noise and
prints steps a second, hours of audio an hour and the highest memory in use. ``--tiny`` takes a configuration of a few
thousand parameters, which a CPU runs in a second.
"""

import time
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
import typer
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import PretrainedConfig

from benchmarks.real_experts import CHUNK_S, EXPERTS, TOKENS, TOKENS_PER_S, batch, batch_size, build, tiny
from pipeline_lib import losses
from pipeline_lib.command import run
from pipeline_lib.encoders.device import autocast, pick
from pipeline_lib.experts.loading import to
from pipeline_lib.finetuning import optimisation
from pipeline_lib.labels import PRIMARY
from pipeline_lib.networks.adapters import trained_by_module
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.rehearsal.arithmetic import FOUR_BIT, make_fake, packed_names
from pipeline_lib.rehearsal.arithmetic import run as run_counted

CARDS_GB = (24, 48, 80)
SPARE_GB = 3.0


@dataclass(frozen=True)
class Estimate:
    """Parameters, bytes and operations of an expert; operations are an audio second's."""

    encoder: int
    rows: list[tuple[str, int, int]]
    weights: float
    training: float
    activations: float
    forward_flop: float
    training_flop: float

    @property
    def trained(self) -> int:
        """All trained parameters."""
        return sum(trained for _, trained, _ in self.rows)

    @property
    def total_gb(self) -> float:
        """Weights, training and activations."""
        return (self.weights + self.training + self.activations) / 1e9


def estimate(config: PretrainedConfig, settings: FinetuningSettings) -> Estimate:
    """Return the memory and arithmetic of an expert, built without its weights."""
    precision = settings.encoder.weights
    with torch.device("meta"):  # 4 bit is built as bfloat16: its numbers are packed, its shapes are the same
        network = build(config, settings, torch.device("meta"), "bfloat16" if precision == "nf4" else precision)
    rows = trained_by_module(network)
    packed = set(packed_names(network)) if precision == "nf4" else set()
    weights = sum(
        tensor.numel() * (FOUR_BIT if name in packed else 4 if precision == "nf4" else tensor.element_size())
        for name, tensor in network.named_parameters()
    )
    encoder = sum(
        tensor.numel()
        for name, tensor in network.named_parameters()
        if name.startswith("encoder.") and "lora_" not in name
    )
    trained = sum(trained for _, trained, _ in rows)
    saved, forward, both = _run_on_nothing(network, settings, packed)
    size = batch_size(settings)
    seconds = size * (CHUNK_S if settings.modality == "audio" else TOKENS / TOKENS_PER_S)
    return Estimate(encoder, rows, weights, 12 * trained, saved, forward / seconds, both / seconds)


def _run_on_nothing(network: nn.Module, settings: FinetuningSettings, packed: set[str]) -> tuple[int, int, int]:
    """Return bytes that autograd saves of a batch's forward pass, and FLOP of that pass, alone and with backward."""
    with FakeTensorMode(allow_non_fake_inputs=True):
        make_fake(network, packed)
        inputs = batch(network, settings)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return run_counted(network, lambda: network(inputs)["logits"].float().sum(), backward=True)


def row(name: str, result: Estimate) -> str:
    """Return one line of the table."""
    expert = EXPERTS[name]
    settings = expert.settings(name)
    fits = next((f"{card} GB" for card in CARDS_GB if result.total_gb + SPARE_GB <= card), f"not {CARDS_GB[-1]} GB")
    gb = [f"{size / 1e9:.1f}" for size in (result.weights, result.training, result.activations)]
    cells = [
        f"{name} ({expert.config.model_type})",
        f"{result.encoder:,}",
        expert.published,
        f"{result.trained:,}",
        settings.encoder.weights,
        f"{batch_size(settings)}{', checkpointed' if settings.gradient_checkpointing else ''}",
        *gb,
        f"{result.total_gb:.1f}",
        fits,
        f"{result.forward_flop / 1e9:.1f}",
        f"{result.training_flop / 1e9:.1f}",
    ]
    return f"| {' | '.join(cells)} |"


HEADER = [
    *("expert", "encoder", "paper", "trained", "weights", "batch", "weights GB", "training GB", "activations GB"),
    *("sum GB", "fits", "GFLOP / audio s, forward", "in training"),
]


def train(network: nn.Module, settings: FinetuningSettings, device: torch.device, steps: int) -> dict[str, float]:
    """Take steps on one batch of noise and return steps_per_s, audio_h_per_h and peak_gb (NaN without CUDA)."""
    phase = next(iter(settings.phases.values()))
    optimiser = optimisation.optimiser_of(network, phase)
    inputs = to(batch(network, settings), device)
    truth = {"emotion": torch.arange(phase.batch_size, device=device) % len(PRIMARY)}
    if settings.targets.attributes:
        truth["attributes"] = torch.rand(phase.batch_size, len(settings.targets.attributes), device=device)
    loss_settings = settings.losses_of(phase)
    weights = {name: getattr(loss_settings, name) for name in ("cross_entropy", "focal", "concordance")}
    begun = 0.0
    for step in range(steps + 2):  # the first two warm up
        if step == 2:
            _wait(device)
            begun = time.perf_counter()
        optimiser.zero_grad(set_to_none=True)
        with autocast(device, enabled=settings.precision != "float32"):
            outputs = network(inputs)
        losses.combined(outputs, truth, weights)[0].backward()
        optimiser.step()
    _wait(device)
    rate = steps / (time.perf_counter() - begun)
    seconds = phase.batch_size * (CHUNK_S if settings.modality == "audio" else TOKENS / TOKENS_PER_S)
    peak = torch.cuda.max_memory_allocated() / 1e9 if device.type == "cuda" else float("nan")
    return {"steps_per_s": rate, "audio_h_per_h": rate * seconds, "peak_gb": peak}


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def main(
    expert: Annotated[list[str] | None, typer.Option(help=f"of {list(EXPERTS)}; all by default")] = None,
    device: Annotated[Literal["meta", "cpu", "cuda"], typer.Option(help="meta estimates, the others train")] = "meta",
    steps: Annotated[int, typer.Option(help="to take, after two that warm up")] = 20,
    small: Annotated[bool, typer.Option("--tiny", help="a few thousand parameters, to see that it runs")] = False,
) -> None:
    """Print the table of estimates, or how fast experts train on a device."""
    if device == "meta":
        sizes = {name: estimate(EXPERTS[name].config, EXPERTS[name].settings(name)) for name in expert or EXPERTS}
        print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
        print("\n".join(row(name, size) for name, size in sizes.items()))
        for name, size in sizes.items():
            print(f"\n{name}: " + ", ".join(f"{module} {n:,}" for module, n, _ in size.rows if n))
        return
    print("| expert | steps/s | audio hours/hour | peak GB |\n|---|---|---|---|")
    for name in expert or EXPERTS:
        settings, config = EXPERTS[name].settings(name), EXPERTS[name].config
        network = build(tiny(config) if small else config, settings, pick(device), settings.encoder.weights)
        rates = train(network, settings, pick(device), steps)
        print("| " + " | ".join([name, *(f"{rates[key]:.2f}" for key in rates)]) + " |")
        del network


if __name__ == "__main__":
    run(main)

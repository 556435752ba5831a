"""The real architectures without their weights: parameters, memory and arithmetic, or real steps with random weights.

``python -m benchmarks.real_configurations`` builds the experts of the TalTech recipes on the meta device, as they are
there, and prints a table. Nothing is downloaded: the configurations are written out below. One process, and so:

=============== ======================================================================================================
weights         4 bytes a float32, 2 a bfloat16; nf4: 0.5 + 1/64 + 4/(64 * 256) a weight of a linear layer (4 bits, and
                for 64 weights a constant in 8 bits, for 256 constants one in 32), 4 for embeddings and norms
training        12 bytes a trained parameter: its gradient and Adam's two moments, float32
activations     what autograd keeps of one forward pass of a batch, under autocast to bfloat16: the network runs on fake
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

import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from tokenizers import Tokenizer, models
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode, sdpa_backward_flop_count, sdpa_flop_count
from transformers import (
    LlamaConfig,
    PretrainedConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
    Wav2Vec2BertConfig,
)

from pipeline_lib import experts, losses
from pipeline_lib.command import run
from pipeline_lib.encoders.device import autocast, pick
from pipeline_lib.encoders.sonar import SonarSpeechConfig
from pipeline_lib.experts import ExpertSettings
from pipeline_lib.finetuning import optimisation
from pipeline_lib.labels import PRIMARY, PSEUDO
from pipeline_lib.networks.adapters import trained_by_module
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.recipes.compose import compose

LLAMA_7B = {"hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32}
LLAMA_70B = {"hidden_size": 8192, "intermediate_size": 28672, "num_hidden_layers": 80, "num_attention_heads": 64}
LARGE = {"hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 24, "num_attention_heads": 16}
TINY = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
FOUR_BIT = 0.5 + 1 / 64 + 4 / (64 * 256)  # bytes a weight
ATTENTION_FLOP = {  # torch's counter knows the kernels of CUDA only
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: lambda *shapes, **_: sdpa_flop_count(*shapes[:3]),
    torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward: lambda *shapes, **_: sdpa_backward_flop_count(
        *shapes[:4]
    ),
}
CARDS_GB = (24, 48, 80)
SPARE_GB = 3.0
CHUNK_S, TOKENS, TOKENS_PER_S = 4.0, 64, 4.0
FRAMES = 199  # of 4 s: 398 of 25 ms every 10 ms, two stacked


@dataclass(frozen=True)
class Expert:
    """A recipe's expert, and what the paper's table 1 says its encoder holds."""

    recipe: str
    config: PretrainedConfig
    published: str

    def settings(self, name: str) -> FinetuningSettings:
        """Return the recipe's entry."""
        return FinetuningSettings.parse(compose(self.recipe)["finetuning"][name], f"finetuning.{name}")


EXPERTS = {
    "audio": Expert("taltech", Wav2Vec2BertConfig(**LARGE), "555 M"),
    "sonar": Expert("taltech_postevaluation", SonarSpeechConfig(**LARGE), "628 M"),
    "roberta": Expert(
        "taltech",
        RobertaConfig(**LARGE, vocab_size=50265, max_position_embeddings=514, type_vocab_size=1),
        "355 M",
    ),
    "text": Expert("taltech", LlamaConfig(**LLAMA_7B, vocab_size=32000, max_position_embeddings=4096), "6.74 B"),
    "llama70b": Expert(
        "taltech_postevaluation",
        LlamaConfig(**LLAMA_70B, num_key_value_heads=8, vocab_size=32000, max_position_embeddings=4096),
        "69 B",
    ),
}


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


def build(config: PretrainedConfig, settings: FinetuningSettings, device: torch.device, held: str) -> nn.Module:
    """Return the expert's network with random weights; on the meta device with none."""
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder)
        if settings.modality == "audio":
            said = {"feature_extractor_type": "SeamlessM4TFeatureExtractor", "num_mel_bins": 80, "stride": 2}
            (Path(folder) / "preprocessor_config.json").write_text(json.dumps(said))
        else:
            words = Tokenizer(models.WordLevel({"<s>": 0, "</s>": 1, "<unk>": 2}, unk_token="<unk>"))
            PreTrainedTokenizerFast(tokenizer_object=words, eos_token="</s>").save_pretrained(folder)
        changes = {"checkpoint": folder, "revision": None, "pretrained": False, "weights": held}
        labels = (*PRIMARY, *PSEUDO) if settings.targets.pseudo_labels else PRIMARY
        asked = ExpertSettings(
            modality=settings.modality,
            encoder=settings.encoder.model_copy(update=changes),
            network=settings.network,
            labels=list(labels),
            attributes=list(settings.targets.attributes),
            attribute_scale=[1.0, 7.0],
            attribute_range=settings.targets.attribute_range,
            seed=settings.seed,
        )
        network = experts.build(asked, device)
    if settings.gradient_checkpointing:
        network.encoder.model.gradient_checkpointing_enable({"use_reentrant": False})
    return network.train()


def estimate(config: PretrainedConfig, settings: FinetuningSettings) -> Estimate:
    """Return what an expert takes, without its weights."""
    held = settings.encoder.weights
    with torch.device("meta"):  # 4 bit is built as bfloat16: its numbers are packed, its shapes are the same
        network = build(config, settings, torch.device("meta"), "bfloat16" if held == "nf4" else held)
    rows = trained_by_module(network)
    packed = set(_packed(network)) if held == "nf4" else set()
    weights = sum(
        each.numel() * (FOUR_BIT if name in packed else 4 if held == "nf4" else each.element_size())
        for name, each in network.named_parameters()
    )
    encoder = sum(
        each.numel() for name, each in network.named_parameters() if name.startswith("encoder.") and "lora_" not in name
    )
    trained = sum(trained for _, trained, _ in rows)
    kept, forward, both = _run_on_nothing(network, settings, packed)
    size = batch_size(settings)
    seconds = size * (CHUNK_S if settings.modality == "audio" else TOKENS / TOKENS_PER_S)
    return Estimate(encoder, rows, weights, 12 * trained, kept, forward / seconds, both / seconds)


def batch_size(settings: FinetuningSettings) -> int:
    """Return the first phase's."""
    return next(iter(settings.phases.values())).batch_size


def batch(settings: FinetuningSettings, width: int) -> dict[str, Tensor]:
    """Return a batch of noise, or of one token."""
    n = batch_size(settings)
    if settings.modality == "audio":
        return {
            "input_features": torch.randn(n, FRAMES, width),
            "attention_mask": torch.ones(n, FRAMES, dtype=torch.int64),
        }
    ones = torch.ones(n, TOKENS, dtype=torch.int64)
    return {"input_ids": ones, "attention_mask": ones.clone()}


def _packed(network: nn.Module) -> Iterator[str]:
    """Yield the names of weights that nf4 packs: of the encoder's linear layers, LoRA's own left out."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear) and name.startswith("encoder.") and "lora_" not in name:
            yield f"{name}.weight"


def _run_on_nothing(network: nn.Module, settings: FinetuningSettings, packed: set[str]) -> tuple[int, int, int]:
    """Return bytes that autograd keeps of a batch's forward pass, and FLOP of that pass, alone and with backward."""
    kept: dict[int, Tensor] = {}
    with FakeTensorMode(allow_non_fake_inputs=True):
        _make_fake(network, packed)
        inputs = batch(settings, getattr(network.encoder.model.config, "feature_projection_input_dim", 0))
        own = {each.untyped_storage()._cdata for each in [*network.parameters(), *network.buffers()]}

        def keep(tensor: Tensor) -> Tensor:
            if tensor.untyped_storage()._cdata not in own:
                kept.setdefault(tensor.untyped_storage()._cdata, tensor)
            return tensor

        counter = FlopCounterMode(display=False, custom_mapping=ATTENTION_FLOP)
        with counter:
            with saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", dtype=torch.bfloat16):
                outputs = network(inputs)
            forward = counter.get_total_flops()
            held = sum(each.untyped_storage().nbytes() for each in kept.values())
            outputs["logits"].float().sum().backward()
    return held, forward, counter.get_total_flops()


def _make_fake(network: nn.Module, packed: set[str]) -> None:
    """Put fake tensors of a CPU in the place of those on the meta device; beside packed weights all is in float32."""
    for prefix, module in network.named_modules():
        for name, each in module._parameters.items():
            if each is not None:
                dtype = torch.float32 if packed and f"{prefix}.{name}" not in packed else each.dtype
                made = torch.empty(each.shape, dtype=dtype)
                module._parameters[name] = nn.Parameter(made, requires_grad=each.requires_grad)
        for name, each in module._buffers.items():
            if each is not None:
                module._buffers[name] = torch.empty(each.shape, dtype=each.dtype)


def row(name: str, found: Estimate) -> str:
    """Return one line of the table."""
    expert = EXPERTS[name]
    settings = expert.settings(name)
    fits = next((f"{card} GB" for card in CARDS_GB if found.total_gb + SPARE_GB <= card), f"not {CARDS_GB[-1]} GB")
    gb = [f"{each / 1e9:.1f}" for each in (found.weights, found.training, found.activations)]
    cells = [
        f"{name} ({expert.config.model_type})",
        f"{found.encoder:,}",
        expert.published,
        f"{found.trained:,}",
        settings.encoder.weights,
        f"{batch_size(settings)}{', checkpointed' if settings.gradient_checkpointing else ''}",
        *gb,
        f"{found.total_gb:.1f}",
        fits,
        f"{found.forward_flop / 1e9:.1f}",
        f"{found.training_flop / 1e9:.1f}",
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
    width = getattr(network.encoder.model.config, "feature_projection_input_dim", 0)
    inputs = {name: each.to(device) for name, each in batch(settings, width).items()}
    truth = {"emotion": torch.arange(phase.batch_size, device=device) % len(PRIMARY)}
    if settings.targets.attributes:
        truth["attributes"] = torch.rand(phase.batch_size, len(settings.targets.attributes), device=device)
    asked = settings.losses_of(phase)
    weights = {"cross_entropy": asked.cross_entropy, "focal": asked.focal, "concordance": asked.concordance}
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


def tiny(config: PretrainedConfig) -> PretrainedConfig:
    """Return the architecture with a few thousand parameters."""
    grouped = {"num_key_value_heads": 1, "head_dim": 8} if config.model_type == "llama" else {}
    return type(config)(**{**config.to_diff_dict(), **TINY, **grouped})


def main(
    expert: Annotated[list[str] | None, typer.Option(help=f"of {list(EXPERTS)}; all by default")] = None,
    device: Annotated[Literal["meta", "cpu", "cuda"], typer.Option(help="meta estimates, the others train")] = "meta",
    steps: Annotated[int, typer.Option(help="to take, after two that warm up")] = 20,
    small: Annotated[bool, typer.Option("--tiny", help="a few thousand parameters, to see that it runs")] = False,
) -> None:
    """Print the table of estimates, or how fast experts train on a device."""
    if device == "meta":
        found = {name: estimate(EXPERTS[name].config, EXPERTS[name].settings(name)) for name in expert or EXPERTS}
        print(f"| {' | '.join(HEADER)} |\n|{'---|' * len(HEADER)}")
        print("\n".join(row(name, each) for name, each in found.items()))
        for name, each in found.items():
            print(f"\n{name}: " + ", ".join(f"{module} {n:,}" for module, n, _ in each.rows if n))
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

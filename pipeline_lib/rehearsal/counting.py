"""Parameters, arithmetic and memory of an expert's network, counted on its first blocks.

Blocks of an encoder are alike, so that what all of them take follows from one and from two: ``f(1) + (n - 1) (f(2) -
f(1))``. So does a batch from two and from three utterances; what does not grow with it, bfloat16 copies of weights and
tables of positions, is counted once. Where a forward pass reads no values it runs on fake tensors, shapes without
memory; the convolutional models, Whisper and VGGish run on real ones.

=============== ======================================================================================================
parameters      all and trained ones, LoRA, pooling and head included
weights         4 bytes a float32, 2 a bfloat16; nf4: 0.5 + 1/64 + 4/(64 * 256) a weight of a linear layer, 4 for others
training        12 bytes a trained parameter: its gradient and Adam's two moments, float32
activations     what autograd saves of a batch's forward pass under autocast to bfloat16, in float32 of what runs on
                real tensors (at most twice as much); each storage counts once, weights do not
FLOP            two a multiply-add (``torch.utils.flop_counter``); of training, forward and backward of all passes
=============== ======================================================================================================
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from pipeline_lib.encoders.branches import BranchEncoder
from pipeline_lib.encoders.load import LOADERS
from pipeline_lib.encoders.speech import SAMPLE_RATE
from pipeline_lib.finetuning.objective import AUXILIARY_INPUTS
from pipeline_lib.networks.passes import Auxiliary
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.sections import Params
from pipeline_lib.params.training import AUXILIARY, PhaseSettings
from pipeline_lib.rehearsal import networks
from pipeline_lib.rehearsal.arithmetic import FOUR_BIT, make_fake, packed_names, run
from pipeline_lib.rehearsal.networks import Architecture
from pipeline_lib.rehearsal.published import WORD

TOKENS_PER_S = 4.0


@dataclass(frozen=True)
class Count:
    """What a network holds, and what a batch of utterances takes.

    Attributes:
        parameters: of the network
        trained: of these
        weights: bytes in memory
        activations: bytes that autograd saves of the batch's forward pass
        forward_flop: of its prediction
        training_flop: of a step on it, forward and backward
    """

    parameters: float
    trained: float
    weights: float
    activations: float
    forward_flop: float
    training_flop: float

    @property
    def training(self) -> float:
        """Bytes of gradients and Adam's moments."""
        return 12 * self.trained


def count(expert: FinetuningSettings, params: Params, seconds: float, batch: int) -> Count:
    """Return what an expert takes for a batch.

    Args:
        expert: the entry; its first phase is counted
        params: all sections
        seconds: of each utterance
        batch: utterances, all equally long

    Raises:
        InputError: the sizes of a checkpoint are not known
    """
    known = networks.architectures(expert, params)
    labels = networks.labels_of(expert, params)

    def of(blocks: Mapping[str, int]) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            encoders = {key: whole.laid_down(Path(folder) / key, blocks[key]) for key, whole in known.items()}
            two, three = (np.array(astuple(counted)) for counted in _counts(expert, labels, encoders, known, seconds))
        return two + (batch - 2) * (three - two)

    return Count(*extrapolated(of, {name: whole.blocks for name, whole in known.items()}).tolist())


def count_encoder(architecture: Architecture, modality: str, seconds: float) -> Count:
    """Return what a frozen encoder takes for one utterance.

    Args:
        architecture: of the encoder
        modality: that it reads
        seconds: of the utterance
    """

    def of(blocks: Mapping[str, int]) -> np.ndarray:
        with tempfile.TemporaryDirectory() as folder:
            settings = architecture.laid_down(Path(folder) / modality, blocks[modality])
            return np.array(astuple(_encoder_count(architecture, settings, modality, seconds)), np.float64)

    return Count(*extrapolated(of, {modality: architecture.blocks}).tolist())


def _encoder_count(architecture: Architecture, settings: EncoderSettings, modality: str, seconds: float) -> Count:
    fake = architecture.is_countable_without_values
    four_bit = settings.weights == "nf4"
    built = settings.model_copy(update={"weights": "bfloat16"}) if four_bit else settings
    device = torch.device("meta" if fake else "cpu")
    with device:
        encoder = LOADERS[modality](built, device).requires_grad_(False)
    network: Any = BranchEncoder({modality: encoder})
    parameters = dict(network.named_parameters())
    packed = {name for name in parameters if four_bit and parameters[name].ndim == 2 and "embed" not in name}
    weights = sum(t.numel() * (FOUR_BIT if name in packed else t.element_size()) for name, t in parameters.items())
    inputs = network.prepare([spoken((modality,), seconds)])
    with ExitStack() as stack:
        if fake:
            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
            make_fake(network, packed)
        stack.enter_context(torch.no_grad())
        _, forward, _ = run(network, partial(network, **inputs), backward=False)
    return Count(sum(t.numel() for t in parameters.values()), 0.0, weights, 0.0, forward, 0.0)


def extrapolated(of: Callable[[Mapping[str, int]], np.ndarray], blocks: Mapping[str, int]) -> np.ndarray:
    """Return values at all blocks from those at one and two, exact where each block adds the same.

    Args:
        of: from blocks by modality to values, shape ``(n,)``
        blocks: of the whole encoders

    Returns:
        shape ``(n,)``
    """
    first = {name: min(n, 1) for name, n in blocks.items()}
    base = of(first)
    total = base.copy()
    for name, n in blocks.items():
        if n > 1:
            total += (n - 1) * (of(first | {name: 2}) - base)
    return total


def _counts(
    expert: FinetuningSettings,
    labels: tuple[str, ...],
    encoders: Mapping[str, EncoderSettings],
    known: Mapping[str, Architecture],
    seconds: float,
) -> Iterator[Count]:
    """Yield what the network takes for batches of two and of three."""
    fake = len(known) == 1 and all(whole.is_countable_without_values for whole in known.values())
    four_bit = any(
        encoder.weights == "nf4" for encoder in encoders.values()
    )  # built as bfloat16: the shapes are the same
    built = {
        name: encoder.model_copy(update={"weights": "bfloat16"}) if encoder.weights == "nf4" else encoder
        for name, encoder in encoders.items()
    }
    settings = networks.settings_of(expert, labels, built)
    network = networks.build(settings, expert, torch.device("meta" if fake else "cpu"))
    packed = set(packed_names(network)) if four_bit else set()
    parameters = dict(network.named_parameters())
    weights = sum(
        tensor.numel() * (FOUR_BIT if name in packed else 4 if four_bit else tensor.element_size())
        for name, tensor in parameters.items()
    )
    trained = sum(tensor.numel() for tensor in parameters.values() if tensor.requires_grad)
    total = sum(tensor.numel() for tensor in parameters.values())
    batches = [network.encoder.prepare([spoken(network.encoder.branches, seconds)] * size) for size in (2, 3)]
    with ExitStack() as stack:
        if fake:
            stack.enter_context(FakeTensorMode(allow_non_fake_inputs=True))
            make_fake(network, packed)
            stack.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))  # real tensors: too slow on a CPU
        for inputs in batches:
            activations, _, training = run(network.train(), partial(step, network, inputs, expert), backward=True)
            with torch.no_grad():
                _, forward, _ = run(network.eval(), partial(network, inputs), backward=False)
            yield Count(total, trained, weights, activations, forward, training)


def spoken(modalities: Iterable[str], seconds: float) -> tuple[Any, ...]:
    """Return noise and words, as long as an utterance, for each modality.

    Args:
        modalities: in order
        seconds: of the utterance
    """
    noise = (0.1 * np.random.default_rng(0).standard_normal(round(seconds * SAMPLE_RATE))).astype(np.float32)
    words = " ".join([WORD] * max(1, round(seconds * TOKENS_PER_S)))
    return tuple(words if name == "text" else noise for name in modalities)


def step(network: nn.Module, inputs: dict[str, Any], expert: FinetuningSettings) -> Tensor:
    """Return a number whose gradient reaches all that a training step of the first phase trains; a scalar.

    Args:
        network: in training mode
        inputs: a batch, as its encoder prepares it, tensors of shape ``(batch, ...)``
        expert: the entry
    """
    phase = next(iter(expert.phases.values()))
    if len(expert.branches) == 1:
        outputs: Any = network(inputs)
    else:
        outputs = network(inputs, expert.passes_of(phase), auxiliary(expert, phase))
    total = sum(tensor.float().sum() for tensor in _tensors(outputs) if tensor.requires_grad)
    assert isinstance(total, Tensor), "nothing is trained"
    return total


def auxiliary(expert: FinetuningSettings, phase: PhaseSettings) -> list[Auxiliary]:
    """Return the auxiliary results that a phase's losses read.

    Args:
        expert: the entry
        phase: of it
    """
    options = expert.losses_of(phase)
    return [AUXILIARY_INPUTS.get(name, name) for name in AUXILIARY if getattr(options, name) > 0]  # type: ignore[misc]


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the floating tensors of nested results."""
    if isinstance(value, Tensor):
        if value.is_floating_point():
            yield value
        return
    if isinstance(value, dict):
        value = value.values()
    elif hasattr(value, "outputs"):
        value = value.outputs.values()
    elif not isinstance(value, tuple | list):
        return
    for part in value:
        yield from _tensors(part)

"""Speech backbones: HuBERT (DistilHuBERT too), wav2vec 2.0, WavLM, w2v-BERT 2.0, SONAR, Whisper's encoder, VGGish.

An utterance's hidden states do not depend on its neighbours in the batch. Attention masks are always passed. Beyond
that, the group norm of HuBERT base, wav2vec 2.0 base and WavLM base, which takes its statistics over time, takes them
over the utterance's own frames only (``PaddingProofExtractor``); with a mask alone, as transformers has it, padding
moves such an embedding by more than half its norm. Whisper sees windows of 30 s, as it was trained, or by choice a
clip's own length.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel

from pipeline_lib.encoders import features, sonar, vggish, whisper
from pipeline_lib.encoders.hidden import Hidden, Visitor, backbone, watch
from pipeline_lib.encoders.padding_proof import PaddingProofExtractor

SAMPLE_RATE = 16_000  # Hz; what every backbone here was trained on
CONVOLUTIONAL = ("hubert", "wav2vec2", "wavlm")
FILTERBANK = ("wav2vec2-bert", sonar.MODEL_TYPE)
WINDOWED = ("whisper", vggish.MODEL_TYPE)  # they run on an utterance's pieces, joined again behind
MODEL_TYPES = (*CONVOLUTIONAL, *FILTERBANK, *WINDOWED)

warnings.filterwarnings("ignore", message="Support for mismatched key_padding_mask")  # WavLM's, once a forward pass

Prepare = Callable[[Sequence[np.ndarray]], dict[str, Tensor]]


class SpeechEncoder(nn.Module):
    """A backbone and the preparation of its inputs.

    Attributes:
        model: the model of transformers; a model with adapters replaces it here
        prepare: from waveforms to the keyword arguments of ``forward``, on the CPU, for data-loader workers
        width: of a hidden state
        n_layers: transformer blocks
        frame_rate_hz: hidden states a second
        minimum_samples: length of the shortest waveform that has a frame
        checkpoint, revision: where the weights are from; the revision is the commit, None for a local folder
    """

    def __init__(
        self, model: PreTrainedModel, prepare: Prepare, checkpoint: str = "", revision: str | None = None
    ) -> None:
        """Take a backbone, and make its feature extractor proof against padding.

        Args:
            model: a bare model, for Whisper its encoder
            prepare: one of the classes below
            checkpoint: name or folder, for messages and metadata
            revision: the commit
        """
        super().__init__()
        self.model, self.prepare, self.checkpoint, self.revision = model, prepare, checkpoint, revision
        config = model.config
        self.kind, self.dtype = config.model_type, model.dtype
        self.true_length = isinstance(model, whisper.TrueLengthEncoder)
        self.width, self.n_layers = config.hidden_size, len(self.blocks)
        if self.kind in CONVOLUTIONAL:
            model.feature_extractor = PaddingProofExtractor(model.feature_extractor)
            self.frame_rate_hz = SAMPLE_RATE / int(np.prod(config.conv_stride))
            self.minimum_samples = receptive_field(config.conv_kernel, config.conv_stride)
        elif self.kind in FILTERBANK:
            assert isinstance(prepare, Filterbanks)  # ``load_speech`` chooses it
            self.frame_rate_hz = SAMPLE_RATE / (features.HOP * prepare.stride)
            self.minimum_samples = features.FRAME + features.HOP * (prepare.stride - 1)
        else:
            rate = SAMPLE_RATE / whisper.FRAME if self.kind == "whisper" else vggish.frame_rate()
            self.frame_rate_hz, self.minimum_samples = rate, 1

    @property
    def signature(self) -> str:
        """Identity of the hidden states beside the weights, as embeddings record it: the kind, and Whisper's length."""
        return f"{self.kind} of true length" if self.true_length else self.kind

    @property
    def layerdrop(self) -> float:
        """Probability of a block to be skipped in training, in [0, 1]."""
        config = backbone(self.model).config
        return getattr(config, "encoder_layerdrop" if self.kind == "whisper" else "layerdrop", 0.0)

    def disable_regularisation(self) -> None:
        """Switch SpecAugment and layer drop off."""
        inner = backbone(self.model)
        for name in ("layerdrop", "encoder_layerdrop"):
            for owner in (inner, inner.config):
                if hasattr(owner, name):
                    setattr(owner, name, 0.0)
        inner.config.apply_spec_augment = False

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer blocks, in order; VGGish has none."""
        inner = backbone(self.model)
        if self.kind == vggish.MODEL_TYPE:
            return nn.ModuleList()
        return inner.layers if inner.config.model_type == "whisper" else inner.encoder.layers

    def forward(self, **inputs: Tensor) -> Hidden:
        """Return every layer's states, see ``hidden``; gradient flows.

        Args:
            inputs: result of ``prepare``, on the model's device: tensors of shape ``(batch, ...)``

        Returns:
            ``n_layers + 1`` layers of shape ``(batch, time, width)``, and lengths of shape ``(batch,)``
        """
        layers: list[Tensor] = []
        lengths = self._run(inputs, lambda i, states: layers.append(states))
        if self.kind in WINDOWED:
            layers = [_join(states, lengths) for states in layers]
        return Hidden(tuple(layers), lengths)

    @torch.no_grad()
    def each_layer(self, inputs: dict[str, Tensor], visit: Callable[[int, Tensor, Tensor], None]) -> None:
        """Call ``visit`` with each layer as it is computed, so that none has to be stored; no gradient.

        Args:
            inputs: result of ``prepare``, on the model's device
            visit: takes the number of a layer, its states, float32, shape ``(batch, time, width)``, and their lengths,
                int64, shape ``(batch,)``
        """
        lengths = self.lengths(inputs)
        if self.kind in WINDOWED:
            self._run(inputs, lambda i, states: visit(i, _join(states, lengths), lengths))
        else:
            self._run(inputs, lambda i, states: visit(i, states, lengths))

    def lengths(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the number of frames of each utterance, int64, shape ``(batch,)``.

        Args:
            inputs: result of ``prepare``: ``attention_mask``, shape ``(batch, time)``, or ``lengths``, shape
                ``(batch,)``
        """
        if self.kind in WINDOWED:
            return inputs["lengths"]
        n = inputs["attention_mask"].sum(dim=1)
        if self.kind in CONVOLUTIONAL:
            config = backbone(self.model).config
            for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
                n = torch.div(n - kernel, stride, rounding_mode="floor") + 1
        return n

    def _run(self, inputs: dict[str, Tensor], visit: Visitor) -> Tensor:
        lengths = self.lengths(inputs)
        if self.kind in CONVOLUTIONAL:
            backbone(self.model).feature_extractor.samples = inputs["attention_mask"].sum(dim=1).tolist()
        arguments = {
            name: value.to(self.dtype) if value.is_floating_point() else value
            for name, value in inputs.items()
            if self.kind not in WINDOWED or name == "input_features"
        }
        if self.kind == "whisper":
            arguments["input_features"] = self._masked(arguments["input_features"], inputs["window_lengths"])
        if self.true_length:
            arguments["lengths"] = inputs["window_lengths"]
        with self._masks_that_fit(lengths):
            watch(self.model, self.blocks, arguments, visit, self._last_norm)
        return lengths

    @property
    def _last_norm(self) -> nn.Module | None:
        """The norm behind the last block, where the architecture has one."""
        inner = backbone(self.model)
        if self.kind == "whisper":
            return inner.layer_norm
        return inner.encoder.layer_norm if getattr(inner.config, "do_stable_layer_norm", False) else None

    def _masked(self, log_mels: Tensor, lengths: Tensor) -> Tensor:
        inner = backbone(self.model)
        masks = self.model.training and inner.config.apply_spec_augment
        if not masks or 2 * int(lengths.max()) < inner.config.mask_time_length:
            return log_mels
        return whisper.masked(inner, log_mels, lengths)

    @contextmanager
    def _masks_that_fit(self, lengths: Tensor) -> Iterator[None]:
        """Switch SpecAugment off for a batch in which no utterance is as long as one of its masks."""
        config = backbone(self.model).config
        enabled = getattr(config, "apply_spec_augment", False)
        if enabled and int(lengths.max()) < config.mask_time_length:
            config.apply_spec_augment = False
        try:
            yield
        finally:
            if enabled:
                config.apply_spec_augment = True


class Waveforms:
    """Inputs of HuBERT, wav2vec 2.0 and WavLM: padded waveforms, each at zero mean and unit variance if so trained."""

    def __init__(self, minimum_samples: int, *, normalise: bool) -> None:
        """Set the shortest length and the normalisation.

        Args:
            minimum_samples: of one frame
            normalise: ``do_normalize`` of the checkpoint's preprocessor_config.json
        """
        self.minimum_samples, self.normalise = minimum_samples, normalise

    def __call__(self, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Return ``input_values`` float32 and ``attention_mask`` int64, both ``(batch, time)``.

        Args:
            waveforms: mono, 16 kHz, in [-1, 1], each of shape ``(n_samples,)``

        Raises:
            ValueError: a waveform is shorter than one frame
        """
        features.check_lengths(waveforms, self.minimum_samples)
        arrays = [np.asarray(waveform, dtype=np.float32) for waveform in waveforms]
        if self.normalise:
            arrays = [((x - x.mean()) / np.sqrt(x.var() + 1e-7)).astype(np.float32) for x in arrays]
        values = pad_sequence([torch.from_numpy(x) for x in arrays], batch_first=True)
        mask = pad_sequence([torch.ones(len(x), dtype=torch.int64) for x in arrays], batch_first=True)
        return {"input_values": values, "attention_mask": mask}


class Filterbanks:
    """Inputs of w2v-BERT 2.0 and SONAR: standardised Kaldi filterbanks, two frames stacked."""

    def __init__(self, n_bands: int = 80, stride: int = 2) -> None:
        """Make the filterbank of the checkpoint's preprocessor_config.json.

        Args:
            n_bands: mel bands
            stride: neighbouring frames that are stacked into one
        """
        self.stride = stride
        self.filterbank = features.KaldiFilterbank(n_bands)

    def __call__(self, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Return ``input_features`` float32 ``(batch, time, width)`` and ``attention_mask`` int64 ``(batch, time)``.

        Args:
            waveforms: mono, 16 kHz, in [-1, 1], each of shape ``(n_samples,)``

        Raises:
            ValueError: a waveform is shorter than one stacked frame
        """
        features.check_lengths(waveforms, features.FRAME + features.HOP * (self.stride - 1))
        batch, mask = features.stack([features.standardise(x) for x in self.filterbank(waveforms)], self.stride)
        return {"input_features": batch, "attention_mask": mask}


def _join(states: Tensor, lengths: Tensor) -> Tensor:
    """Return windows ``(windows, positions, width)`` as utterances ``(batch, time, width)``, cut to their frames."""
    positions = states.shape[1]
    if len(states) == len(lengths):
        return states[:, : int(lengths.max())]
    utterances, start = [], 0
    for length in lengths.tolist():
        windows = -(-length // positions)
        utterances.append(states[start : start + windows].flatten(0, 1)[:length])
        start += windows
    return pad_sequence(utterances, batch_first=True)


def receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Return the number of samples that one frame of stacked convolutions covers.

    Args:
        kernels: widths of the convolutions, in order
        strides: of the same
    """
    samples = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples

"""VGGish (Hershey et al. 2017, as Google released it for AudioSet): MERSA's audio encoder, a vector each 0.96 s.

Log mel patches of 96 frames and 64 bands, without overlap, each by itself through six convolutions and three fully
connected layers, 72,141,184 parameters. So there are no blocks and one layer: layer 0 is the vector of width 128.
The layers before it have other widths (what enters the fully connected part is 12,288 wide) and are not handed on.

Where the published programs differ from one another, and from this one:

=================== ===================================================================================================
last activation     Google's release of 2017 and the torch port end in a ReLU, Google's program since 2020 does not; the
                    weights are the same. ``final_relu`` says, True where nothing is said: 3M-SER, whose settings MERSA
                    takes over, uses the port. The ReLU throws away what is below zero, which cannot be had back
postprocessing      ``postprocess``: PCA with whitening and 8 bits, 0 to 255, as AudioSet's vectors were released. Off
                    here; the torch port has it on unless told otherwise, and 3M-SER tells it nothing. MERSA does not
                    say. No gradient passes the rounding, so that the encoder must then be frozen
end of a recording  the rest behind the last whole patch, half a second on average, is dropped as in every program: the
                    last words go unheard, which lowers scores if it moves them, the published ones alike
short recordings    below 0.975 s (96 frames) Google's program has no patch at all; here zeros fill them up to one
random weights      published as truncated normal, deviation 0.01, which through nine layers leaves 1e-5 of the input;
                    here He's, so that an untrained encoder still tells sounds apart
=================== ===================================================================================================

``ser convert vggish`` makes a folder of the published weights, which ``checkpoint`` may name.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutput

from pipeline_lib.encoders.features import BLOCK, FFT, FRAME, HOP, SAMPLE_RATE, triangles
from pipeline_lib.errors import InputError

MODEL_TYPE = "vggish"
PATCH, BANDS = 96, 64  # frames, mel bands
PATCH_SAMPLES = FRAME + HOP * (PATCH - 1)  # 15,600
LOWEST_HZ, HIGHEST_HZ = 125.0, 7500.0
OFFSET = 0.01  # added to a band's magnitude before the logarithm
POOLED = (PATCH // 16, BANDS // 16)  # what four poolings leave of a patch: 6 by 4
CLIP = 2.0  # standard deviations, before the 8 bits


@strict
class VggishConfig(PreTrainedConfig):
    """Sizes; the defaults are the published model's."""

    model_type = MODEL_TYPE

    channels: list[int] | tuple[int, ...] = (64, 128, 256, 512)
    fully_connected_size: int = 4096
    hidden_size: int = 128
    num_hidden_layers: int = 0
    final_relu: bool = True
    postprocess: bool = False


class VggishModel(PreTrainedModel):
    """Log mel patches to vectors, ``(patches, 96, 64)`` to ``(patches, 1, 128)``."""

    config: VggishConfig
    base_model_prefix = "model"
    main_input_name = "input_features"
    input_modalities = "audio"

    def __init__(self, config: VggishConfig) -> None:
        """Stack the layers; the numbers in their names are those of the torch port.

        Args:
            config: the sizes
        """
        super().__init__(config)
        one, two, three, four = config.channels
        self.feature_extractor = nn.Sequential(
            *_convolution(1, one),
            nn.MaxPool2d(2),
            *_convolution(one, two),
            nn.MaxPool2d(2),
            *_convolution(two, three),
            *_convolution(three, three),
            nn.MaxPool2d(2),
            *_convolution(three, four),
            *_convolution(four, four),
            nn.MaxPool2d(2),
        )
        wide = config.fully_connected_size
        self.embeddings = nn.Sequential(
            nn.Linear(four * POOLED[0] * POOLED[1], wide),
            nn.ReLU(),
            nn.Linear(wide, wide),
            nn.ReLU(),
            nn.Linear(wide, config.hidden_size),
        )
        self.postprocessing = Postprocessing(config.hidden_size) if config.postprocess else None
        self.post_init()

    def forward(self, input_features: Tensor, **_: Any) -> BaseModelOutput:
        """Return a vector a patch.

        Args:
            input_features: log mel patches, shape ``(patches, 96, 64)``
        """
        maps = self.feature_extractor(input_features[:, None])  # (patches, channels, 6, 4)
        flat = maps.permute(0, 2, 3, 1).flatten(1)  # TensorFlow's order, channels last, which the weights are in
        vectors = self.embeddings(flat)
        if self.config.final_relu:
            vectors = vectors.relu()
        if self.postprocessing is not None:
            vectors = self.postprocessing(vectors)
        return BaseModelOutput(last_hidden_state=vectors[:, None])

    def gradient_checkpointing_enable(self, *_: Any, **__: Any) -> None:
        """Refuse: there is no block whose states could be computed again.

        Raises:
            InputError: always
        """
        raise InputError("VGGish has no blocks to checkpoint; set gradient_checkpointing to false")

    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, nn.Conv2d | nn.Linear):
            init.kaiming_normal_(module.weight, nonlinearity="relu")
            init.zeros_(module.bias)
        elif isinstance(module, Postprocessing):
            init.eye_(module.matrix)
            init.zeros_(module.means)


class Postprocessing(nn.Module):
    """PCA with whitening, clipped at two deviations, in 8 bits: whole numbers from 0 to 255."""

    def __init__(self, width: int) -> None:
        """Make room for what a checkpoint holds.

        Args:
            width: of a vector
        """
        super().__init__()
        self.register_buffer("matrix", torch.eye(width))
        self.register_buffer("means", torch.zeros(width))

    def forward(self, vectors: Tensor) -> Tensor:
        """Return what the vectors are in AudioSet's released form, shape unchanged.

        Raises:
            InputError: the encoder is to be trained, and no gradient passes the rounding
        """
        if vectors.requires_grad:
            raise InputError(
                "VGGish with postprocessing rounds to 8 bits, which no gradient passes; set adaptation.method to frozen"
            )
        whitened = (vectors - self.means) @ self.matrix.T
        return ((whitened.clamp(-CLIP, CLIP) + CLIP) * (255 / (2 * CLIP))).round()


class LogMelPatches:
    """Inputs of VGGish: log mel magnitudes of frames of 25 ms every 10 ms, 96 frames a patch."""

    def __init__(self) -> None:
        """Make the window, periodic Hann, and the triangles, straight on the mel scale."""
        self.window = 0.5 - 0.5 * torch.cos(2 * math.pi * torch.arange(FRAME, dtype=torch.float64) / FRAME)
        self.filters = triangles(BANDS, LOWEST_HZ, HIGHEST_HZ)  # (FFT // 2 + 1, BANDS)

    def __call__(self, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Return the patches of all waveforms one behind the other, and how many each has.

        Args:
            waveforms: mono, 16 kHz, in [-1, 1], each of shape ``(n_samples,)``

        Returns:
            ``input_features`` float32 ``(patches, 96, 64)`` and ``lengths`` int64 ``(batch,)``, 1 at least
        """
        for i, waveform in enumerate(waveforms):
            if len(waveform) == 0:
                raise ValueError(f"waveform {i} has 0 samples, one frame needs 1 (0.0625 ms at 16 kHz)")
        made = [self.patches(waveform) for waveform in waveforms]
        return {"input_features": torch.cat(made), "lengths": torch.tensor([len(each) for each in made])}

    def patches(self, waveform: np.ndarray) -> Tensor:
        """Return the whole patches of a waveform, float32, shape ``(patches, 96, 64)``."""
        samples = torch.from_numpy(np.asarray(waveform, np.float64))
        if len(samples) < PATCH_SAMPLES:
            samples = nn.functional.pad(samples, (0, PATCH_SAMPLES - len(samples)))
        n = (1 + (len(samples) - FRAME) // HOP) // PATCH
        frames = samples.unfold(0, FRAME, HOP)[: n * PATCH]
        magnitudes = [torch.fft.rfft(block * self.window, FFT).abs() @ self.filters for block in frames.split(BLOCK)]
        return (torch.cat(magnitudes) + OFFSET).log().float().reshape(n, PATCH, BANDS)


def frame_rate() -> float:
    """Return patches a second."""
    return SAMPLE_RATE / (HOP * PATCH)


def _convolution(inputs: int, outputs: int) -> tuple[nn.Conv2d, nn.ReLU]:
    return nn.Conv2d(inputs, outputs, kernel_size=3, padding=1), nn.ReLU()


AutoConfig.register(MODEL_TYPE, VggishConfig)
AutoModel.register(VggishConfig, VggishModel)

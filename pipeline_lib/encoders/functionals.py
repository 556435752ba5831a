"""Functionals of hand-made acoustic features as an encoder of one layer: eGeMAPS, computed by openSMILE.

eGeMAPS v02 (Eyben et al., "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for voice research and affective
computing", IEEE Transactions on Affective Computing 2016): 88 statistics of pitch, loudness, spectrum and voice quality
over a whole recording. There are no weights and no frames; layer 0 is the vector. Values reach from 1e-3 to 1e5, and
openSMILE computes them in float32, as which they are stored: what is read again equals openSMILE's output bit by bit.

Audio is what every encoder of this pipeline gets: mono, 16 kHz. openSMILE rounds it to 16 bits and lets a sample of
full scale, 1, wrap around to the other end, -1; such samples (of resampled and float recordings) are limited to the
largest of 16 bits. Its longest analysis window is 60 ms: a shorter recording, of which it returns NaN, is filled up
with zeros behind it, as for other encoders, and counted on the terminal. Silence has finite functionals.

openSMILE's licence is audEERING's research licence, which excludes commercial use; so it is an extra.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from importlib.util import find_spec

import numpy as np
import torch
from torch import Tensor, nn

from pipeline_lib.encoders.hidden import Hidden
from pipeline_lib.errors import InputError
from pipeline_lib.params.encoder import FUNCTIONALS, NAMESPACE, NOT_INSTALLED, EncoderSettings

SAMPLE_RATE = 16_000  # Hz
WINDOW_S = 0.060  # of the pitch, the longest of the analysis windows
LARGEST = 32767 / 32768  # of 16 bits


class FunctionalsEncoder(nn.Module):
    """Functionals of a recording, with the interface that embedding needs of an encoder; it has no weights.

    Attributes:
        model: the encoder itself, a module without parameters
        prepare: from waveforms to the keyword arguments of ``forward``; all is computed there
        width: number of functionals
        n_layers: 0, there are no blocks
        frame_rate_hz: None, there are no frames
        minimum_samples: length of the shortest waveform that has functionals
        checkpoint, revision: the name in params.yaml, and the version of opensmile
        dtype_stored: in which the layer is stored
    """

    n_layers, frame_rate_hz, dtype_stored = 0, None, "float32"
    minimum_samples = round(WINDOW_S * SAMPLE_RATE)

    def __init__(self, checkpoint: str) -> None:
        """Make the extractor.

        Args:
            checkpoint: one of ``FUNCTIONALS``
        """
        super().__init__()
        self.kind, self.width = checkpoint.removeprefix(NAMESPACE), FUNCTIONALS[checkpoint]
        self.checkpoint, self.revision = checkpoint, f"opensmile-{version('opensmile')}"
        self.prepare = Functionals(self.kind)

    @property
    def model(self) -> nn.Module:
        """The module whose weights tell the precision: there are none."""
        return self

    @property
    def signature(self) -> str:
        """Identity of the values, as embeddings record it: the set of features and who computed it."""
        return f"{self.kind} of {self.revision}"

    def lengths(self, inputs: dict[str, Tensor]) -> Tensor:
        """Return the number of frames of each utterance, 1, int64, shape ``(batch,)``."""
        return torch.ones(len(inputs["functionals"]), dtype=torch.int64)

    def forward(self, **inputs: Tensor) -> Hidden:
        """Return the one layer, shape ``(batch, 1, width)``, and lengths of 1, shape ``(batch,)``.

        Args:
            inputs: result of ``prepare``, tensors of shape ``(batch, width)``
        """
        return Hidden((inputs["functionals"][:, None],), self.lengths(inputs))

    def each_layer(self, inputs: dict[str, Tensor], visit: Callable[[int, Tensor, Tensor], None]) -> None:
        """Call ``visit`` with layer 0.

        Args:
            inputs: result of ``prepare``
            visit: takes 0, the functionals, float32, shape ``(batch, 1, width)``, and their lengths, int64, shape
                ``(batch,)``
        """
        visit(0, inputs["functionals"][:, None], self.lengths(inputs))


class Functionals:
    """From waveforms to functionals; may be called by several threads at once."""

    def __init__(self, feature_set: str) -> None:
        """Load openSMILE.

        Args:
            feature_set: its name
        """
        import opensmile  # optional, and with audinterface a second to import

        self._extractor = opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel.Functionals)

    def __call__(self, waveforms: Sequence[np.ndarray]) -> dict[str, Tensor]:
        """Return ``functionals`` float32, shape ``(batch, width)``.

        Args:
            waveforms: mono, 16 kHz, in [-1, 1], each of shape ``(n_samples,)``

        Raises:
            ValueError: a waveform is shorter than the longest analysis window
        """
        shortest = FunctionalsEncoder.minimum_samples
        for waveform in waveforms:
            if len(waveform) < shortest:
                raise ValueError(f"a waveform has {len(waveform)} samples, expected at least {shortest}")
        return {"functionals": torch.from_numpy(np.stack([self._of(waveform) for waveform in waveforms]))}

    def _of(self, waveform: np.ndarray) -> np.ndarray:
        limited = np.clip(np.asarray(waveform, dtype=np.float32), -1.0, LARGEST)
        return self._extractor.process_signal(limited, SAMPLE_RATE).to_numpy(dtype=np.float32)[0]


def load(settings: EncoderSettings) -> FunctionalsEncoder:
    """Return the functionals that ``settings.checkpoint`` names.

    Args:
        settings: with one of ``FUNCTIONALS`` as its checkpoint

    Raises:
        InputError: opensmile is not installed
    """
    if find_spec("opensmile") is None:
        raise InputError(f"encoder.checkpoint is {settings.checkpoint!r}, and {NOT_INSTALLED}")
    return FunctionalsEncoder(settings.checkpoint)

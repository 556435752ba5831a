r"""A chunk mixed with a stretch of another training utterance.

.. math:: y = \lambda x_1 + (1 - \lambda) x_2

Zhang, Cisse, Dauphin and Lopez-Paz, "mixup: beyond empirical risk minimization", ICLR 2018, on waveforms; which
utterance and which :math:`\lambda` are in the epoch's plan (``sampling``), the targets are mixed by the same share
(``batch_targets``). SAILER (Feng et al., Interspeech 2025) mixes utterances of frequent with ones of rare emotions,
overlapped or one behind the other with silence between, and soft labels. Here any two overlap, and rare emotions come
oftener through the phase's sampler, so that the class prior of training stays known.

The mixture is as long as the chunk. Of a longer partner a stretch is taken from anywhere, a shorter one lies anywhere
in the chunk. Levels stay as recorded. Speed, room and noise come after it, for both alike.
"""

from typing import Any

import numpy as np

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.experts.loading import Batch, Samples
from pipeline_lib.experts.utterances import Utterances

_SEED = 0x6D6978  # keeps these random numbers apart from those of the chunk's augmentation


class Mixing:
    """What mixes the waveforms of a batch, for an expert of audio alone."""

    def __init__(self, utterances: Utterances) -> None:
        """Take the utterances.

        Args:
            utterances: all rows of the manifest, with audio alone
        """
        self.utterances = utterances

    def __call__(self, batch: Batch, samples: Samples) -> Samples:
        """Return the batch's waveforms, those that the plan names mixed with their partners.

        Args:
            batch: with partners, shares and seeds
            samples: each a waveform alone, float32, 16 kHz, shape ``(n_samples,)``
        """
        if batch.partners is None or batch.shares is None or batch.seeds is None:
            return samples
        plan = zip(samples, batch.partners.tolist(), batch.shares.tolist(), batch.seeds.tolist(), strict=True)
        return [sample if partner < 0 else self._mixed(sample, partner, *how) for sample, partner, *how in plan]

    def _mixed(self, sample: tuple[Any, ...], partner: int, share: float, seed: int) -> tuple[Any, ...]:
        (waveform,) = sample
        rng = np.random.default_rng([seed, _SEED])
        length_s = len(waveform) / SAMPLE_RATE
        start_s = rng.random() * max(0.0, float(self.utterances.lengths[partner]) - length_s)
        (other,) = self.utterances.read(partner, start_s, length_s)
        return (mixed(waveform, other, share, rng.random()),)


def mixed(waveform: np.ndarray, other: np.ndarray, share: float, position: float) -> np.ndarray:
    """Return both waveforms' weighted sum, float32, as long as the first.

    Args:
        waveform: 16 kHz, shape ``(n_samples,)``
        other: 16 kHz, any shape ``(m_samples,)``; what exceeds the first is cut
        share: weight of the first, in [0, 1]; the other has the rest
        position: where a shorter one begins, in [0, 1): of the samples that it leaves free
    """
    other = other[: len(waveform)]
    before = int(position * (len(waveform) - len(other)))
    laid = np.pad(other, (before, len(waveform) - len(other) - before))
    return (share * waveform + (1 - share) * laid).astype(np.float32)

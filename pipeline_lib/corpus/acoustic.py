"""Acoustic fingerprints: the same recording in another encoding, at another rate or level, is recognised as such.

A frame's 32 bits are the signs of the differences of the energies of neighbouring bands, less those of the frame before
(J. Haitsma and T. Kalker, "A highly robust audio fingerprinting system", ISMIR 2002, section 4.2), with bands from 300
to 3,300 Hz, which telephones and codecs leave, and frames of 128 ms every 32 ms. Only frames count that are loud and
change: of silence and of a steady tone the signs are noise. Two recordings are the same where, at one of ``LAGS``, few
of their bits differ. Candidates are those of similar duration and mean spectrum: not all pairs are compared.

``SAME_BITS`` was set on RAVDESS, between an actor's two takes of a sentence, which must not be taken for copies, and
copies in MP3, Opus, AAC, telephone bandwidth and noise. Most copies in Opus at 6 kbit/s, its lowest rate, are missed;
so are recordings with fewer than ``FEWEST`` counted frames, cut ones, and ones at another speed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.fft import rfft

SAMPLE_RATE = 16_000  # Hz
WINDOW, HOP = 2048, 512  # samples
EDGES = np.round(np.geomspace(300, 3300, 34) / SAMPLE_RATE * WINDOW).astype(int)  # of 33 bands, in bins
LONGEST_S = 60  # what comes later is not looked at
LOUD = 10**-2.5  # of the loudest frame's energy
CHANGING = 1e-3  # of a frame's energy
LAGS = range(-8, 9)  # frames, 0.26 s
FEWEST = 12  # frames that count, 0.4 s
SAME_BITS = 0.23  # largest share of different bits
SAME_SPECTRUM = 0.35  # largest root mean square difference of the bands' logarithmic energies
SAME_S = 0.25  # largest difference of durations
_HANN = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
_COUNTED = np.uint64(1 << 32)
_ROWS = 1024  # compared with their neighbours at a time


@dataclass(frozen=True)
class Fingerprint:
    """What a recording sounds like.

    Attributes:
        frames: bits 0 to 31 are the signs, bit 32 tells that the frame counts; uint64, shape ``(n_frames,)``
        spectrum: logarithm of each band's mean energy over that of all, float32, shape ``(33,)``
    """

    frames: np.ndarray
    spectrum: np.ndarray


def fingerprint(samples: np.ndarray) -> Fingerprint | None:
    """Return the fingerprint of a recording, None where fewer than ``FEWEST`` frames count.

    Args:
        samples: one channel at 16 kHz, float32, shape ``(n_samples,)``
    """
    samples = samples[: LONGEST_S * SAMPLE_RATE]
    if len(samples) < WINDOW + FEWEST * HOP:
        return None
    windows = np.lib.stride_tricks.sliding_window_view(samples, WINDOW)[::HOP]
    spectra = rfft(windows * _HANN, axis=1)[:, : EDGES[-1]]
    energies = np.add.reduceat(spectra.real**2 + spectra.imag**2, EDGES[:-1], axis=1)
    changes = np.diff(energies[:, :-1] - energies[:, 1:], axis=0)
    total = energies.sum(axis=1)[1:]
    counted = (total > LOUD * total.max()) & (np.abs(changes).sum(axis=1) > CHANGING * total)
    if counted.sum() < FEWEST:
        return None
    bits = (changes > 0) @ (1 << np.arange(changes.shape[1], dtype=np.uint64))
    means = energies.mean(axis=0)
    floor = np.finfo(np.float32).eps * means.max()  # of a band without sound
    spectrum = np.log(np.maximum(means, floor) / means.mean())
    return Fingerprint(bits.astype(np.uint64) | _COUNTED * counted, spectrum.astype(np.float32))


def difference(one: Fingerprint, other: Fingerprint) -> float:
    """Return the share of bits that differ at the best lag, in [0, 1]; 1 where too few frames meet.

    Args:
        one: a recording
        other: another one
    """
    counts = [int((each.frames & _COUNTED > 0).sum()) for each in (one, other)]
    best = 1.0
    for lag in LAGS:
        a, b = one.frames[max(0, lag) :], other.frames[max(0, -lag) :]
        n = min(len(a), len(b))
        a, b = a[:n], b[:n]
        both = (a & b & _COUNTED) > 0
        met = int(both.sum())
        if met >= max(FEWEST, 0.6 * max(counts)):
            differing = np.bitwise_count((a ^ b)[both] & (_COUNTED - 1)).sum()
            best = min(best, float(differing) / (32 * met))
    return best


def same(
    fingerprints: Sequence[Fingerprint | None], durations_s: np.ndarray, sides: Sequence[object]
) -> Iterator[tuple[int, int, float]]:
    """Yield the pairs of recordings that are the same and lie on different sides, and the share of bits that differ.

    Args:
        fingerprints: one a recording, None is the same as nothing
        durations_s: seconds, shape ``(n,)``
        sides: split or fold of each recording; None: it is compared with nothing

    Yields:
        positions of two recordings, the first smaller, and a share in [0, ``SAME_BITS``]
    """
    known = [i for i, each in enumerate(fingerprints) if each is not None and sides[i] is not None]
    if not known:
        return
    order = np.array(known)[np.argsort(durations_s[known], kind="stable")]
    durations, numbers = durations_s[order], {side: k for k, side in enumerate(dict.fromkeys(sides))}
    side = np.array([numbers[sides[i]] for i in order])
    spectra = np.stack([_known(fingerprints[i]).spectrum for i in order])
    lengths = (spectra**2).sum(axis=1)
    for start in range(0, len(order), _ROWS):
        rows = slice(start, min(start + _ROWS, len(order)))
        end = int(np.searchsorted(durations, durations[rows.stop - 1] + SAME_S, side="right"))
        others = slice(start, end)
        squares = lengths[rows, None] + lengths[None, others] - 2 * spectra[rows] @ spectra[others].T
        near = squares < spectra.shape[1] * SAME_SPECTRUM**2
        near &= side[rows, None] != side[None, others]
        for i, j in zip(*(start + each for each in np.nonzero(near)), strict=True):
            if i < j and durations[j] - durations[i] <= SAME_S:
                first, second = sorted((int(order[i]), int(order[j])))
                share = difference(_known(fingerprints[first]), _known(fingerprints[second]))
                if share <= SAME_BITS:
                    yield first, second, share


def _known(each: Fingerprint | None) -> Fingerprint:
    if each is None:
        raise AssertionError("a recording without fingerprint is compared")
    return each

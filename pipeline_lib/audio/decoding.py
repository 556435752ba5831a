"""Recordings as the stages read them: one channel, 16 kHz, float32 in [-1, 1]; a bad one is refused with its reason.

Taken are the containers that are inspected (``containers.inspect.TAKEN``), at any rate. Channels become one as
``containers.channels`` describes, rates are converted by soxr's VHQ filter. Reasons of ``BadAudio``:

================  ====================================================================================================
missing           no such file, or a link to nothing
not a file        a folder, pipe, socket or device; it is never opened, so a pipe cannot block
unreadable        the system refuses to open it (permissions, a failing disk)
empty             no bytes, or a header without samples
not audio         libsndfile knows no such format
not supported     a container that is not taken, or a taken one with something in it that cannot be decoded
implausible       a rate or a number of channels that no recording of speech has
truncated         the container declares more than the file holds
damaged           it begins well and cannot be decoded, contradicts itself, declares less than it holds, or what it
                  holds does not match its own checksum (see ``containers.inspect``)
nan               a sample is NaN or infinite
out of range      a sample is beyond +-8: no scaling of audio reaches it (integers written as float?)
silent            no sample beyond +-``SILENCE`` (1e-4)
too short         shorter than the shortest duration that is taken, or begins behind the end
too long          longer than the longest duration that is taken, or than four hours in one piece
segment           it begins or ends behind the recording's end, or ends before it begins
clipped           a larger share of samples at full scale than is taken
================  ====================================================================================================

What is read whole is verified whole; a chunk is verified as far as it is read. A few kilobytes can declare hours, or
hold hours that they do not declare: no more than the limit is ever decoded.
"""

from dataclasses import dataclass
from math import gcd
from pathlib import Path, PurePosixPath

import numpy as np
import soxr

from pipeline_lib.audio.containers.channels import Rule
from pipeline_lib.audio.containers.opening import opened
from pipeline_lib.audio.containers.reading import LONGEST_S, BadAudio, Reading
from pipeline_lib.errors import InputError

__all__ = [
    "SAMPLE_RATE",
    "BadAudio",
    "Examined",
    "Probe",
    "Rule",
    "check",
    "decode",
    "examine",
    "probe",
    "resolve_under",
    "verify",
]

SAMPLE_RATE = 16_000  # Hz
SILENCE = 1e-4  # about three steps of 16 bit, -80 dB of full scale: dither and codec noise are not speech
ROUNDED_S = 0.05  # by which a time with one decimal can lie behind the recording's end
MARGIN_S = 0.05  # read around a chunk; VHQ's filter is shorter than 20 ms at every usual rate


@dataclass(frozen=True)
class Probe:
    """Duration in seconds, sample rate in Hz and number of channels of a recording, before resampling."""

    duration_s: float
    sample_rate_hz: int
    channels: int


@dataclass(frozen=True)
class Examined:
    """A recording that passed.

    Attributes:
        samples: one channel at 16 kHz, float32 in [-1, 1], shape ``(n_samples,)``
        clipped: share of the samples of all channels that stand at full scale
        mixing: how its channels became one: "mean", "centre" or "loudest"
    """

    samples: np.ndarray
    clipped: float
    mixing: Rule = "mean"


def probe(path: Path) -> Probe:
    """Return duration, rate and channels as ``decode`` yields them; decoded only where nothing declares them.

    Raises:
        BadAudio: the file cannot be opened as audio, or is cut short by its container's own account
    """
    with opened(path) as reading:
        n_frames = reading.n_frames
        if n_frames is None:
            n_frames = sum(len(block) for block in reading.blocks(0, None))
        return Probe(n_frames / reading.rate, reading.rate, reading.channels)


def decode(path: Path, start_s: float = 0.0, duration_s: float | None = None) -> np.ndarray:
    """Return a recording, or a chunk of it, as one channel at 16 kHz.

    Only the chunk and 50 ms on either side are read, so that the chunk equals the same stretch of the whole recording.
    MP3, Ogg and ADPCM cannot be entered in the middle and are decoded up to the chunk's end, or on from where the last
    chunk of the file was. Where there are several channels, the whole is read once to decide how they become one, and
    the decision is remembered.

    Args:
        path: the recording
        start_s: begin of the chunk in seconds, at least 0, rounded to a sample at 16 kHz
        duration_s: length of the chunk in seconds, above 0; what reaches past the end is cut off; None for all the rest

    Returns:
        float32 in [-1, 1], shape ``(n_samples,)``

    Raises:
        BadAudio: see the module; silence and length are not tested
        ValueError: ``start_s`` or ``duration_s`` is out of range
    """
    if start_s < 0 or (duration_s is not None and duration_s <= 0):
        raise ValueError(f"start_s is {start_s} and duration_s {duration_s}, expected >= 0 and > 0")
    first = round(start_s * SAMPLE_RATE)
    last = None if duration_s is None else first + round(duration_s * SAMPLE_RATE)
    with opened(path) as reading:
        return _chunk(reading, first, last)


def check(path: Path, min_s: float = 0.0, max_s: float | None = None, allow_silent: bool = False) -> np.ndarray:
    """Return the whole recording as ``decode`` does, after every test of this module but for clipping.

    Args:
        path: the recording
        min_s: shortest duration that is taken, seconds
        max_s: longest duration that is taken, seconds; None for ``LONGEST_S``
        allow_silent: whether a recording without sound is taken

    Returns:
        float32 in [-1, 1], shape ``(n_samples,)``, 16 kHz

    Raises:
        BadAudio: see the module
    """
    return examine(path, min_s, max_s, allow_silent=allow_silent).samples


def examine(
    path: Path,
    min_s: float = 0.0,
    max_s: float | None = None,
    max_clipped: float = 1.0,
    allow_silent: bool = False,
    segment: tuple[float | None, float | None] = (None, None),
) -> Examined:
    """Return the whole recording, or a part of it, after every test of this module.

    Args:
        path: the recording
        min_s: shortest duration that is taken, seconds
        max_s: longest duration that is taken, seconds; None for ``LONGEST_S``; no more is decoded, whatever the file
            declares
        max_clipped: largest share of samples at full scale that is taken, in [0, 1]
        allow_silent: whether a recording without sound is taken
        segment: start and end in seconds of the part that is tested, None for the recording's beginning or end; only
            that part is decoded

    Returns:
        the samples, the share that is clipped, and the mixing

    Raises:
        BadAudio: see the module
    """
    with opened(path, LONGEST_S if max_s is None or segment != (None, None) else max_s) as reading:
        samples = _chunk(reading, 0, None) if segment == (None, None) else _segment(reading, *segment, max_s)
        clipped, mixing = reading.clipped / (reading.channels * reading.read), reading.mixing()
    seconds = len(samples) / SAMPLE_RATE
    if max_s is not None and seconds > max_s:
        raise BadAudio("too long", f"{path} lasts {seconds:.2f} s, expected at most {max_s:g} s")
    if seconds < min_s:
        raise BadAudio("too short", f"{path} lasts {seconds:.3f} s, expected at least {min_s:g} s")
    peak = float(np.abs(samples).max())
    if peak < SILENCE and not allow_silent:
        raise BadAudio(
            "silent",
            f"{path} has no sample beyond {peak:.1e}, expected {SILENCE:g} (an empty channel, or a muted take?)",
        )
    if clipped > max_clipped:
        raise BadAudio(
            "clipped", f"{path} has {clipped:.4f} of its samples at full scale, expected at most {max_clipped:g}"
        )
    return Examined(samples, clipped, mixing.rule)


def verify(path: Path) -> None:
    """Refuse a recording whose container is broken anywhere, without decoding it; once, before parts of it are read.

    Raises:
        BadAudio: see the module
    """
    with opened(path) as reading:
        reading.layout.verify()


def resolve_under(root: Path, relative: str) -> Path:
    """Return ``root / relative`` with links followed, for paths that come from tables.

    Args:
        root: the folder that the path may not leave
        relative: the path, with ``/`` between its parts

    Raises:
        InputError: the path is empty or absolute, climbs with ``..``, or a link in it leaves the root
    """
    parts = PurePosixPath(relative)
    if not relative or "\0" in relative or parts.is_absolute() or ".." in parts.parts:
        raise InputError(f"{relative!r} is no path below {root}; expected a relative one without '..'")
    try:
        inside = root.resolve()
        resolved = (inside / parts).resolve()
    except (OSError, RuntimeError) as error:  # links in a circle
        raise InputError(f"{root / parts} cannot be followed: {error}") from None
    if not resolved.is_relative_to(inside):
        raise InputError(f"{root / parts} leads to {resolved}, outside {inside} (a symbolic link?)")
    return resolved


def _segment(reading: Reading, start_s: float | None, end_s: float | None, max_s: float | None) -> np.ndarray:
    """Return the part between two times; an end that a rounded time puts ``ROUNDED_S`` behind the recording's is it."""
    start_s = start_s or 0.0
    named = f"{reading.path} from {start_s:g} s to {'its end' if end_s is None else f'{end_s:g} s'}"
    if not 0 <= start_s < (np.inf if end_s is None else end_s):
        raise BadAudio("segment", f"{named} is no part of a recording, expected 0 <= start_s < end_s")
    first, last = round(start_s * SAMPLE_RATE), None if end_s is None else round(end_s * SAMPLE_RATE)
    units = "are the times in milliseconds or samples, expected seconds, or of another recording?"
    if reading.n_frames is not None:
        lasts_s = reading.n_frames / reading.rate
        if start_s >= lasts_s or (end_s is not None and end_s > lasts_s + ROUNDED_S):
            where = "begins" if start_s >= lasts_s else "ends"
            raise BadAudio("segment", f"{named} {where} behind the recording's end at {lasts_s:.3f} s ({units})")
        until_s = lasts_s if end_s is None else end_s
    else:
        until_s = start_s if end_s is None else end_s
    if max_s is not None and round((until_s - start_s) * SAMPLE_RATE) > max_s * SAMPLE_RATE:
        raise BadAudio("too long", f"{named} lasts {until_s - start_s:.2f} s, expected at most {max_s:g} s")
    # of a length that is not declared no more is decoded than what shows that it is too long
    last_read = last if last is not None or max_s is None else first + round((max_s + 1) * SAMPLE_RATE)
    samples = _chunk(reading, first, last_read)
    if not len(samples) or (last is not None and first + len(samples) < last - ROUNDED_S * SAMPLE_RATE):
        ends_s = (first + len(samples)) / SAMPLE_RATE
        raise BadAudio("segment", f"{named} lies behind the recording's end at {ends_s:.3f} s ({units})")
    return samples


def _chunk(reading: Reading, first: int, last: int | None) -> np.ndarray:
    """Return samples ``[first, last)`` counted at 16 kHz."""
    if first == 0 and last is None:
        return _resampled(reading.whole()[0], reading.rate)
    rate, n_frames = reading.rate, reading.n_frames
    up, down = _ratio(rate)
    margin = 0 if up == down else int(MARGIN_S * rate)
    # a whole number of output samples lies before the first frame read: the filter's phase is the whole recording's
    begin = max(0, first * down // up - margin) // down * down if first else 0
    end = None if last is None else -(-last * down // up) + margin
    if n_frames is not None and first * down >= n_frames * up:
        raise BadAudio(
            "too short",
            f"{reading.path} lasts {n_frames / rate:.3f} s, the chunk begins at {first / SAMPLE_RATE:.3f} s",
        )
    mixing = reading.mixing()
    blocks = [mixing.mixed(reading.counted(block)) for block in reading.blocks(begin, end)]
    samples = _resampled(np.concatenate([np.zeros(0, np.float32), *blocks]), rate)
    skipped = begin * up // down
    return samples[first - skipped : None if last is None else last - skipped]


def _resampled(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return the samples at 16 kHz, clipped to [-1, 1]."""
    if rate != SAMPLE_RATE and len(samples):
        samples = soxr.resample(samples, rate, SAMPLE_RATE, quality="VHQ")
    return np.clip(samples, -1.0, 1.0)


def _ratio(rate: int) -> tuple[int, int]:
    """Return numerator and denominator of 16 kHz over a rate, in lowest terms."""
    divisor = gcd(rate, SAMPLE_RATE)
    return SAMPLE_RATE // divisor, rate // divisor

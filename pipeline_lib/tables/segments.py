"""The part of a recording that is an utterance: all of it, or the part between two times.

A whole recording is its path, a part of one a ``Segment``. Times count in samples at 16 kHz: a segment that begins at
``start_s`` equals, sample for sample, a file into which the same samples were cut.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline_lib.audio import decoding
from pipeline_lib.audio.decoding import SAMPLE_RATE, BadAudio, resolve_under
from pipeline_lib.tables.manifest import Manifest


@dataclass(frozen=True)
class Segment:
    """A part of a recording.

    Attributes:
        path: the recording
        start_s: beginning of the part, in seconds, >= 0
        end_s: its end, in seconds; None for the recording's end
    """

    path: Path
    start_s: float = 0.0
    end_s: float | None = None

    def __str__(self) -> str:
        end = "its end" if self.end_s is None else f"{self.end_s:g} s"
        return f"{self.path} from {self.start_s:g} s to {end}"


Recording = Path | Segment
Part = tuple[float | None, float | None]  # start and end in seconds, None for the recording's own
WHOLE: Part = (None, None)


def decode(recording: Recording, start_s: float = 0.0, duration_s: float | None = None) -> np.ndarray:
    """Return an utterance's waveform, or a chunk of it; no more of the recording is read.

    Args:
        recording: a whole one, or a part
        start_s: beginning of the chunk, in seconds from the utterance's beginning, >= 0
        duration_s: length of the chunk, in seconds; None, and any that reaches past the utterance's end, is cut there

    Returns:
        float32 in [-1, 1], one channel at 16 kHz, shape ``(n_samples,)``

    Raises:
        BadAudio: see ``audio.decoding.decode``; or the chunk begins after the segment's end
    """
    if not isinstance(recording, Segment):
        return decoding.decode(recording, start_s, duration_s)
    first = round(recording.start_s * SAMPLE_RATE) + round(start_s * SAMPLE_RATE)
    last = None if duration_s is None else first + round(duration_s * SAMPLE_RATE)
    if recording.end_s is not None:
        end = round(recording.end_s * SAMPLE_RATE)
        last = end if last is None else min(last, end)
    if last is not None and last <= first:
        raise BadAudio("too short", f"{recording}: the chunk begins at {start_s:g} s, after the segment's end")
    length_s = None if last is None else (last - first) / SAMPLE_RATE
    return decoding.decode(recording.path, first / SAMPLE_RATE, length_s)


def of(manifest: Manifest, root: Path) -> list[Recording | None]:
    """Return every utterance's recording or part of one, None where it has no audio.

    Args:
        manifest: the utterances
        root: folder that the manifest's audio paths are relative to

    Raises:
        InputError: a path leaves the root
    """
    return [
        recording(resolve_under(root, file), *part) if isinstance(file, str) else None
        for file, part in zip(manifest.frame["audio"], times(manifest.frame), strict=True)
    ]


def named(frame: pd.DataFrame) -> list[tuple[str, Part]]:
    """Return the file below the root and the part of it of every row that has audio."""
    pairs = zip(frame["audio"], times(frame), strict=True)
    return [(file, part) for file, part in pairs if isinstance(file, str)]


def recording(path: Path, start_s: float | None, end_s: float | None) -> Recording:
    """Return the recording, or a part of it.

    Args:
        path: of the recording
        start_s: beginning of the part, in seconds; None for the recording's own
        end_s: end of the part, in seconds; None for the recording's own
    """
    return path if start_s is None and end_s is None else Segment(path, start_s or 0.0, end_s)


def content(manifest: Manifest) -> list[list[Any]]:
    """Return for every utterance the file's digest, start and end in seconds, as JSON can hold: for fingerprints."""
    digests = [digest if isinstance(digest, str) else None for digest in manifest.frame["audio_sha256"]]
    return [[digest, *part] for digest, part in zip(digests, times(manifest.frame), strict=True)]


def missing_message(manifest: Manifest, what: str) -> str:
    """Return a sentence on the utterances without audio, "" where each has some.

    Args:
        manifest: the utterances
        what: the treatment of these utterances, a verb first
    """
    without = manifest.ids[~manifest.has_audio]
    if not len(without):
        return ""
    return f"{len(without)} of {len(manifest)} utterances have no audio, {without[0]!r} first: {what}"


def times(frame: pd.DataFrame) -> list[Part]:
    """Return start and end in seconds of each row of a manifest, None where the cell or the column is missing."""
    missing = np.full(len(frame), np.nan)
    starts, ends = (np.asarray(frame.get(name, missing), np.float64).tolist() for name in ("start_s", "end_s"))
    return [(_time(start), _time(end)) for start, end in zip(starts, ends, strict=True)]


def _time(seconds: float) -> float | None:
    return None if np.isnan(seconds) else seconds

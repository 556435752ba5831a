"""What of a recording is an utterance: all of it, or the part between two times; and who has a recording at all.

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
        start_s: where the part begins, in seconds, >= 0
        end_s: where it ends; None for the recording's end
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
    """Return an utterance's sound, or a chunk of it; of a recording no more is read than that.

    Args:
        recording: a whole one, or a part
        start_s: where the chunk begins, in seconds from the utterance's beginning
        duration_s: length of the chunk; None and whatever reaches past the utterance's end give what there is

    Returns:
        float32 in [-1, 1], one channel at 16 kHz, shape ``(n_samples,)``

    Raises:
        BadAudio: see ``audio``
    """
    if not isinstance(recording, Segment):
        return decoding.decode(recording, start_s, duration_s)
    first = round(recording.start_s * SAMPLE_RATE) + round(start_s * SAMPLE_RATE)
    last = None if duration_s is None else first + round(duration_s * SAMPLE_RATE)
    if recording.end_s is not None:
        end = round(recording.end_s * SAMPLE_RATE)
        last = end if last is None else min(last, end)
    if last is not None and last <= first:
        raise BadAudio("too short", f"{recording}: the chunk begins at {start_s:g} s, behind the segment's end")
    length_s = None if last is None else (last - first) / SAMPLE_RATE
    return decoding.decode(recording.path, first / SAMPLE_RATE, length_s)


def of(manifest: Manifest, root: Path) -> list[Recording | None]:
    """Return every utterance's recording or part of one, None where it has no audio.

    Args:
        manifest: the utterances
        root: folder that the manifest's audio paths start from

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
    """Return the recording, or the part between two times of which either may be None."""
    return path if start_s is None and end_s is None else Segment(path, start_s or 0.0, end_s)


def content(manifest: Manifest) -> list[list[Any]]:
    """Return what stands for every utterance's sound in a fingerprint: digest of the file, start and end, in JSON."""
    digests = [digest if isinstance(digest, str) else None for digest in manifest.frame["audio_sha256"]]
    return [[digest, *part] for digest, part in zip(digests, times(manifest.frame), strict=True)]


def missing_message(manifest: Manifest, what: str) -> str:
    """Return a sentence on the utterances without audio, "" where each has some.

    Args:
        manifest: the utterances
        what: what becomes of them, a verb first
    """
    without = manifest.ids[~manifest.has_audio]
    if not len(without):
        return ""
    return f"{len(without)} of {len(manifest)} utterances have no audio, {without[0]!r} first: {what}"


def times(frame: pd.DataFrame) -> list[Part]:
    """Return start and end of each row of a manifest, None where it names none or has no such column."""
    nothing = np.full(len(frame), np.nan)
    both = (np.asarray(frame.get(name, nothing), np.float64).tolist() for name in ("start_s", "end_s"))
    return [tuple(None if np.isnan(time) else time for time in pair) for pair in zip(*both, strict=True)]

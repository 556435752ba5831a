"""A recording opened after the tests that need no decoding; the last ones of which a part was read stay open.

The parts of one recording are mostly read one behind the other (segments of a table, chunks of a long utterance).
Where its sound cannot be entered in the middle, opening it anew for each part would cost the square of its length.
"""

import os
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path

from pipeline_lib.audio.containers.decoder import decoder
from pipeline_lib.audio.containers.inspect import inspect, not_taken
from pipeline_lib.audio.containers.layout import Layout
from pipeline_lib.audio.containers.reading import LONGEST_S, BadAudio, Reading
from pipeline_lib.audio.containers.span import Defect, Span

CAUSES = {
    b"version https://git-lfs": "a pointer of Git LFS? git lfs pull",
    b"/annex/objects/": "a pointer of git-annex? git annex get",
    b"<": "a web page in place of the file? download it again",
    b"PK\3\4": "a ZIP archive? unpack it",
    b"\x1f\x8b": "gzip? unpack it",
}  # what a file begins with -> what it probably is
_MOST_OPEN = 4  # of each thread: a conversation may have one file a speaker


class _OpenReadings(threading.local):
    """Readings that stay open, and their files, the oldest first; each thread has its own."""

    def __init__(self) -> None:
        self.readings: dict[tuple[int, int, int, int], tuple[FileIO, Reading]] = {}

    def take(self, identity: tuple[int, int, int, int]) -> tuple[FileIO, Reading] | None:
        """Remove a file's reading and return it, None where there is none."""
        return self.readings.pop(identity, None)

    def put(self, raw: FileIO, reading: Reading) -> None:
        """Add a reading, and close the oldest where there are too many.

        Args:
            raw: the open file
            reading: its reading
        """
        for identity in [*self.readings][: max(0, len(self.readings) + 1 - _MOST_OPEN)]:
            _close(*self.readings.pop(identity))
        if (before := self.readings.pop(reading.identity, None)) is not None:
            _close(*before)
        self.readings[reading.identity] = raw, reading


_OPEN = _OpenReadings()


@contextmanager
def opened(path: Path, longest_s: float = LONGEST_S) -> Iterator[Reading]:
    """Open a recording after the tests that need no decoding.

    Args:
        path: the recording
        longest_s: duration that is decoded at most, seconds

    Raises:
        BadAudio: the file is missing, not readable, not audio, or its container has a defect
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        raise BadAudio("missing", f"{path} does not exist") from None
    except OSError as error:
        raise BadAudio("unreadable", f"{path} cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(status.st_mode):
        raise BadAudio("not a file", f"{path} is {_kind(status.st_mode)}, expected a recording")
    raw: FileIO | None = None
    try:
        if (known := _OPEN.take(_identity(status))) is not None:
            raw, reading = known
            reading.again(path, longest_s)
        else:
            raw = path.open("rb", buffering=0)
            status = os.fstat(raw.fileno())
            span = Span(raw.fileno(), 0, status.st_size)
            if not span.at(0, 1):
                raise BadAudio("empty", f"{path} has no bytes (an interrupted copy?)")
            reading = Reading(path, _layout(path, span), _identity(status), longest_s)
        try:
            yield reading
        except BaseException:
            reading.close()
            raise
        if reading.cursor is None:
            reading.close()
        else:
            _OPEN.put(raw, reading)
            raw = None
    except Defect as defect:
        raise BadAudio(defect.reason, f"{path} {defect.message}") from None
    except OSError as error:
        raise BadAudio("unreadable", f"{path} cannot be opened: {error.strerror}") from None
    finally:
        if raw is not None:
            raw.close()


def _identity(status: os.stat_result) -> tuple[int, int, int, int]:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _close(raw: FileIO, reading: Reading) -> None:
    reading.close()
    raw.close()


def _layout(path: Path, span: Span) -> Layout:
    """Return the layout, by inspection alone."""
    layout = inspect(span)
    if layout is not None:
        return layout
    try:
        with decoder(span) as file:
            name = file.format_info
    except RuntimeError:
        head = span.at(0, 4)
        cause = next((cause for begin, cause in CAUSES.items() if span.at(0, len(begin)) == begin), "renamed?")
        text = f"begins with {head!r}, no format that libsndfile knows ({cause})"
        raise BadAudio("not audio", f"{path} {text}") from None
    raise not_taken(name)


def _kind(mode: int) -> str:
    tests = {"a folder": stat.S_ISDIR, "a pipe": stat.S_ISFIFO, "a socket": stat.S_ISSOCK}
    return next((name for name, test in tests.items() if test(mode)), "a device")

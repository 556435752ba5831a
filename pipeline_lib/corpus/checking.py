"""Open every recording once: decode it whole, measure it, hash it; many at a time, none kept in memory."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from pipeline_lib import audio
from pipeline_lib.audio import SAMPLE_RATE, BadAudio
from pipeline_lib.command import end_with, progress
from pipeline_lib.corpus.checksums import SUMS, WRITE_AGAIN
from pipeline_lib.errors import InputError

CHUNK = 64  # recordings that a process takes at a time
Wanted = tuple[str, str | None]  # a path, and the SHA-256 that the corpus's checksum file says


@dataclass(frozen=True)
class Limits:
    """What is taken: durations in seconds, and the largest share of samples at full scale."""

    min_s: float
    max_s: float | None
    max_clipped: float = 1.0


@dataclass(frozen=True)
class Checked:
    """What a recording turned out to be; ``reason`` is None for a good one.

    Attributes:
        duration_s: of the decoded sound
        sha256: of the file's bytes
        clipped: share of samples at full scale
        reason: a short word, "silent" for example
        message: the word and what is wrong, without the root
        sound: SHA-256 of the decoded samples: lossless copies in other containers have the same
    """

    duration_s: float | None = None
    sha256: str | None = None
    clipped: float = 0.0
    reason: str | None = None
    message: str | None = None
    sound: str | None = None


def check_all(
    root: Path, paths: Sequence[str], limits: Limits, workers: int, sums: Mapping[str, str] | None = None
) -> list[Checked]:
    """Return what each recording below ``root`` is, in the order of ``paths``.

    Args:
        root: folder of the corpus
        paths: relative ones
        limits: what is taken
        workers: processes
        sums: the SHA-256 that each must have, None where the corpus has no checksum file
    """
    one = partial(check_one, root, limits, has_sums=sums is not None)
    found = []
    with progress(len(paths), "checking recordings") as advance:
        for checked in _mapped(one, [(path, (sums or {}).get(path)) for path in paths], workers):
            found.append(checked)
            advance(1)
    return found


def check_one(root: Path, limits: Limits, wanted: Wanted, has_sums: bool = False) -> Checked:
    """Return what the recording is; nothing that a file holds raises."""
    relative, sha256 = wanted
    try:
        path = audio.resolve_under(root, relative)
        if has_sums and sha256 is None:
            return Checked(reason="unlisted", message=f"unlisted: {SUMS} does not name it; {WRITE_AGAIN}")
        found = _digest(path)
        if has_sums and found is not None and found != sha256:
            return Checked(reason="changed", message=f"changed: its bytes are not those that {SUMS} was made from")
        examined = audio.examine(path, limits.min_s, limits.max_s, limits.max_clipped)
    except BadAudio as error:
        return Checked(reason=error.reason, message=f"{error.reason}: {_without_root(root, str(error), path)}")
    except InputError as error:  # of resolve_under: links in a circle, or a path that leaves the root
        reason = "unreadable" if isinstance(error.__context__, (OSError, RuntimeError)) else "outside"
        return Checked(reason=reason, message=f"{reason}: {_without_root(root, str(error))}")
    sound = hashlib.sha256(examined.samples.tobytes()).hexdigest()
    return Checked(len(examined.samples) / SAMPLE_RATE, found, examined.clipped, sound=sound)


def _without_root(root: Path, message: str, path: Path | None = None) -> str:
    """Return a message that is the same wherever the corpus lies."""
    for folder in (root.resolve(), root):
        message = message.removeprefix(f"{path} ").replace(f"{folder}/", "").replace(str(folder), "corpus.root")
    return message


def _digest(path: Path) -> str | None:
    """Return the file's SHA-256; None for what is no readable file, which the decoder then refuses by its reason."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _mapped(one: partial, paths: Sequence[Wanted], workers: int) -> Iterator[Checked]:
    if workers == 1 or len(paths) <= CHUNK:
        yield from map(one, paths)
        return
    left = iter(paths)
    while part := list(islice(left, 64 * CHUNK)):  # the queue stays short however large the corpus
        yield from _shared(one, part, workers)


def _shared(one: partial, part: Sequence[Wanted], workers: int) -> Iterator[Checked]:
    """Share out a part; when a process dies, look for the culprit with a process for each recording that is left."""
    done = 0
    try:
        with ProcessPoolExecutor(workers, initializer=end_with, initargs=(os.getpid(),)) as pool:
            for checked in pool.map(one, part, chunksize=CHUNK):
                yield checked
                done += 1
    except BrokenProcessPool:
        yield from (_alone(one, path) for path in part[done:])


def _alone(one: partial, path: Wanted) -> Checked:
    with ProcessPoolExecutor(1, initializer=end_with, initargs=(os.getpid(),)) as pool:
        try:
            return pool.submit(one, path).result()
        except BrokenProcessPool:
            return Checked(reason="crash", message="crash: the process that decoded it died (memory, or the decoder)")

"""Open every recording once: decode it whole, measure it, hash it; many at a time, none kept in memory."""

import hashlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path

from pipeline_lib import audio
from pipeline_lib.audio import SAMPLE_RATE, BadAudio
from pipeline_lib.command import progress
from pipeline_lib.errors import InputError

CHUNK = 64  # recordings that a process takes at a time


@dataclass(frozen=True)
class Checked:
    """What a recording turned out to be; ``reason`` is None for a good one.

    Attributes:
        duration_s: of the decoded sound
        sha256: of the file's bytes
        reason: a short word, "silent" for example
        message: the word and what was found, without the root
    """

    duration_s: float | None = None
    sha256: str | None = None
    reason: str | None = None
    message: str | None = None


def check_all(root: Path, paths: Sequence[str], min_s: float, max_s: float | None, workers: int) -> list[Checked]:
    """Return what each recording below ``root`` is, in the order of ``paths``."""
    one = partial(check_one, root, min_s=min_s, max_s=max_s)
    found = []
    with progress(len(paths), "checking recordings") as advance:
        for checked in _mapped(one, paths, workers):
            found.append(checked)
            advance(1)
    return found


def check_one(root: Path, relative: str, min_s: float, max_s: float | None) -> Checked:
    """Return what the recording is; nothing that a file holds raises."""
    try:
        path = audio.resolve_under(root, relative)
        samples = audio.check(path, min_s, max_s)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except BadAudio as error:
        said = str(error).removeprefix(f"{path} ").replace(str(root.resolve()), "")
        return Checked(reason=error.reason, message=f"{error.reason}: {said}")
    except InputError:
        return Checked(reason="outside", message="outside: a link in its path leaves corpus.root")
    return Checked(duration_s=len(samples) / SAMPLE_RATE, sha256=digest)


def _mapped(one: partial, paths: Sequence[str], workers: int) -> Iterator[Checked]:
    if workers == 1 or len(paths) <= CHUNK:
        yield from map(one, paths)
        return
    left = iter(paths)
    while part := list(islice(left, 64 * CHUNK)):  # the queue stays short however large the corpus
        yield from _shared(one, part, workers)


def _shared(one: partial, part: Sequence[str], workers: int) -> Iterator[Checked]:
    """Share out a part; when a process dies, look for the culprit with a process for each recording that is left."""
    done = 0
    try:
        with ProcessPoolExecutor(workers) as pool:
            for checked in pool.map(one, part, chunksize=CHUNK):
                yield checked
                done += 1
    except BrokenProcessPool:
        yield from (_alone(one, path) for path in part[done:])


def _alone(one: partial, path: str) -> Checked:
    with ProcessPoolExecutor(1) as pool:
        try:
            return pool.submit(one, path).result()
        except BrokenProcessPool:
            return Checked(reason="crash", message="crash: the process that decoded it died (memory, or the decoder)")

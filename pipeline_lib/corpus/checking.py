"""Open every recording: decode it or its segments, measure them, hash it once; in parallel, none stays in memory."""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

from pipeline_lib.audio import decoding
from pipeline_lib.audio.decoding import SAMPLE_RATE, BadAudio, Rule
from pipeline_lib.command import end_with, progress
from pipeline_lib.corpus.acoustic import Fingerprint, fingerprint
from pipeline_lib.corpus.checksums import SUMS, WRITE_AGAIN
from pipeline_lib.errors import InputError
from pipeline_lib.tables.segments import WHOLE, Part

CHUNK = 64  # utterances, about, that a process takes at a time
Expected = tuple[str, str | None]  # a path, and its SHA-256 in the corpus's checksum file
Parts = tuple[Expected, tuple[Part, ...]]  # a recording, and the parts of it that are utterances


@dataclass(frozen=True)
class Limits:
    """Durations in seconds that are taken, and the largest share of samples at full scale."""

    min_s: float
    max_s: float | None
    max_clipped: float = 1.0


@dataclass(frozen=True)
class Checked:
    """The properties of an utterance's recording; ``reason`` is None for a good one.

    Attributes:
        duration_s: duration of the decoded sound
        sha256: SHA-256 of the whole file's bytes
        clipped: share of samples at full scale, in [0, 1]
        mixing: how its channels became one
        reason: a short word, "silent" for example
        message: the word and a sentence, without the root
        sound: SHA-256 of the decoded samples: lossless copies in other containers have the same
        fingerprint: recognises the recording in another encoding; None of a bad one, and of one too short
    """

    duration_s: float | None = None
    sha256: str | None = None
    clipped: float = 0.0
    mixing: Rule = "mean"
    reason: str | None = None
    message: str | None = None
    sound: str | None = None
    fingerprint: Fingerprint | None = field(default=None, compare=False)


def check_all(
    root: Path,
    paths: Sequence[str],
    limits: Limits,
    workers: int,
    sums: Mapping[str, str] | None = None,
    parts: Sequence[Part] | None = None,
) -> list[Checked]:
    """Check each recording below ``root``; return the results in the order of ``paths``.

    Args:
        root: folder of the corpus
        paths: relative ones; of a recording that is named several times each part is decoded, and the file hashed once
        limits: durations and clipping that are taken
        workers: number of processes
        sums: the SHA-256 that each file must have, None where the corpus has no checksum file
        parts: the part of each recording that is the utterance; None for whole recordings
    """
    rows: dict[str, list[int]] = {}
    for row, path in enumerate(paths):
        rows.setdefault(path, []).append(row)
    parts = [WHOLE] * len(paths) if parts is None else parts
    listed = [((path, (sums or {}).get(path)), tuple(parts[row] for row in rows[path])) for path in rows]
    result: list[Checked] = [Checked()] * len(paths)
    with progress(len(paths), "checking recordings") as advance:
        one = partial(check_parts, root, limits, has_sums=sums is not None)
        for path, checked in zip(rows, _mapped(one, listed, len(paths), workers), strict=True):
            for row, one_part in zip(rows[path], checked, strict=True):
                result[row] = one_part
            advance(len(checked))
    return result


def check_parts(root: Path, limits: Limits, listed: Parts, has_sums: bool = False) -> list[Checked]:
    """Check each part of a recording; return the results in their order; nothing that a file holds raises.

    Args:
        root: folder of the corpus
        limits: durations and clipping that are taken
        listed: path, expected SHA-256, and parts
        has_sums: whether the corpus has a checksum file
    """
    (relative, sha256), parts = listed
    try:
        path = decoding.resolve_under(root, relative)
        if has_sums and sha256 is None:
            return _refused(parts, "unlisted", f"{SUMS} does not name it; {WRITE_AGAIN}")
        digest = _digest(path)
        if has_sums and digest is not None and digest != sha256:
            return _refused(parts, "changed", f"its bytes are not those that {SUMS} was made from")
    except InputError as error:  # of resolve_under: links in a circle, or a path that leaves the root
        reason = "unreadable" if isinstance(error.__context__, (OSError, RuntimeError)) else "outside"
        return _refused(parts, reason, _without_root(root, str(error)))
    try:
        if any(part != WHOLE for part in parts):
            decoding.verify(path)
    except BadAudio as error:
        return [_bad(root, path, error)] * len(parts)
    examined = {part: _examined(root, path, digest, part, limits) for part in dict.fromkeys(parts)}
    return [examined[part] for part in parts]


def _bad(root: Path, path: Path, error: BadAudio) -> Checked:
    return Checked(reason=error.reason, message=f"{error.reason}: {_without_root(root, str(error), path)}")


def _examined(root: Path, path: Path, sha256: str | None, part: Part, limits: Limits) -> Checked:
    try:
        examined = decoding.examine(path, limits.min_s, limits.max_s, limits.max_clipped, segment=part)
    except BadAudio as error:
        return _bad(root, path, error)
    sound = hashlib.sha256(examined.samples.tobytes()).hexdigest()
    return Checked(
        len(examined.samples) / SAMPLE_RATE,
        sha256,
        examined.clipped,
        examined.mixing,
        sound=sound,
        fingerprint=fingerprint(examined.samples),
    )


def _refused(parts: Sequence[Part], reason: str, message: str) -> list[Checked]:
    return [Checked(reason=reason, message=f"{reason}: {message}")] * len(parts)


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


def _mapped(one: partial, listed: Sequence[Parts], n: int, workers: int) -> Iterator[list[Checked]]:
    """Yield the results of each recording's parts; ``n`` parts in all."""
    if workers == 1 or n <= CHUNK:
        yield from map(one, listed)
        return
    at_once = max(1, CHUNK * len(listed) // n)  # recordings that a process takes at a time
    left = iter(listed)
    while some := list(islice(left, 64 * at_once)):  # the queue stays short however large the corpus
        yield from _shared(one, some, workers, at_once)


def _shared(one: partial, some: Sequence[Parts], workers: int, at_once: int) -> Iterator[list[Checked]]:
    """Share out some recordings; when a process dies, find which one ends it with a process for each that is left."""
    done = 0
    try:
        with ProcessPoolExecutor(workers, initializer=end_with, initargs=(os.getpid(),)) as pool:
            for checked in pool.map(one, some, chunksize=at_once):
                yield checked
                done += 1
    except BrokenProcessPool:
        yield from (_alone(one, recording) for recording in some[done:])


def _alone(one: partial, listed: Parts) -> list[Checked]:
    with ProcessPoolExecutor(1, initializer=end_with, initargs=(os.getpid(),)) as pool:
        try:
            return pool.submit(one, listed).result()
        except BrokenProcessPool:
            return _refused(listed[1], "crash", "the process that decoded it died (memory, or the decoder)")

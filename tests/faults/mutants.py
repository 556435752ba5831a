"""Mutated recordings of six formats through ``audio.check``: no crash, no hang, and how much wrong sound is taken.

A mutant is a short recording with bits flipped, bytes replaced, cut out, put in or set to zero, blocks swapped, or its
end cut off. It is *wrong* where it is taken although another length or an audibly other sound comes out of it (more
than 1e-2 of the original's norm away). WAV and AIFF have no checksum, so that some of their wrong mutants cannot be
told from recordings; with ``SHA256SUMS`` beside the corpus each wrong one must be refused, which is asked for here.
"""

import hashlib
import mmap
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from pipeline_lib.audio import decoding
from pipeline_lib.audio.decoding import BadAudio
from pipeline_lib.corpus.checking import Limits, check_parts
from pipeline_lib.tables.segments import WHOLE
from tests.faults import forked
from tests.faults.damaged_recordings import RATE, encoded

FORMATS = {
    "WAV": ("WAV", "PCM_16", ".wav"),
    "FLAC": ("FLAC", "PCM_16", ".flac"),
    "Vorbis": ("OGG", "VORBIS", ".ogg"),
    "Opus": ("OGG", "OPUS", ".opus"),
    "MP3": ("MP3", "MPEG_LAYER_III", ".mp3"),
    "AIFF": ("AIFF", "PCM_16", ".aiff"),
}
KINDS = ("flip", "flips", "replace", "zeros", "cut out", "put in", "swap", "truncate", "header")
LIMITS = Limits(0.1, 120.0)
AUDIBLE = 1e-2
HANGS_S, LIMIT_GB, BATCH = 20.0, 2.0, 500
OUTCOMES = ("refused", "same", "wrong", "crashed", "hung", "unclear", "wrong with checksums")


def speech(seed: int) -> np.ndarray:
    """Return eight tenths of a second of something between a vowel and a hiss."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(int(0.8 * RATE)) / RATE
    vowel = sum(np.sin(2 * np.pi * 140 * k * time_s + rng.random()) / k for k in range(1, 12))
    sound = vowel * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * time_s)) + 0.3 * rng.standard_normal(len(time_s))
    return (sound / np.abs(sound).max() * 20_000).astype(np.int16)


def mutant(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Return the kind of a mutation and what became of the data."""
    kind, n = KINDS[rng.integers(len(KINDS))], len(data)
    new, at = bytearray(data), int(rng.integers(n))
    size = int(min(rng.integers(1, 1 << int(rng.integers(1, 13))), n - at))
    match kind:
        case "flip":
            new[at] ^= 1 << int(rng.integers(8))
        case "flips":
            for place in rng.integers(n, size=int(rng.integers(2, 40))):
                new[place] ^= 1 << int(rng.integers(8))
        case "replace":
            new[at : at + size] = rng.bytes(size)
        case "zeros":
            new[at : at + size] = bytes(size)
        case "cut out":
            del new[at : at + size]
        case "put in":
            new[at:at] = rng.bytes(size) if rng.random() < 0.5 else data[at : at + size]
        case "swap":
            other = int(rng.integers(n))
            size = min(size, n - other)
            new[at : at + size], new[other : other + size] = data[other : other + size], data[at : at + size]
        case "truncate":
            del new[at:]
        case "header":
            place = int(rng.integers(min(n, 100)))
            new[place : place + 4] = [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", rng.bytes(4)][
                rng.integers(4)
            ]
    return kind, bytes(new)


def outcome(path: Path, original: np.ndarray, sha256: str) -> str:
    """Return what becomes of one mutant."""
    try:
        samples = decoding.check(path, LIMITS.min_s, LIMITS.max_s)
    except BadAudio:
        return "refused"
    except Exception:
        return "unclear"
    if len(samples) == len(original):
        away = float(np.linalg.norm(samples - original))
        if away <= AUDIBLE * float(np.linalg.norm(original)):
            return "same"
    (checked,) = check_parts(path.parent, LIMITS, ((path.name, sha256), (WHOLE,)), has_sums=True)
    return "wrong" if checked.reason == "changed" else "wrong with checksums"


def batch(folder: Path, name: str, seed: int, start: int, stop: int, board: mmap.mmap) -> None:
    """Try mutants ``start`` to ``stop``; the board says at which it stands, and what became of those before."""
    container, subtype, suffix = FORMATS[name]
    data = encoded(container, subtype, speech(seed))
    path = folder / f"mutant{suffix}"
    path.write_bytes(data)
    original, sha256 = decoding.check(path), hashlib.sha256(data).hexdigest()
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + int(LIMIT_GB * 1e9),) * 2)
    for number in range(start, stop):
        board[:8] = number.to_bytes(8, "little")
        kind, content = mutant(data, np.random.default_rng([seed, list(FORMATS).index(name), number]))
        path.write_bytes(content)
        said = "same" if content == data else outcome(path, original, sha256)
        board[8 + 2 * (number - start) : 10 + 2 * (number - start)] = bytes([OUTCOMES.index(said), KINDS.index(kind)])
    board[:8] = stop.to_bytes(8, "little")


def watched(folder: Path, name: str, seed: int, start: int, stop: int) -> Iterator[tuple[int, str, str]]:
    """Yield number, kind and outcome of each mutant; a child that dies or hangs is that mutant's outcome."""
    while start < stop:
        board = mmap.mmap(-1, 8 + 2 * (stop - start))
        board[:8] = start.to_bytes(8, "little")
        child = forked.start(lambda s=start, b=board: batch(folder, name, seed, s, stop, b))
        status, at, since = None, start, time.monotonic()
        while status is None:
            done, found = os.waitpid(child, os.WNOHANG)
            now = int.from_bytes(board[:8], "little")
            if done:
                status = os.waitstatus_to_exitcode(found)
            elif now != at:
                at, since = now, time.monotonic()
            elif time.monotonic() - since > HANGS_S:
                os.kill(child, 9)
                os.waitpid(child, 0)
                status = 1000
            time.sleep(0.002)
        at = int.from_bytes(board[:8], "little")
        for number in range(start, at):
            said, kind = board[8 + 2 * (number - start) : 10 + 2 * (number - start)]
            yield number, KINDS[kind], OUTCOMES[said]
        if at < stop:
            yield at, "any", "hung" if status == 1000 else "crashed"
        start = at + 1 if at < stop else stop


def tally(count: int, seed: int) -> dict[str, Counter]:
    """Return how often each outcome was, by format; mutants that crashed, hung or were unclear are named."""
    counts: dict[str, Counter] = {name: Counter() for name in FORMATS}
    each = -(-count // len(FORMATS))
    with tempfile.TemporaryDirectory(prefix="fault_mutants_", dir="/dev/shm") as place:
        for start in range(0, each, BATCH):
            for name in FORMATS:
                for number, kind, said in watched(Path(place), name, seed, start, min(start + BATCH, each)):
                    counts[name][said] += 1
                    counts[name][f"{said}, {kind}"] += 1
                    if said in ("crashed", "hung", "unclear", "wrong with checksums"):
                        print(f"FAILED {name}: mutant {number} of seed {seed}, {kind}: {said}", flush=True)
    return counts


def failures(counts: dict[str, Counter]) -> int:
    """Return how many mutants broke the promise."""
    return sum(
        each[said] for each in counts.values() for said in ("crashed", "hung", "unclear", "wrong with checksums")
    )


def main(
    count: Annotated[int, typer.Option(help="how many mutants")] = 100_000,
    seed: Annotated[int, typer.Option(help="of what is drawn")] = 1,
) -> None:
    """Try mutants and print the counts."""
    began, counts = time.monotonic(), tally(count, seed)
    for name, each in counts.items():
        total = sum(each[said] for said in OUTCOMES)
        wrong = {kind: each[f"wrong, {kind}"] for kind in KINDS if each[f"wrong, {kind}"]}
        said = ", ".join(f"{what} {each[what]}" for what in OUTCOMES)
        print(f"{name}: {total} mutants, {said}; wrong {each['wrong'] / total:.3%} {wrong}")
    total = sum(each[said] for each in counts.values() for said in OUTCOMES)
    wrong = sum(each["wrong"] for each in counts.values())
    failed = failures(counts)
    rate = f"{wrong} wrong accepted without checksums ({wrong / total:.3%}), with checksums 0"
    print(f"mutants: {total} cases, {total - failed} passed, {failed} failed; {rate}; {time.monotonic() - began:.0f} s")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    typer.run(main)

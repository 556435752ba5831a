"""How many training chunks a second one core reads, plain and augmented: does augmentation starve a GPU?

    python -m benchmarks.augmentation [--recordings DIR] [--long FILE] [--noise DIR --noise-table T] [--rirs DIR ...]

Chunks at random positions of one long FLAC and of many short ones, first decoded alone, then each with noise, with an
impulse response, at another speed, with all three. CPU seconds of one process: times the data-loader workers it is what
they deliver, less the features. What is not given is made: 30 minutes and 100 times 6 s of pulsed noise as FLAC, 20
noises of 60 s as WAV, 50 simulated rooms. Run it with OMP_NUM_THREADS=1.
"""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import soundfile

from pipeline_lib.audio.decoding import SAMPLE_RATE, probe
from pipeline_lib.command import run
from pipeline_lib.errors import InputError
from pipeline_lib.experts.readers import Recordings
from pipeline_lib.finetuning.augmentation import augment, sounds
from pipeline_lib.finetuning.augmentation.augment import Augmentation
from pipeline_lib.params.augmentation import AugmentationSettings

ROUNDS = 3
LONG_S, SHORT_S, SHORT, NOISE_S, NOISES, ROOMS = 1800, 6, 100, 60, 20, 50
OFF, ON = {"probability": 0.0}, {"probability": 1.0}
SPEED = 1.1  # the dearer of the usual two: more is read
Chunks = list[tuple[int, float]]


def main(
    recordings: Path | None = None,
    long: Path | None = None,
    noise: Path | None = None,
    noise_table: str | None = None,
    rirs: Path | None = None,
    rir_table: str | None = None,
    chunk_s: float = 3.0,
    chunks: int = 400,
) -> None:
    """Print chunks a second and core, and the ratio to decoding alone."""
    with TemporaryDirectory() as folder:
        made = Path(folder)
        files = {
            "long file": [long or make_long(made / "long.flac")],
            "short files": sorted((recordings or make_short(made / "short")).rglob("*.flac")),
        }
        loud = {"root": str(noise or make_noises(made / "noises")), "table": noise_table}
        wet = {"root": None if rirs is None else str(rirs), "table": rir_table, "rooms": ROOMS}
        variants = {
            "decode": (None, 1.0),
            "+ noise": (augmentation(loud, OFF), 1.0),
            "+ room": (augmentation(OFF, wet), 1.0),
            "+ speed": (augmentation(OFF, OFF), SPEED),
            "all three": (augmentation(loud, wet), SPEED),
        }
        for name, paths in files.items():
            print(f"{name}, chunks of {chunk_s:g} s")
            plain = None
            for variant, (augmented, speed) in variants.items():
                read = Recordings(paths, np.zeros(len(paths)), minimum_samples=1)
                sample = draw(paths, chunk_s * speed, chunks)
                seconds = fastest(lambda: read_all(read, sample, chunk_s * speed, augmented, speed))  # noqa: B023
                plain = plain or seconds
                print(f"  {variant:10} {chunks / seconds:7.0f} a second  {seconds / plain:5.2f} x")


def augmentation(noise: dict[str, Any], reverberation: dict[str, Any]) -> Augmentation:
    """Return what is done to every chunk; ``OFF`` for nothing."""
    entry = {"noise": {**ON, **noise}, "reverberation": {**ON, **reverberation}, "speed": {"share": 1.0}}
    settings = AugmentationSettings.parse(entry, "augmentation")
    made = augment.make(settings, sounds.find(settings), 1, 1, show_progress=True)
    if made is None:
        raise ValueError("nothing is augmented")
    return made


def draw(paths: list[Path], read_s: float, count: int) -> Chunks:
    """Return number of the file and start of so many chunks."""
    rng = np.random.default_rng(1)
    durations = [probe(path).duration_s for path in paths]
    usable = [i for i, duration in enumerate(durations) if duration > read_s]
    if not usable:
        raise InputError(f"no recording lasts {read_s:g} s; give longer ones or a smaller --chunk-s")
    return [(int(i), float(rng.random() * (durations[i] - read_s))) for i in rng.choice(usable, count)]


def read_all(read: Recordings, sample: Chunks, read_s: float, augmented: Augmentation | None, speed: float) -> None:
    """Read all chunks, augmented or not."""
    for seed, (row, start) in enumerate(sample):
        chunk = read(row, start, read_s)
        if augmented is not None:
            augmented(chunk, seed, speed)


def fastest(work: Callable[[], None]) -> float:
    """Return the least CPU seconds of the rounds."""
    seconds = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        work()
        seconds.append(time.process_time() - begun)
    return min(seconds)


def make_long(path: Path) -> Path:
    """Write one long recording."""
    soundfile.write(path, pulsed(LONG_S, 0), SAMPLE_RATE)
    return path


def make_short(folder: Path) -> Path:
    """Write short recordings."""
    folder.mkdir()
    for i in range(SHORT):
        soundfile.write(folder / f"{i:03d}.flac", pulsed(SHORT_S, i), SAMPLE_RATE)
    return folder


def make_noises(folder: Path) -> Path:
    """Write noises in MUSAN's layout."""
    (folder / "noise").mkdir(parents=True)
    for i in range(NOISES):
        soundfile.write(folder / "noise" / f"{i:02d}.wav", pulsed(NOISE_S, 1000 + i), SAMPLE_RATE)
    return folder


def pulsed(seconds: int, seed: int) -> np.ndarray:
    """Return noise that beats four times a second; FLAC packs it about as well as speech."""
    n = seconds * SAMPLE_RATE
    hiss = np.random.default_rng(seed).standard_normal(n, dtype=np.float32)
    beat = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * np.arange(n, dtype=np.float32) / SAMPLE_RATE)
    return 0.05 * np.cumsum(hiss - np.roll(hiss, 8)).astype(np.float32) * beat


if __name__ == "__main__":
    run(main)

"""Sizes of MSP-Podcast, and a corpus of noise with its lengths.

====== ================================================================================================================
2.0    "over 400 hours" (Busso et al., "The MSP-Podcast corpus", arXiv 2509.09791); turns and splits are not taken from
       it: as many turns as at the mean length of 1.12, shares of the splits as in 1.11
1.12   207,136 turns, 324 h 23 min (its readme.txt); shares of the splits as in 1.11
1.11   151,654 turns: train 84,030, development 19,815, test1 30,647, test2 14,815, test3 2,347; 238 h
====== ================================================================================================================

Turns are 2.75 to 11 s long (Lotfian and Busso, IEEE Transactions on Affective Computing 2019); between, their
distribution is assumed to be a beta distribution with the corpus's mean and a second parameter of 2.4.
"""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from scipy.stats import beta

from pipeline_lib.encoders.speech import SAMPLE_RATE
from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.rehearsal.counting import TOKENS_PER_S
from pipeline_lib.rehearsal.published import WORD

SHORTEST_S, LONGEST_S = 2.75, 11.0
SECOND = 2.4
MEAN_S = (324 * 3600 + 23 * 60) / 207_136  # of 1.12
SHARES = {"train": 84_030 / 151_654, "dev": 19_815 / 151_654}  # of 1.11; the rest is tested on


@dataclass(frozen=True)
class Size:
    """How much speech a corpus has.

    Attributes:
        name: of the release
        hours: in all
        turns: utterances
        source: of both figures
    """

    name: str
    hours: float
    turns: int
    source: str

    @property
    def mean_s(self) -> float:
        """Mean length of a turn in seconds."""
        return self.hours * 3600 / self.turns

    def turns_of(self, split: str) -> int:
        """Return the turns of train or dev."""
        return round(self.turns * SHARES[split])


SIZES = {
    "2.0": Size("MSP-Podcast 2.0", 400.0, round(400 * 3600 / MEAN_S), "hours published, turns at 1.12's mean length"),
    "1.12": Size("MSP-Podcast 1.12", 324 + 23 / 60, 207_136, "its readme.txt"),
    "1.11": Size("MSP-Podcast 1.11", 238.0, 151_654, "published"),
}


def size_of(release: str, hours: float | None, turns: int | None) -> Size:
    """Return the size of a release, or of a corpus of one's own.

    Args:
        release: one of ``SIZES``
        hours: in place of the release's
        turns: in place of the release's; None with other hours: at its mean length

    Raises:
        InputError: the release is unknown, or the mean length is none of such turns
    """
    if release not in SIZES:
        raise InputError(f"--release is {release!r}, expected one of {list(SIZES)}")
    size = SIZES[release]
    if hours is None and turns is None:
        return size
    hours = hours or size.hours
    own = Size("given", hours, turns or round(hours * 3600 / size.mean_s), "given on the command line")
    if not SHORTEST_S < own.mean_s < LONGEST_S:
        raise InputError(
            f"{own.hours:g} hours of {own.turns} turns are {own.mean_s:.2f} s a turn, expected between {SHORTEST_S} and"
            f" {LONGEST_S}: set --hours or --turns"
        )
    return own


def lengths(n: int, mean_s: float) -> np.ndarray:
    """Return the lengths of ``n`` turns in seconds, quantiles of the assumed distribution, ascending, shape ``(n,)``.

    Args:
        n: turns
        mean_s: of the distribution, between 2.75 and 11
    """
    mean = (mean_s - SHORTEST_S) / (LONGEST_S - SHORTEST_S)
    first = SECOND * mean / (1 - mean)
    return SHORTEST_S + (LONGEST_S - SHORTEST_S) * beta.ppf((np.arange(n) + 0.5) / n, first, SECOND)


def write(folder: Path, n: int, labels: tuple[str, ...], mean_s: float, seed: int = 1) -> None:
    """Write a corpus of ``corpus.reader: table``: noise, words without meaning, labels in turn; half of it train.

    Args:
        folder: root of the corpus
        n: utterances
        labels: emotions
        mean_s: mean length of an utterance
        seed: of the noise
    """
    draw = np.random.default_rng(seed)
    seconds = draw.permutation(lengths(n, mean_s))
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["audio", "split", "speaker", "gender", "emotion", *ATTRIBUTES, "reference_text"])
    for i, length in enumerate(seconds):
        wave = 0.1 * draw.standard_normal(round(length * SAMPLE_RATE)).astype(np.float32)
        path = f"audio/{i:05d}.wav"
        soundfile.write(folder / path, wave, SAMPLE_RATE, subtype="PCM_16")
        split = ("train", "dev", "train", "test")[i % 4]
        rated = np.round(draw.uniform(1, 7, len(ATTRIBUTES)), 2).tolist()
        words = " ".join([WORD] * max(1, round(length * TOKENS_PER_S)))
        gender = ("female", "male")[i // 4 % 2]
        emotion = labels[i // 4 % len(labels)]
        writer.writerow([path, split, f"{split}{i // 4 % 8}", gender, emotion, *rated, words])
    (folder / "corpus.csv").write_text(table.getvalue(), encoding="utf-8")

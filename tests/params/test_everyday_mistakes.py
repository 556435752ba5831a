"""Everyday mistakes and the sentence about each, scored out of five by what it says.

A sentence has a point for where it is (file and key), for what is there, for what was expected (every allowed value or
the bound), for a likely cause (a question in brackets), and for the fix (an imperative, last). ``MISTAKES`` has the
scores.
"""

import csv
import re
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline_lib.errors import InputError
from pipeline_lib.params.check import check
from pipeline_lib.params.machine import read_machine
from pipeline_lib.params.sections import ORDER
from pipeline_lib.recipes.compose import compose, names

GONE = object()
CAUSE = re.compile(r"\(([^()]+)\?\)")
FIX = re.compile(r"\?\); (?P<verb>[a-z]+) (?P<rest>[^;?]+)$")
IMPERATIVES = {"add", "cd", "choose", "give", "indent", "name", "put", "rename", "set", "write"}
LEAST_MEAN = 4.5
COLUMNS = ["audio", "speaker", "emotoin", "split", "reference_text", "arousal", "valence", "dominance"]


@dataclass(frozen=True)
class Mistake:
    """An everyday mistake and what the sentence about it must hold.

    Attributes:
        make: makes it in a folder and returns the file to be read, None for no file
        where: the file's name, if any, and the key
        is_there: the wrong value, or the words for its absence
        expected: every allowed value, or the bound
        cause: words of the likely cause
        fix: words of the fix, behind its imperative
        score: what the sentence reaches
    """

    make: Callable[[Path], Path]
    where: list[str]
    is_there: str
    expected: list[str]
    cause: str
    fix: str
    score: int = 5


def changed(*changes: Any) -> Callable[[Path], Path]:
    """Return a maker of the default's params.yaml with some keys set, or GONE, by their dotted names."""

    def make(folder: Path) -> Path:
        params = compose("default")
        for dotted, value in zip(changes[::2], changes[1::2], strict=True):
            node, (*heads, last) = params, dotted.split(".")
            for head in heads:
                node = node[head]
            if value is GONE:
                del node[last]
            else:
                node[last] = value(folder) if callable(value) else value
        path = folder / "params.yaml"
        YAML().dump(params, path)
        return path

    return make


def written(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / name).write_text(text)
        return folder / name

    return make


def table(folder: Path) -> str:
    """Write a corpus's table with a column misspelt, and return its folder."""
    with (folder / "corpus.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, ["a.wav", "anna", "anger", "train", "one", 4, 4, 4]])
    return str(folder)


def folder_for_a_table(folder: Path) -> str:
    (folder / "corpus.csv").mkdir()
    (folder / "speech.csv").touch()
    return str(folder)


OWN = ("corpus.name", "mine", "corpus.notice", "")
FUSERS = ["interpolation", "logreg", "plda", "selection", "vote"]
ENTRIES = ["audio", "audio_layers", "text", "text_layers"]
FUSION = ["experts", "method", "objective", "tuning", "seed", "interpolation", "logreg", "plda", "selection"]
SPLITS = ["train", "dev", "test", "dev_filt", "dev_bal"]
W2V = "models/demo/w2v_brt"
MISTAKES = {
    "a typo of a key": Mistake(
        changed("fusion.metod", "logreg"),
        ["params.yaml", "fusion.metod"], "is not a parameter", FUSION, "'method'", "'method'",
    ),
    "a typo of a value": Mistake(
        changed("fusion.method", "logres"), ["params.yaml", "fusion.method"], "'logres'", FUSERS, "'logreg'", "'logreg'"
    ),
    "a typo of a section": Mistake(
        changed("fusoin", {}), ["params.yaml", "'fusoin'"], "is not a section", [*ORDER], "'fusion'", "'fusion'"
    ),
    "a section left out": Mistake(
        changed("scoring", GONE), ["params.yaml", "'scoring'"], "is missing", [*ORDER], "removed", "'scoring:'"
    ),
    "a word for a number": Mistake(
        changed("finetuning.audio.phases.main.epochs", "ten"),
        ["params.yaml", "finetuning.audio.phases.main.epochs"], "'ten'", ["a valid integer"], "a word",
        "epochs as a number",
    ),
    "a number in quotes": Mistake(
        changed("finetuning.text.seed", "3"),
        ["params.yaml", "finetuning.text.seed"], "'3'", ["a valid integer"], "in quotes", "seed: 3",
    ),
    "negative epochs": Mistake(
        changed("finetuning.audio.phases.main.epochs", -3),
        ["params.yaml", "finetuning.audio.phases.main.epochs"], "-3", ["greater than or equal to 1"],
        "a sign", "epochs",
    ),
    "a percentage for a share": Mistake(
        changed("finetuning.audio.augmentation.noise.probability", 50),
        ["params.yaml", "augmentation.noise.probability"], "50", ["less than or equal to 1"], "a percentage",
        "probability",
    ),
    "an unknown split": Mistake(
        changed("scoring.splits", ["dev_bal", "tets", "test"]),
        ["params.yaml", "scoring.splits"], "'tets'", SPLITS, "'test'", "'test'",
    ),
    "an unknown table": Mistake(
        changed("scoring.tables.fused", "data/fusd.parquet"),
        ["params.yaml", "scoring.tables.fused"], "'data/fusd.parquet'",
        ["data/fused.parquet", "data/rebalanced/audio.parquet", "data/predictions/text.parquet"],
        "'data/fused.parquet'", "'data/fused.parquet'",
    ),
    "an unknown expert": Mistake(
        changed("fusion.experts", ["audoi", "text"]),
        ["params.yaml", "fusion.experts"], "'audoi'", ENTRIES, "'audio'", "'audio'",
    ),
    "tuning on test": Mistake(
        changed("fusion.tuning", "test"),
        ["params.yaml", "fusion.tuning"], "'test'", ["'dev' or a subset"],
        "in place of the one to tune on", "tuning to 'dev'",
    ),
    "a missing checkpoint": Mistake(
        changed("finetuning.audio.encoder.checkpoint", W2V, "finetuning.audio.reads.audio", W2V),
        ["params.yaml", "finetuning.audio"], f"'{W2V}'", ["a file or folder"],
        "'models/demo/w2v_bert'", "'models/demo/w2v_bert'",
    ),
    "a missing corpus": Mistake(
        changed("corpus.root", "/data/not_there", *OWN),
        ["params.yaml", "corpus.root"], "'/data/not_there' does not exist", ["a folder"], "not mounted", "corpus.root",
    ),
    "a file for a folder": Mistake(
        changed("corpus.root", "dvc.yaml", *OWN),
        ["params.yaml", "corpus.root"], "'dvc.yaml' is a file", ["the corpus's folder"],
        "in place of its folder", "corpus.root",
    ),
    "a folder for a file": Mistake(
        changed("corpus.root", folder_for_a_table, *OWN),
        ["params.yaml", "corpus.table.file"], "is a folder", ["'speech.csv'"], "another name", "corpus.table.file",
    ),
    "a wrong column": Mistake(
        changed("corpus.root", table, *OWN),
        ["params.yaml", "corpus.csv", "'emotion'"], "has no column 'emotion'", COLUMNS, "'emotoin'", "'emotion'",
    ),
    "ser without a project": Mistake(
        lambda folder: folder / "params.yaml",
        ["params.yaml"], "does not exist", ["the project's root"], "another folder", "ser apply default",
    ),
    "a bracket that is not closed": Mistake(
        written("params.yaml", "corpus: {root: [data\n"),
        ["params.yaml", "line"], "is not YAML", ["expected"], "a bracket", "that line", score=4,
    ),
    "a device of another name": Mistake(
        written("machine.yaml", "device: gpu\n"),
        ["machine.yaml", "device"], "'gpu'", ["auto", "cpu", "cuda", "mps"], "another key or version", "one of these",
    ),
    "an unknown recipe": Mistake(
        lambda folder: Path("open_ravdes"), ["recipe"], "'open_ravdes'", names(), "'open_ravdess'", "'open_ravdess'"
    ),
}  # fmt: skip


def sentence(name: str, folder: Path) -> str:
    """Make a mistake and return the first line about it; one wrong name may be read by several entries."""
    mistake = MISTAKES[name]
    path = mistake.make(folder)
    with pytest.raises(InputError) as refused:
        if path.name == "machine.yaml":
            read_machine(path)
        elif path.name == "params.yaml":
            check(path)
        else:
            compose(str(path))
    lines = [line for line in str(refused.value).splitlines() if mistake.is_there in line]
    assert lines, str(refused.value)
    return lines[0]


def points(mistake: Mistake, line: str) -> dict[str, bool]:
    """Return which of the five points a sentence has."""
    cause, fix = CAUSE.findall(line), FIX.search(line)
    head = line.partition(" (")[0] if not mistake.cause else line[: line.rindex(" (")]
    return {
        "where": all(word in head for word in mistake.where),
        "what is": mistake.is_there in head,
        "expected": bool(re.search("expected|should be", head)) and all(word in head for word in mistake.expected),
        "cause": bool(mistake.cause) and any(mistake.cause in each for each in cause),
        "fix": bool(mistake.fix) and fix is not None and fix["verb"] in IMPERATIVES and mistake.fix in fix["rest"],
    }


@pytest.mark.parametrize("name", MISTAKES)
def test_the_sentence_has_the_points_that_are_listed(name, tmp_path):
    line = sentence(name, tmp_path)
    reached = points(MISTAKES[name], line)
    assert sum(reached.values()) == MISTAKES[name].score, f"{reached}: {line}"


def test_fifteen_and_more_mistakes_reach_the_mean():
    scores = [mistake.score for mistake in MISTAKES.values()]
    assert len(scores) >= 15 and sum(scores) / len(scores) >= LEAST_MEAN


@pytest.mark.parametrize("part", ["where", "what is", "expected", "cause", "fix"])
def test_a_sentence_without_a_part_loses_its_point(part, tmp_path):
    line = sentence("a typo of a value", tmp_path)
    damaged = {
        "where": line.replace("fusion.method", "it"),
        "what is": line.replace("'logres'", "wrong"),
        "expected": line.replace("'vote'", "others"),
        "cause": CAUSE.sub("(why?)", line),
        "fix": line.partition("; write")[0],
    }
    lost = {name for name, has in points(MISTAKES["a typo of a value"], damaged[part]).items() if not has}
    assert lost == {part}


def test_all_mistakes_are_refused_at_once_in_two_seconds(tmp_path):
    wrong = ["fusion.metod", 1, "fusion.method", "logres", "finetuning.audio.phases.main.epochs", -3]
    wrong += [
        "rebalancing.text.temperature.on",
        "test",
        "corpus.max_clipped_share",
        2,
        "transcription.engine",
        "canry",
    ]
    changed(*wrong)(tmp_path)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pipeline_lib.cli", "check", "--params", str(tmp_path / "params.yaml")]
    done = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 1 and len(done.stderr.splitlines()) == len(wrong) // 2
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2.0

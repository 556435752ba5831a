"""A table of predictions -> the file that the MSP-Podcast challenges take (Odyssey 2024, Interspeech 2025).

``ser submission data/fused.parquet --task categories --split test3 --out submission.csv``
``ser submission --check submission.csv --task categories --split test3``

======== ============ ============================== ======================================================
task     name         columns                        values
======== ============ ============================== ======================================================
1        categories   FileName,EmoClass              a letter: A C D F H N S U
2        attributes   FileName,EmoAct,EmoVal,EmoDom  numbers from 1 to 7 with six decimals, clamped to them
======== ============ ============================== ======================================================

A row is an utterance of the split, labelled or not, in the order of the file names, which are the corpus's own, with
``.wav``. The category is the most probable label; between equals it is the first in the manifest's order, and how many
such rows there are is printed. Probability on O and X is dropped first, as scoring does (``systems.scored_posterior``).
"""

import csv
import math
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES, LETTERS
from pipeline_lib.scoring.systems import align
from pipeline_lib.tables import manifest as manifests
from pipeline_lib.tables import predictions
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

Task = Literal["categories", "attributes"]
COLUMNS: dict[str, tuple[str, ...]] = {
    "categories": ("FileName", "EmoClass"),
    "attributes": ("FileName", "EmoAct", "EmoVal", "EmoDom"),  # arousal, valence, dominance
}
SCALE = (1.0, 7.0)
OTHER_SCALE = 0.5  # with a larger share of values outside 1 to 7 the scale is another one


def write_submission(
    out: Path, table: Path, predicted: Predictions, manifest: Manifest, split: str, task: Task
) -> list[str]:
    """Write the submission atomically.

    Args:
        out: the file
        table: path of the predictions, for messages
        predicted: they may hold utterances of other splits too
        manifest: the corpus
        split: a split or subset of it
        task: "categories" or "attributes"

    Returns:
        notes about the file, a sentence each

    Raises:
        InputError: an utterance has no prediction or no file, or the table or the corpus is not the task's
    """
    inside = manifest.mask(split)
    missing = sorted(set(manifest.ids[inside]) - set(predicted.utterance_ids))
    if missing:
        total = int(inside.sum())
        raise InputError(f"{table} lacks {len(missing)} of the {total} utterances of {split}, {missing[0]!r} first")
    system = align("submission", table, predicted, manifest)
    values = system.posterior if task == "categories" else system.attributes
    if values is None:
        raise InputError(f"{table} holds no {task}, only {'attributes' if task == 'categories' else 'categories'}")
    fields: Sequence[tuple[str, ...]]
    if task == "categories":
        fields, notes = _letters(values[inside], manifest.labels)
    else:
        _check_attributes(predicted, manifest, table)
        fields, notes = _numbers(values[inside], table)
    rows = sorted((name, *row) for name, row in zip(_file_names(manifest, inside), fields, strict=True))
    _write(out, [COLUMNS[task], *rows])
    return [f"{out}: {len(rows)} utterances of {split}", *notes]


def check_submission(path: Path, manifest: Manifest, split: str, task: Task) -> int:
    """Check a file against the task's columns, letters and ranges, and against the split's utterances.

    Args:
        path: the file
        manifest: the corpus
        split: a split or subset of it
        task: "categories" or "attributes"

    Returns:
        number of rows

    Raises:
        InputError: the first error, with its line
    """
    expected = set(_file_names(manifest, manifest.mask(split)))
    check_value = _check_letter if task == "categories" else _check_number
    seen: set[str] = set()
    for line, fields in _lines(path, COLUMNS[task]):
        name, *values = fields
        at = f"{path}, line {line}"
        if name in seen or name not in expected:
            raise InputError(f"{at}: FileName {name!r} {'appears twice' if name in seen else f'is not in {split}'}")
        seen.add(name)
        for column, value in zip(COLUMNS[task][1:], values, strict=True):
            check_value(f"{at}: {column} of {name} is {value!r}", value)
    if absent := sorted(expected - seen):
        raise InputError(f"{path} lacks {len(absent)} of the {len(expected)} files of {split}, {absent[0]!r} first")
    return len(seen)


def _letters(posterior: np.ndarray, labels: Sequence[str]) -> tuple[list[tuple[str]], list[str]]:
    """Return a letter a row, and notes about them."""
    letters = {label: letter for letter, label in LETTERS.items()}
    if unknown := [label for label in labels if label not in letters]:
        raise InputError(f"the manifest's label {unknown[0]!r} has no letter, the challenge's are {list(letters)}")
    tied = int(((posterior == posterior.max(axis=1, keepdims=True)).sum(axis=1) > 1).sum())
    notes = [f"{tied} choices were between equals; the first label in the manifest's order was taken"] if tied else []
    return [(letters[labels[i]],) for i in posterior.argmax(axis=1)], notes


def _check_attributes(predicted: Predictions, manifest: Manifest, table: Path) -> None:
    if manifest.attribute_scale != SCALE:
        low, high = manifest.attribute_scale
        raise InputError(f"the manifest's attributes go from {low:g} to {high:g}, the challenge's from 1 to 7")
    if lacking := [name for name in ATTRIBUTES if name not in predicted.attribute_names]:
        raise InputError(f"{table} lacks {lacking}, the challenge requires {list(ATTRIBUTES)}")


def _numbers(values: np.ndarray, table: Path) -> tuple[list[tuple[str, ...]], list[str]]:
    """Return the attributes as text, and how many were clamped."""
    outside = (values < SCALE[0]) | (values > SCALE[1])
    message = f"{int(outside.sum())} of {outside.size} values"
    if outside.mean() > OTHER_SCALE:
        span = f"from {values.min():g} to {values.max():g}"
        raise InputError(f"{table}: {message} are outside 1 to 7, {span} (are they still on the network's own scale?)")
    numbers = [tuple(f"{value:.6f}" for value in row) for row in np.clip(values, *SCALE)]
    return numbers, [f"{message} were outside 1 to 7 and are clamped"]


def _file_names(manifest: Manifest, inside: np.ndarray) -> list[str]:
    """Return the files of these rows, without their folders."""
    names: dict[str, str] = {}
    for utterance_id, audio in zip(manifest.ids[inside], manifest.frame["audio"][inside], strict=True):
        if not isinstance(audio, str):
            raise InputError(f"{utterance_id!r} has no audio in the manifest, the challenge names files")
        name = Path(audio).name
        if name in names:
            raise InputError(f"{names[name]!r} and {utterance_id!r} are both in a file called {name!r}")
        names[name] = utterance_id
    return list(names)


def _lines(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the file's rows with their line numbers, the header checked."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.reader(file, strict=True)
            header = next(reader, [])
            if header != list(columns):
                raise InputError(f"{path}: its first line is {','.join(header)!r}, expected {','.join(columns)!r}")
            for fields in reader:
                if len(fields) != len(columns):
                    at = f"{path}, line {reader.line_num}"
                    raise InputError(f"{at}: {len(fields)} fields, expected {len(columns)} ({','.join(columns)})")
                yield reader.line_num, fields
    except OSError as error:
        raise InputError(f"{path} cannot be opened: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is no CSV file in UTF-8: {error}") from None


def _check_letter(message: str, value: str) -> None:
    if value not in LETTERS:
        raise InputError(f"{message}, expected one of {' '.join(LETTERS)}")


def _check_number(message: str, value: str) -> None:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not SCALE[0] <= number <= SCALE[1]:
        raise InputError(f"{message}, expected a number from 1 to 7")


def _write(out: Path, rows: Sequence[Sequence[str]]) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(rows)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(out)
    finally:
        temporary.unlink(missing_ok=True)


def submit(table: Path | None, task: Task, split: str, out: Path, manifest_path: Path, check: Path | None) -> None:
    """Write a table as a challenge submission, or check a submission; print what was done.

    Args:
        table: predictions, None to check
        task: which of the challenge's two
        split: a split or subset of the manifest
        out: the file to write
        manifest_path: the corpus
        check: a submission to check, None to write one

    Raises:
        InputError: neither or both of ``table`` and ``check`` are given, or one of them is wrong
    """
    if (table is None) == (check is None):
        raise InputError("give either a table of predictions or --check with a submission, not both and not neither")
    corpus = manifests.read(manifest_path)
    if table is None:
        print(
            f"{check}: {check_submission(check, corpus, split, task)} utterances of {split}, all as the task requires"
        )
        return
    if corpus.notice:
        print(f"warning: {corpus.notice}", file=sys.stderr)
    for sentence in write_submission(out, table, predictions.read(table), corpus, split, task):
        print(sentence)

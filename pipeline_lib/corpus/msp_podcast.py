"""MSP-Podcast, v1.8 to v2.0: podcast turns with crowd-sourced categories and attributes (1 to 7).

R. Lotfian and C. Busso, "Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional Speech from
Existing Podcast Recordings", IEEE Transactions on Affective Computing 10(4), 2019. Licensed on request, for research.

``Labels/labels_consensus.csv`` (v1.8: ``labels_concensus.csv``) holds EmoClass, attributes, speaker, gender and
split; ``Partitions.txt`` (or ``Partition.txt``) also names recordings whose labels are hidden (Test3);
``Transcripts/<turn>.txt`` the text; votes come from ``labels_detailed.json``, ``labels_detailed.csv`` or
``labels.txt``, the first that is there. The official split is used: train, dev (``Development``, formerly
``Validation``), test, test2, test3. Turns of the speaker ``Unknown`` have none. Marks in brackets are left out of the
text.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline_lib.audio.decoding import resolve_under
from pipeline_lib.corpus import layout
from pipeline_lib.corpus.items import Items, by_stem
from pipeline_lib.errors import InputError
from pipeline_lib.labels import LETTERS, NO_AGREEMENT, OTHER
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.storage import cell_text

EMOTIONS = {**LETTERS, "O": OTHER, "X": NO_AGREEMENT}
SPLITS = {
    "train": "train",
    "development": "dev",
    "validation": "dev",
    "test1": "test",
    "test2": "test2",
    "test3": "test3",
}
VOTED = {
    "angry": "anger",
    "anger": "anger",
    "contempt": "contempt",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "happiness": "happiness",
    "neutral": "neutral",
    "sad": "sadness",
    "sadness": "sadness",
    "surprise": "surprise",
    "surprised": "surprise",
}
CUSTOM = layout.Custom()
NAMES = ("FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set")
WORKER_LINE = re.compile(r"WORKER\S*;\s*([^;]*);", re.IGNORECASE)


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each turn that is labelled or named by a partition; see ``layout``.

    Args:
        root: folder of the corpus
        settings: the section ``corpus`` of params.yaml; this reader uses none of it

    Raises:
        InputError: the consensus labels are missing, no line of them can be read, or votes have another form
    """
    path = _first(root / "Labels", "labels_consensus.csv", "labels_concensus.csv")
    if path is None:
        raise InputError(
            f"{root / 'Labels'} has no labels_consensus.csv (v1.8: labels_concensus.csv), expected MSP-Podcast"
        )
    items = Items(root)
    sound, votes = by_stem(layout.files(root / "Audios")), _votes(root / "Labels", items)
    labelled = set()
    complete = partial(_complete, root, items, sound, votes)
    for where, cells in layout.csv_rows(path, NAMES, malformed=items.malformed):
        name, split = PurePosixPath(cells["FileName"]).stem, SPLITS.get(cells["Split_Set"].lower())
        labelled.add(name)
        items.line(where, name, lambda where, cells: complete(_row(where, cells)), where, cells, split=split)
    for where, line in _partitions(root):
        items.line(where, None, lambda where, line: complete(_named(where, line, labelled)), where, line)
    return items.frame()


def _complete(
    root: Path, items: Items, sound: dict[str, list[PurePosixPath]], votes: dict[str, dict[str, int]], row: dict | None
) -> list[dict]:
    """Return a row for each copy of the turn's recording, with votes and text."""
    if row is None:
        return []
    name = row["utterance_id"]
    row |= {"votes": votes.get(name), "reference_text": _text(root, f"Transcripts/{name}.txt", items)}
    return [{**row, "audio": f"Audios/{path}"} for path in sound.get(name, [f"{name}.wav"])]


def _row(where: str, cells: dict[str, str]) -> dict:
    speaker, name = cells["SpkrID"], PurePosixPath(cells["FileName"]).stem
    if not name:
        raise InputError(f"{where}: FileName is empty")
    return {
        "utterance_id": name,
        "emotion": layout.coded(where, "EmoClass", cells["EmoClass"], EMOTIONS) if cells["EmoClass"] else None,
        "arousal": layout.number(where, "EmoAct", cells["EmoAct"]),
        "valence": layout.number(where, "EmoVal", cells["EmoVal"]),
        "dominance": layout.number(where, "EmoDom", cells["EmoDom"]),
        "speaker": None if speaker.lower() in ("unknown", "") else speaker,
        "gender": layout.gender(cells["Gender"]),
        "split": layout.coded(where, "Split_Set", cells["Split_Set"].lower(), SPLITS),
    }


def _partitions(root: Path) -> Iterator[tuple[str, str]]:
    """Yield file and line number of each line that is not empty, and the line."""
    path = _first(root, "Partitions.txt", "Partition.txt")
    for i, line in enumerate(layout.lines(path) if path else [], start=1):
        if line.strip():
            yield f"{path}, line {i}", line


def _named(where: str, line: str, labelled: set[str]) -> dict | None:
    """Return the turn that a line ``Test3; MSP-PODCAST_test3_0001.wav`` names, None where it has labels."""
    split, separator, file = line.partition(";")
    name = PurePosixPath(file.strip()).stem
    if not separator or not name:
        raise InputError(f"{where}: {line!r}, expected 'split; file'")
    meant = layout.coded(where, "split", split.strip().lower(), SPLITS)
    return None if name in labelled else {"utterance_id": name, "split": meant}


def _text(root: Path, relative: str, items: Items) -> str | None:
    path = resolve_under(root, relative)
    if not path.is_file():
        return None
    return items.without_marks(cell_text.stripped(" ".join(map(cell_text.stripped, layout.lines(path)))))


def _votes(folder: Path, items: Items) -> dict[str, dict[str, int]]:
    """Return turn -> emotion -> number of primary votes; whatever is not one of the eight counts as other."""
    votes: dict[str, dict[str, int]] = {}
    for name, primary in _primaries(folder, items):
        label = VOTED.get(primary.strip().lower(), OTHER)
        counts = votes.setdefault(name, {})
        counts[label] = counts.get(label, 0) + 1
    return votes


def _primaries(folder: Path, items: Items) -> Iterator[tuple[str, str]]:
    path = _first(folder, "labels_detailed.json", "labels_detailed.csv", "labels.txt")
    if path is None:
        return
    if path.suffix == ".json":
        yield from _from_json(path)
    elif path.suffix == ".csv":
        for _, cells in layout.csv_rows(path, ["FileName"], malformed=items.malformed):
            detail = WORKER_LINE.match(cells.get("EmoDetail", ""))
            primary = cells.get("EmoClass_Major") or (detail[1] if detail else "")
            if primary:
                yield PurePosixPath(cells["FileName"]).stem, primary
    else:
        turn = ""
        for i, line in enumerate(layout.lines(path), start=1):
            worker = WORKER_LINE.match(line.strip())
            if worker and not turn:
                where = f"{path}, line {i}"
                raise InputError(f"{where}: a vote before the first turn, expected 'name; CODE; A:x; V:y; D:z;'")
            if worker:
                yield turn, worker[1]
            elif line.strip():
                turn = PurePosixPath(line.partition(";")[0].strip()).stem


def _from_json(path: Path) -> Iterator[tuple[str, str]]:
    try:
        content = json.loads("\n".join(layout.lines(path)))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(content, dict) or not all(isinstance(workers, dict) for workers in content.values()):
        raise InputError(f"{path}: expected {{file: {{worker: {{EmoClass_Major: ..., EmoVal: ...}}}}}}")
    for name, workers in content.items():
        for vote in workers.values():
            primary = vote.get("EmoClass_Major") if isinstance(vote, dict) else None
            if primary:
                yield PurePosixPath(name).stem, str(primary)


def _first(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)

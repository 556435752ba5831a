"""MSP-Podcast, v1.8 to v2.0: podcast turns with crowd-sourced categories and attributes (1 to 7).

R. Lotfian and C. Busso, "Building Naturalistic Emotionally Balanced Speech Corpus by Retrieving Emotional Speech from
Existing Podcast Recordings", IEEE Transactions on Affective Computing 10(4), 2019. Licensed on request, for research.

``Labels/labels_consensus.csv`` (v1.8: ``labels_concensus.csv``) holds EmoClass, attributes, speaker, gender and
split; ``Partitions.txt`` (or ``Partition.txt``) also names recordings whose labels are hidden (Test3);
``Transcripts/<turn>.txt`` the text; votes come from ``labels_detailed.json``, ``labels_detailed.csv`` or
``labels.txt``, the first that is there. The official split is used: train, dev (``Development``, formerly
``Validation``), test, test2, test3. Turns of the speaker ``Unknown`` have none.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline_lib.audio import resolve_under
from pipeline_lib.corpus import cell_text, layout
from pipeline_lib.corpus.settings import CorpusSettings
from pipeline_lib.errors import InputError
from pipeline_lib.labels import LETTERS, NO_AGREEMENT, OTHER

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

    Raises:
        InputError: the consensus labels are missing, or a line cannot be read
    """
    path = _first(root / "Labels", "labels_consensus.csv", "labels_concensus.csv")
    if path is None:
        raise InputError(
            f"{root / 'Labels'} has no labels_consensus.csv (v1.8: labels_concensus.csv), wanted MSP-Podcast"
        )
    sound = layout.by_stem(layout.files(root / "Audios"))
    votes = _votes(root / "Labels")
    rows = [_row(where, cells) for where, cells in layout.csv_rows(path, NAMES)]
    known = {row["utterance_id"] for row in rows}
    rows += [{"utterance_id": name, "split": split} for name, split in _partitions(root) if name not in known]
    for row in rows:
        name = row["utterance_id"]
        row["audio"] = f"Audios/{sound.get(name, f'{name}.wav')}"
        row["votes"] = votes.get(name)
        row["reference_text"] = _text(root, f"Transcripts/{name}.txt")
    return layout.frame(rows)


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
    """Yield name and split of each line, ``Test3; MSP-PODCAST_test3_0001.wav``."""
    path = _first(root, "Partitions.txt", "Partition.txt")
    for i, line in enumerate(layout.lines(path) if path else [], start=1):
        if line.strip():
            split, separator, name = line.partition(";")
            if not separator:
                raise InputError(f"{path}, line {i}: {line!r}, wanted 'split; file'")
            meant = layout.coded(f"{path}, line {i}", "split", split.strip().lower(), SPLITS)
            yield PurePosixPath(name.strip()).stem, meant


def _text(root: Path, relative: str) -> str | None:
    path = resolve_under(root, relative)
    return cell_text.stripped(" ".join(map(cell_text.stripped, layout.lines(path)))) if path.is_file() else None


def _votes(folder: Path) -> dict[str, dict[str, int]]:
    """Return turn -> emotion -> number of primary votes; whatever is not one of the eight counts as other."""
    found: dict[str, dict[str, int]] = {}
    for name, primary in _primaries(folder):
        label = VOTED.get(primary.strip().lower(), OTHER)
        counts = found.setdefault(name, {})
        counts[label] = counts.get(label, 0) + 1
    return found


def _primaries(folder: Path) -> Iterator[tuple[str, str]]:
    path = _first(folder, "labels_detailed.json", "labels_detailed.csv", "labels.txt")
    if path is None:
        return
    if path.suffix == ".json":
        yield from _from_json(path)
    elif path.suffix == ".csv":
        for _, cells in layout.csv_rows(path, ["FileName"]):
            detail = WORKER_LINE.match(cells.get("EmoDetail", ""))
            primary = cells.get("EmoClass_Major") or (detail[1] if detail else "")
            if primary:
                yield PurePosixPath(cells["FileName"]).stem, primary
    else:
        turn = ""
        for i, line in enumerate(layout.lines(path), start=1):
            worker = WORKER_LINE.match(line.strip())
            if worker and not turn:
                raise InputError(f"{path}, line {i}: a vote before the first turn, wanted 'name; CODE; A:x; V:y; D:z;'")
            if worker:
                yield turn, worker[1]
            elif line.strip():
                turn = PurePosixPath(line.partition(";")[0].strip()).stem


def _from_json(path: Path) -> Iterator[tuple[str, str]]:
    try:
        said = json.loads("\n".join(layout.lines(path)))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: not JSON: {error.msg}") from None
    if not isinstance(said, dict) or not all(isinstance(workers, dict) for workers in said.values()):
        raise InputError(f"{path}: wanted {{file: {{worker: {{EmoClass_Major: ..., EmoVal: ...}}}}}}")
    for name, workers in said.items():
        for vote in workers.values():
            primary = vote.get("EmoClass_Major") if isinstance(vote, dict) else None
            if primary:
                yield PurePosixPath(name).stem, str(primary)


def _first(folder: Path, *names: str) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)

"""nEMO: 9 Polish actors, 6 emotions, 90 sentences, 4,481 recordings.

I. Christop, "nEMO: Dataset of Emotional Speech in Polish", LREC-COLING 2024, arXiv:2404.06292.
https://github.com/amu-cai/nEMO. Licence: CC BY-NC-SA 4.0.

Recordings are called ``WR0_sadness_4``: speaker, emotion, sentence; they lie in any folder (``samples/`` in the
original). Gender and text come from a table beside them: ``data.tsv`` (file_id, emotion, raw_text, normalized_text,
speaker_id, sex or gender, age), or ``manifest.csv`` (utterance_id, speaker, gender, emotion, reference_text) of
cut-down copies. Without a table they are unknown. No official split: speakers are drawn, balanced by gender.
"""

import re
from functools import partial
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline_lib.corpus import layout
from pipeline_lib.corpus.items import Items
from pipeline_lib.corpus.items import stem as stem_of
from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import CorpusSettings

EMOTIONS = {
    "anger": "anger",
    "fear": "fear",
    "happiness": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprised": "surprise",
}
CUSTOM = layout.Custom(labels=("anger", "fear", "happiness", "neutral", "sadness", "surprise"))

NAME = re.compile(r"([A-Z]{2}\d)_([a-z]+)_(\d+)")


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each recording on disk or in the table; see ``layout`` and ``items``.

    Args:
        root: folder of the corpus
        settings: the section ``corpus`` of params.yaml; this reader uses none of it

    Raises:
        InputError: no recording, or none with a name and emotion that nEMO has and that the table does not contradict
    """
    paths = layout.recordings(root, "nEMO", "samples/WR0_sadness_4.wav")
    items = Items(root)
    known = _table(root, items)
    for path in paths:
        items.recording(path, partial(_row, root / path, known))
    folder = paths[0].parent
    for stem in sorted(set(known) - {stem_of(path) for path in paths}):
        path = folder / f"{stem}.wav"
        items.recording(path, partial(_row, root / path, known))
    return items.frame()


def _row(file: Path, known: dict[str, dict[str, str]], stem: str) -> dict:
    match = NAME.fullmatch(stem)
    if match is None:
        raise InputError(f"{file} is not named as nEMO names recordings, such as WR0_sadness_4 (move it away)")
    speaker, emotion, _ = match.groups()
    row = known.get(stem, {})
    for name, here in (("speaker", speaker), ("emotion", emotion)):
        if row and row[name] != here:
            raise InputError(f"{row['where']}: {name} is {row[name]!r}, expected {here!r} as in the recording's name")
    return {
        "speaker": speaker,
        "gender": layout.gender(row.get("gender")),
        "emotion": layout.coded(file, "emotion", emotion, EMOTIONS),
        "reference_text": row.get("text"),
    }


def _table(root: Path, items: Items) -> dict[str, dict[str, str]]:
    """Return the rows of the table beside the recordings, by stem; empty without a table."""
    if (root / "data.tsv").is_file():
        names = ["file_id", "emotion", "raw_text", "speaker_id"]
        rows = layout.csv_rows(root / "data.tsv", names, "\t", items.malformed)
        return {
            PurePosixPath(row["file_id"]).stem: {
                "where": where,
                "speaker": row["speaker_id"],
                "emotion": row["emotion"],
                "gender": row.get("gender") or row.get("sex", ""),
                "text": row["raw_text"],
            }
            for where, row in rows
        }
    if (root / "manifest.csv").is_file():
        names = ["utterance_id", "speaker", "gender", "emotion", "reference_text"]
        rows = layout.csv_rows(root / "manifest.csv", names, malformed=items.malformed)
        return {row["utterance_id"]: {"where": where, "text": row["reference_text"], **row} for where, row in rows}
    return {}

"""nEMO: 9 Polish actors, 6 emotions, 90 sentences, 4,481 recordings.

I. Christop, "nEMO: Dataset of Emotional Speech in Polish", LREC-COLING 2024, arXiv:2404.06292.
https://github.com/amu-cai/nEMO. Licence: CC BY-NC-SA 4.0.

Recordings are called ``WR0_sadness_4``: speaker, emotion, sentence; they lie in any folder (``samples/`` in the
original). Gender and text come from a table beside them: ``data.tsv`` (file_id, emotion, raw_text, normalized_text,
speaker_id, sex or gender, age), or ``manifest.csv`` (utterance_id, speaker, gender, emotion, reference_text) of
cut-down copies. Without a table they are unknown. No official split: speakers are drawn, balanced by gender.
"""

import re
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline_lib.corpus import layout
from pipeline_lib.corpus.settings import CorpusSettings
from pipeline_lib.errors import InputError

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
    """Return a row for each recording on disk or in the table; see ``layout``.

    Raises:
        InputError: no recording, a name or emotion that nEMO does not have, or a table that contradicts a name
    """
    paths = layout.recordings(root, "nEMO", "samples/WR0_sadness_4.wav")
    known = _table(root)
    found = [_row(root, path, known.get(path.stem, {})) for path in paths]
    lacking = sorted(set(known) - {path.stem for path in paths})
    folder = paths[0].parent
    found += [_row(root, folder / f"{stem}.wav", known[stem]) for stem in lacking]
    return layout.frame(found)


def _row(root: Path, path: PurePosixPath, said: dict[str, str]) -> dict:
    match = NAME.fullmatch(path.stem)
    if match is None:
        raise InputError(f"{root / path} is not named as nEMO names recordings, such as WR0_sadness_4 (move it away)")
    speaker, emotion, _ = match.groups()
    for name, here in (("speaker", speaker), ("emotion", emotion)):
        if said and said[name] != here:
            raise InputError(f"{said['where']}: {name} is {said[name]!r}, the recording's name says {here!r}")
    return {
        "utterance_id": path.stem,
        "audio": str(path),
        "speaker": speaker,
        "gender": layout.gender(said.get("gender")),
        "emotion": layout.coded(root / path, "emotion", emotion, EMOTIONS),
        "reference_text": said.get("text"),
    }


def _table(root: Path) -> dict[str, dict[str, str]]:
    """Return what the table beside the recordings says, by stem; empty without a table."""
    if (root / "data.tsv").is_file():
        rows = layout.csv_rows(root / "data.tsv", ["file_id", "emotion", "raw_text", "speaker_id"], "\t")
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
        rows = layout.csv_rows(
            root / "manifest.csv", ["utterance_id", "speaker", "gender", "emotion", "reference_text"]
        )
        return {row["utterance_id"]: {"where": where, "text": row["reference_text"], **row} for where, row in rows}
    return {}

"""audformat databases: ``db.yaml`` with tables ``db.<name>.csv`` or ``.parquet`` of files or of segments.

Tables with emotions are joined; those called ``….train``, ``….dev`` and ``….test`` give the split. Speaker, gender and
text come from any table of the same files, gender also from one whose rows are speakers. The format is described at
https://audeering.github.io/audformat.
"""

from collections.abc import Mapping
from pathlib import Path

from pipeline_lib.errors import InputError
from pipeline_lib.start import own_table, table_file
from pipeline_lib.start.splits import SPLIT_OF

MORE = ("speaker", "gender", "reference_text")


def read(root: Path) -> own_table.OwnTable:
    """Return the utterances of a database.

    Args:
        root: folder with db.yaml

    Raises:
        InputError: no table of files has a column of emotions
    """
    paths = sorted(path for path in root.glob("db.*.*") if path.suffix in (".csv", ".parquet"))
    labelled: list[dict[str, str]] = []
    of_file: dict[str, dict[str, str]] = {}
    of_speaker: dict[str, dict[str, str]] = {}
    names = []
    for path in paths:
        table = table_file.read(path)
        columns = table_file.choose(table, {})
        rows, _ = table_file.meant(table, columns)
        if "audio" not in columns:
            of_speaker |= {row["speaker"]: row for row in rows if row.get("speaker")}
            continue
        for row in rows:
            known = of_file.setdefault(row["audio"], {})
            known |= {name: row[name] for name in MORE if row.get(name)}
        if "emotion" in columns:
            labelled += [{**row, "split": _split(path), **_segment(row)} for row in rows]
            names.append(path.name)
    if not labelled:
        raise InputError(f"{root} has db.yaml and no table with the columns file and emotion among {len(paths)}")
    rows = [_row(row, of_file, of_speaker) for row in _once(labelled)]
    present = tuple(name for name in own_table.ORDER if any(row.get(name) for row in rows))
    return own_table.OwnTable(root.resolve(), None, rows, present, [f"tables {', '.join(names)}"], [])


def _row(row: dict[str, str], of_file: Mapping[str, dict[str, str]], of_speaker: Mapping[str, dict[str, str]]) -> dict:
    row = {**of_file.get(row["audio"], {}), **{name: cell for name, cell in row.items() if cell}}
    gender = of_speaker.get(row.get("speaker", ""), {}).get("gender", "")
    return row if row.get("gender") or not gender else {**row, "gender": gender}


def _split(path: Path) -> str:
    """Return the split in a table's name, "" where it names none."""
    return next((SPLIT_OF[part] for part in path.name.casefold().split(".") if part in SPLIT_OF), "")


def _segment(row: Mapping[str, str]) -> dict[str, str]:
    """Return begin and end, empty for a whole recording (audformat writes 0 days and NaT)."""
    begin, end = row.get("start_s", ""), row.get("end_s", "")
    is_whole = end in ("", "NaT") and begin in ("", "NaT", "0", "0 days", "0 days 00:00:00")
    return {"start_s": "", "end_s": ""} if is_whole else {"start_s": begin, "end_s": "" if end == "NaT" else end}


def _once(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    """Return the rows of each file or segment once, one with a split before one without."""
    chosen: dict[tuple[str, str, str], dict[str, str]] = {}
    for row in rows:
        key = (row["audio"], row["start_s"], row["end_s"])
        if key not in chosen or (row["split"] and not chosen[key]["split"]):
            chosen[key] = row
    return list(chosen.values())

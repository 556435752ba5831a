"""A corpus of one's own: a CSV or Parquet file with the manifest's column names, recordings below the same root.

Required are ``audio`` (path below ``corpus.root``) and either ``emotion`` or one of arousal, valence, dominance; for a
corpus without sound ``reference_text`` and an identifier stand in for ``audio``. Optional:

================  ====================================================================================================
utterance_id      default: the audio path without its suffix, with a segment's times in milliseconds
start_s, end_s    the part of the recording, in seconds (also start and end, offset and duration, as pandas' durations);
                  empty: the recording's own beginning and end
emotion           any words (letters, digits, blanks, _-.,'&/+()); O is "other", X "no agreement", empty is unlabelled
arousal ...       numbers on ``corpus.attribute_scale``
split             train, dev, test, test2 ..., unlabelled; without it, speakers are drawn (``corpus.split``)
speaker, gender   needed for that draw, for the check of leaks, and for intervals clustered by speaker
votes             annotators' votes as a JSON object: {"anger": 3, "X": 1}
annotator         the rater: several rows of an utterance are counted into votes, with this column or without
reference_text    the words spoken, written by a human
video             path below the root
dialogue, turn    the dialogue that the utterance is of, and its order in it, a whole number: both or neither
subsets           names separated by ;, other than train, dev, test, dev_filt, dev_bal, folds, fold0 ...
================  ====================================================================================================

Other columns are named in a printed line and not read. Refused are those whose name is so near to one of these that a
slip of the pen is likelier, and those that seem to name a part of a recording or a channel (``table_columns``).
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipeline_lib.corpus import annotators, identity, layout, table_columns
from pipeline_lib.corpus.table_rows import Rows
from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import CorpusSettings, table_path
from pipeline_lib.storage import table_files

CUSTOM = layout.Custom(labels=None)
DOUBTFUL = frozenset(("unknown", "undefined", "unlabelled", "unlabeled", "unrated", "missing", "xxx"))  # as labels


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each utterance of the table; see ``layout``.

    Args:
        root: folder of the corpus
        settings: the section ``corpus`` of params.yaml

    Raises:
        InputError: a column is missing, nearly well named or not to be passed over, a value cannot be what its column
            holds, rows of an utterance contradict each other, or the table is larger than ``csv_files`` takes
    """
    path = table_path(settings)
    columns = table_columns.choose(path, table_files.header(path), settings)
    low, high = settings.attribute_scale or CUSTOM.attribute_scale
    reader = Rows(root, settings, columns, (low, high))
    cells = enumerate(table_files.rows(path, columns.names), start=1)
    rows = [reader.row(n, where, row) for n, (where, row) in cells]
    if not rows:
        raise InputError(f"{path} has a header and no rows")
    _check_spelling(path, rows)
    same, _ = identity.find_paths(root, {row["audio"] for row in rows if row["audio"]})
    rows = [{**row, "audio": same.get(row["audio"], row["audio"])} for row in rows] if same else rows
    rows, folded = annotators.fold(path, rows, columns.annotator is not None)
    rows = [{**row, "turn": None if row["turn"] is None else int(row["turn"])} for row in rows]
    notes = [*_notes(path, columns, reader, rows, settings), *folded]
    return layout.frame(rows, notes)


def _notes(
    path: Path, columns: table_columns.Columns, reader: Rows, rows: Sequence[dict], settings: CorpusSettings
) -> list[str]:
    """Return sentences on columns and cells that were not read as written."""
    notes = []
    if columns.unread:
        notes.append(f"{path.name}: columns not read: {', '.join(columns.unread)}.")
    if reader.missing:
        listed = [
            f"{name} {sum(words.values())} ({', '.join(map(repr, sorted(words)))})"
            for name, words in reader.missing.items()
        ]
        notes.append(
            f"{path.name}: words taken for missing values: {', '.join(listed)}; where one is a label or a name,"
            " list it in corpus.table.keep_words."
        )
    doubtful = sorted({row["emotion"] for row in rows if (row["emotion"] or "").casefold() in DOUBTFUL})
    if doubtful and not settings.labels:
        notes.append(
            f"{path.name}: {', '.join(map(repr, doubtful))} counts as a label; corpus.labels can leave it out."
        )
    repaired = {name: n for name, n in reader.repaired.items() if n}
    if repaired:
        listed = [f"{name} {n}" for name, n in repaired.items()]
        notes.append(f"{path.name}: cells that held {layout.CONTROLS}: {', '.join(listed)}.")
    return notes


def _check_spelling(path: Path, rows: Sequence[dict]) -> None:
    """Refuse emotions that differ in capitals or in invisible letters: they would silently be two labels."""
    seen: dict[str, str] = {}
    for emotion in sorted({row["emotion"] for row in rows if row["emotion"]}):
        other = seen.setdefault(_seen(emotion), emotion)
        if other.casefold() == emotion.casefold() and other != emotion:
            raise InputError(
                f"{path}: emotions {other!r} and {emotion!r} differ in capitals only, expected one spelling"
            )
        if other != emotion:
            raise InputError(
                f"{path}: emotions {ascii(other)} and {ascii(emotion)} differ in how letters are encoded, expected one"
            )


def _seen(text: str) -> str:
    """Return the visible form: accents composed, letters without shape left out, blanks alike, no capitals."""
    visible = "".join(c for c in unicodedata.normalize("NFKC", text) if unicodedata.category(c) != "Cf")
    return " ".join(visible.split()).casefold()

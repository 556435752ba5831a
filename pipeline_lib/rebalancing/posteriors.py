"""Probabilities that another system gave, read as an expert's predictions.

The table, CSV or Parquet in the project's folder ``posteriors/``, has a row an utterance and a column a label.
Utterances go by their ``utterance_id`` or by their recording's path or file name, with or without its suffix. A row of
an utterance that the manifest lacks, and an utterance without a row, is counted and printed; what is no distribution
over the corpus's labels is refused by its row.

Of a corpus in folds the table is taken as out of fold, each utterance predicted by a model that was not trained on it:
no file can show that it is.
"""

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

import numpy as np

from pipeline_lib.classifiers.inputs import softmax
from pipeline_lib.errors import InputError
from pipeline_lib.labels import PSEUDO
from pipeline_lib.params.posteriors import PosteriorsSettings, table_path
from pipeline_lib.storage import table_files
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import SUM_TOLERANCE, Predictions
from pipeline_lib.tables.provenance import Provenance
from pipeline_lib.tables.truth import labels_of

MEDIA = frozenset(
    (*(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".m4a", ".aif", ".aiff"), ".au", ".caf", ".sph", ".mp4")
)  # suffixes that a file name may have and an utterance_id lack
TRAIN = "train"


def read(source: str, manifest: Manifest, settings: PosteriorsSettings, name: str) -> Predictions:
    """Return the table's probabilities as predictions, without their training prior.

    Args:
        source: the slot, ``posteriors/<table>``
        manifest: utterances and labels
        settings: how the table is laid out
        name: of the entry

    Returns:
        posterior over the manifest's labels and those of O and X that have a column, rows scaled to sum to 1

    Raises:
        InputError: the table is missing, damaged or outside its folder, a column is no label or a label has none, a
            cell is no number, a row is no distribution, or two rows are of one utterance
    """
    path = table_path(source, f"rebalancing.{name}.reads.source")
    where = f"rebalancing.{name}.posteriors"
    columns = _columns(path, manifest.labels, settings, where)
    row_of: dict[int, str] = {}
    utterances = _Utterances(manifest)
    values, locations, rows, unknown = [], [], [], []
    for location, cells in table_files.rows(path, [settings.id_column, *columns.values()]):
        row = utterances.row(location, cells[settings.id_column])
        if row is None:
            unknown.append(cells[settings.id_column])
            continue
        if row in row_of:
            raise InputError(
                f"{location}: {settings.id_column} {cells[settings.id_column]!r} is the utterance"
                f" {manifest.ids[row]!r}, as is that of {row_of[row]}; expected one row an utterance"
            )
        row_of[row] = location
        values.append([_number(location, column, cells[column]) for column in columns.values()])
        locations.append(location)
        rows.append(row)
    if not rows:
        examples = f"{unknown[0]!r} stands in the table, " if unknown else "the table has no row, "
        raise InputError(
            f"{path}: none of its {len(unknown)} rows is of an utterance of the manifest; {examples}"
            f"{manifest.ids[0]!r} in the manifest (set {where}.id_column to the column that names them)"
        )
    _print_losses(manifest, np.array(rows), unknown, path, name)
    order = np.argsort(rows)
    posterior = _probabilities(np.array(values)[order], [locations[i] for i in order], settings, where)
    return Predictions(
        utterance_ids=manifest.ids[np.array(rows)[order]],
        expert=name,
        labels=tuple(columns),
        posterior=posterior,
        provenance=Provenance(tuple(settings.fitted_on), tuple(settings.chosen_on)),
    )


def with_prior(predictions: Predictions, manifest: Manifest, settings: PosteriorsSettings, name: str) -> Predictions:
    """Return the predictions with the label prior that their posterior contains, as far as the settings tell.

    Args:
        predictions: of ``read``
        manifest: the corpus with the split, or that of a fold, whose ``train`` is counted
        settings: which prior
        name: of the entry

    Raises:
        InputError: the given prior names other labels, or train has no label
    """
    scored, where = manifest.labels, f"rebalancing.{name}.posteriors"
    match settings.training_prior:
        case "unknown":
            return predictions
        case "uniform":
            shares = np.ones(len(scored))
        case "train":
            read = labels_of(manifest, fit=[TRAIN])
            truth = read.classes()
            predictions = replace(predictions, provenance=Provenance.joined([predictions.provenance, read.record]))
            shares = np.bincount(truth[truth >= 0], minlength=len(scored)).astype(np.float64)
            if not shares.sum():
                raise InputError(f"{where}.training_prior is 'train', but no utterance of {TRAIN!r} has a label")
        case "given":
            if {*settings.given} != {*scored}:
                raise InputError(f"{where}.given names {sorted(settings.given)}, expected exactly {list(scored)}")
            shares = np.array([settings.given[label] for label in scored], dtype=np.float64)
    by_label = dict(zip(scored, (shares / shares.sum()).tolist(), strict=True))
    return replace(predictions, training_prior=np.array([by_label.get(label, 0.0) for label in predictions.labels]))


def _columns(path: Path, scored: Sequence[str], settings: PosteriorsSettings, where: str) -> dict[str, str]:
    """Return the column of each label: the scored ones in their order, then O and X where the table has them."""
    header = [column for column in table_files.header(path, settings.id_column) if column]
    for key, named in (("id_column", [settings.id_column]), ("labels", settings.labels), ("ignore", settings.ignore)):
        for column in named:
            if column not in header:
                raise InputError(
                    f"{path} has no column {column!r}{_meant(column, header)}, which {where}.{key} names; its columns"
                    f" are {header}"
                )
    labels = [*scored, *PSEUDO]
    column_of: dict[str, str] = {}
    for column in header:
        if column == settings.id_column or column in settings.ignore:
            continue
        label = settings.labels.get(column, column)
        if label not in labels:
            raise InputError(
                f"{path}: column {column!r} is of no label of the corpus{_meant(label, labels)}, which are"
                f" {list(scored)} (and O, X); set {where}.labels: {{{column}: <label>}}, or {where}.ignore: [{column}]"
            )
        if label in column_of:
            raise InputError(f"{path}: columns {column_of[label]!r} and {column!r} are both of {label!r}, expected one")
        column_of[label] = column
    missing = [label for label in scored if label not in column_of]
    if missing:
        raise InputError(f"{path} has no column for {missing}, expected one for each of {list(scored)}")
    return {label: column_of[label] for label in labels if label in column_of}


class _Utterances:
    """The manifest's rows by what a table may call them."""

    def __init__(self, manifest: Manifest) -> None:
        self._ids = manifest.ids
        self._by_id = {_composed(utterance): row for row, utterance in enumerate(manifest.ids)}
        self._by_name: dict[str, list[tuple[tuple[str, ...], int]]] = {}
        for row, audio in enumerate(manifest.frame["audio"]):
            if isinstance(audio, str):
                parts = _parts(_composed(audio))
                self._by_name.setdefault(parts[-1], []).append((parts, row))

    def row(self, where: str, cell: str) -> int | None:
        """Return the row of a cell, None where it is of no utterance; refuse one that several utterances have."""
        if not cell:
            raise InputError(f"{where}: no utterance is named, expected an utterance_id, a path or a file name")
        text = _composed(cell)
        for named in (text, _without_suffix(text)):
            if named in self._by_id:
                return self._by_id[named]
        parts = _parts(text)
        rows = [row for path, row in self._by_name.get(parts[-1], ()) if _is_tail(parts, path)]
        if len(rows) > 1:
            first, second = (self._ids[row] for row in rows[:2])
            raise InputError(
                f"{where}: {cell!r} is the recording of {len(rows)} utterances, {first!r} and {second!r} among them;"
                " expected their utterance_id"
            )
        return rows[0] if rows else None


def _is_tail(one: tuple[str, ...], other: tuple[str, ...]) -> bool:
    """Return whether the shorter path is the end of the longer: ``a/b.wav`` and ``/data/a/b.wav``, not ``c/b.wav``."""
    n = min(len(one), len(other))
    return one[-n:] == other[-n:]


def _parts(path: str) -> tuple[str, ...]:
    parts = PurePosixPath(path.replace("\\", "/")).parts or (path,)
    return (*parts[:-1], _without_suffix(parts[-1]))


def _without_suffix(name: str) -> str:
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in MEDIA else name


def _composed(text: str) -> str:
    return unicodedata.normalize("NFC", text)


def _number(where: str, column: str, cell: str) -> float:
    try:
        value = float(cell.replace("_", "x"))  # Python alone takes 1_0 for 10
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        comma = " (a comma in place of the point?)" if "," in cell else ""
        raise InputError(f"{where}: {column} is {cell[:80]!r}, expected a finite number{comma}")
    return value


def _probabilities(
    values: np.ndarray, locations: Sequence[str], settings: PosteriorsSettings, where: str
) -> np.ndarray:
    """Return rows that sum to 1, shape ``(n, n_labels)``; refuse the first that is no distribution."""
    if settings.scale == "logits":
        return softmax(values)
    unit = 100.0 if settings.scale == "percentages" else 1.0
    shares = values / unit
    sums, slack = shares.sum(axis=1), settings.tolerance
    off = np.flatnonzero((np.abs(sums - 1) > slack) | (shares < 0).any(axis=1))
    if len(off):
        row = off[0]
        raise InputError(
            f"{locations[row]}: the numbers of the labels sum to {values[row].sum():.6g}, the smallest is"
            f" {values[row].min():.6g}; expected none below 0 and a sum of {unit:g} within {unit * slack:g}, as in"
            f" {len(values) - len(off)} of {len(values)} rows ({_cause(values, settings, where)})"
        )
    rounded = int((np.abs(sums - 1) > SUM_TOLERANCE).sum())
    if rounded:
        print(
            f"{where}: {rounded} of {len(values)} rows sum to 1 within {slack:g} only, as if rounded: they are scaled"
        )
    return shares / sums[:, None]


def _cause(values: np.ndarray, settings: PosteriorsSettings, where: str) -> str:
    """Return the likely reason why rows are no distribution, with the key to set."""
    if (values < 0).any():
        return f"logits? set {where}.scale: logits"
    for scale, unit in (("probabilities", 1.0), ("percentages", 100.0)):
        if scale != settings.scale and abs(np.median(values.sum(axis=1)) / unit - 1) < 0.1:
            return f"{scale}? set {where}.scale: {scale}"
    return f"is a label left out, or are they rounded more than {where}.tolerance allows?"


def _print_losses(manifest: Manifest, rows: np.ndarray, unknown: Sequence[str], path: Path, name: str) -> None:
    """Print how many rows are of no utterance, and how many utterances of which splits have no row."""
    if unknown:
        print(
            f"rebalancing.{name}: {len(unknown)} rows of {path} are of no utterance of the manifest, {unknown[0]!r}"
            " first: they are left out"
        )
    absent = np.ones(len(manifest), dtype=bool)
    absent[rows] = False
    if absent.any():
        by_split = Counter(manifest.frame["split"][absent])
        splits = ", ".join(f"{count} of {split}" for split, count in sorted(by_split.items()))
        print(
            f"rebalancing.{name}: {int(absent.sum())} of {len(manifest)} utterances have no row in {path} ({splits}),"
            f" {manifest.ids[absent][0]!r} first: the table leaves them out"
        )


def _meant(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1) or [each for each in known if each.casefold() == name.casefold()]
    return f" (did you mean {near[0]!r}?)" if near else ""

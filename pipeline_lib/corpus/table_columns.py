"""Columns of a table that are read, and columns that would change the meaning of a row if they were passed over."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.params.corpus import CorpusSettings

PLAIN = ("utterance_id", "audio", "emotion", *ATTRIBUTES, "split", "speaker", "gender", "votes")
KNOWN = (*PLAIN, "reference_text", "video", "subsets")
DIALOGUES = ("dialogue", "turn")  # are read together
MEASURED = ("audio_sha256", "duration_s")  # the manifest's own, measured anew
SEGMENTS = (("start_s", "end_s"), ("start", "end"), ("offset", "duration"), ("start", "duration"))
ANNOTATORS = ("annotator", "annotator_id", "rater", "rater_id", "worker", "worker_id", "evaluator", "evaluator_id")
OTHER_NAMES = {
    "activation": "arousal",
    "class": "emotion",
    "data_split": "split",
    "emo": "emotion",
    "file": "audio",
    "file_name": "audio",
    "filename": "audio",
    "id": "utterance_id",
    "label": "emotion",
    "partition": "split",
    "path": "audio",
    "sentence": "reference_text",
    "set": "split",
    "sex": "gender",
    "speaker_id": "speaker",
    "spk": "speaker",
    "text": "reference_text",
    "transcript": "reference_text",
    "transcription": "reference_text",
    "wav": "audio",
}
# a column with one of these words, or only these letters, in its name locates a row's speech within a recording
POSITION_WORDS = frozenset(
    ("start", "starts", "begin", "begins", "beginning", "onset", "end", "ends", "ending", "stop", "finish", "until")
    + ("offset", "duration", "dur", "channel", "channels", "chan")
)
POSITION_NAMES = frozenset(
    ("starttime", "endtime", "begintime", "stoptime", "startms", "endms", "startsec", "endsec", "startframe")
    + ("endframe", "startsample", "endsample", "time", "times", "timems", "timestamp", "timestamps", "timespan")
    + ("length", "segment", "frame", "frames", "from", "to", "ch", "track", "side", "tmin", "tmax", "xmin", "xmax")
    + ("tbeg", "tend", "ton", "toff")
)


@dataclass(frozen=True)
class Columns:
    """The columns of a table.

    Attributes:
        names: columns that are read
        split: column of the split
        fold: column of the fold, None where none is read
        segment: columns of a segment's beginning and of its end or duration, None for whole recordings
        annotator: column of the annotator's name, None where there is none
        unread: columns that are not read
        dialogues: whether dialogues and turns are read
    """

    names: tuple[str, ...]
    split: str
    fold: str | None
    segment: tuple[str, str] | None
    annotator: str | None
    unread: tuple[str, ...]
    dialogues: bool = False


def choose(path: Path, header: Sequence[str], settings: CorpusSettings) -> Columns:
    """Return the columns that are read and those that are not.

    Args:
        path: the table, for messages
        header: names of its columns
        settings: the section ``corpus``

    Raises:
        InputError: a column is missing, nearly well named, or names a position or a channel and is not read
    """
    ignored = settings.table.ignore
    unknown = [name for name in ignored if name not in header]
    if unknown:
        raise InputError(f"{path} has no column {unknown[0]!r}, which corpus.table.ignore names; it has {list(header)}")
    header = [name for name in header if name and name not in ignored]
    split = settings.split.column if settings.split.method == "column" else "split"
    by_column = settings.split.method == "folds" and settings.split.folds.by == "column"
    fold = settings.split.folds.column if by_column else None
    segment = _segment(path, header)
    annotator = next((name for usual in ANNOTATORS for name in header if name.lower() == usual), None)
    dialogues = {*DIALOGUES} <= {*header}
    read = {*KNOWN, split, *(segment or ()), *(name for name in (annotator, fold) if name)}
    read |= {*DIALOGUES} if dialogues else set()
    others = [name for name in header if name not in read]
    _check_names(path, header, others, (*MEASURED, "duration") if segment else MEASURED)
    _check_needed(path, header, split, settings.split.method)
    _check_folds(path, header, settings)
    names = tuple(name for name in header if name in read)
    return Columns(names, split, fold, segment, annotator, (*others, *ignored), dialogues)


def _segment(path: Path, header: Sequence[str]) -> tuple[str, str] | None:
    """Return the columns of a segment's times; two pairs of them would contradict each other."""
    pairs = [pair for pair in SEGMENTS if {*pair} <= {*header} and not (pair == SEGMENTS[3] and "end" in header)]
    if len(pairs) > 1:
        named = sorted({name for pair in pairs for name in pair})
        raise InputError(
            f"{path} gives segments twice, by the columns {named}; name those not to be read in corpus.table.ignore"
        )
    return pairs[0] if pairs else None


def _check_names(path: Path, header: Sequence[str], others: Sequence[str], harmless: Sequence[str]) -> None:
    for name in (name for name in others if name not in harmless):
        if is_position(name):
            raise InputError(
                f"{path} has a column {name!r}, which seems to name a part of a recording or a channel and is not read:"
                " expected start_s and end_s, start and end (seconds or 0 days 00:00:01.5), or offset and duration, and"
                " a file a channel; rename it, or name it in corpus.table.ignore if it changes nothing"
            )
        near = get_close_matches(name.lower(), KNOWN, n=1, cutoff=0.8)
        meant = OTHER_NAMES.get(name.lower()) or (near[0] if near else None)
        if meant and meant not in header:
            raise InputError(
                f"{path} has a column {name!r}: did you mean {meant!r}? Rename it, or name it in corpus.table.ignore"
                f" (columns: {list(KNOWN)})"
            )


def is_position(name: str) -> bool:
    """Return whether a column seems to name a part of a recording or a channel."""
    words = [word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)]
    return bool(POSITION_WORDS & {*words}) or "".join(words) in POSITION_NAMES


def _check_needed(path: Path, header: Sequence[str], split: str, method: str | None) -> None:
    if "audio" not in header and not {"utterance_id", "reference_text"} <= {*header}:
        raise InputError(f"{path} has no column 'audio', its columns are {header}")
    if not {"emotion", *ATTRIBUTES} & {*header}:
        raise InputError(f"{path} has no column 'emotion' and none of {list(ATTRIBUTES)}, its columns are {header}")
    if split not in header and method in ("official", "column"):
        raise InputError(f"{path} has no column {split!r} for corpus.split.method {method}, its columns are {header}")
    if split not in header and "speaker" not in header and method in (None, "speakers"):
        raise InputError(
            f"{path} has neither 'split' nor 'speaker', so train and test cannot be separated; add one,"
            " or set corpus.split.method: random and corpus.allow_speaker_leak: true"
        )


def _check_folds(path: Path, header: Sequence[str], settings: CorpusSettings) -> None:
    folds = settings.split.folds
    if settings.split.method != "folds":
        return
    if folds.by == "column" and folds.column not in header:
        raise InputError(f"{path} has no column {folds.column!r} (corpus.split.folds.column), its columns are {header}")
    if folds.by in ("speakers", "assignment") and "speaker" not in header:
        raise InputError(
            f"{path} has no column 'speaker', so folds cannot be dealt out by speakers; add one, or set"
            " corpus.split.folds.by: utterances"
        )

"""IEMOCAP: 5 sessions of two actors each, scripted and improvised dialogue, 10,039 turns, categories and attributes.

C. Busso, M. Bulut, C.-C. Lee, A. Kazemzadeh, E. Mower, S. Kim, J. N. Chang, S. Lee, S. S. Narayanan, "IEMOCAP:
interactive emotional dyadic motion capture database", Language Resources and Evaluation 42(4), 2008.
https://sail.usc.edu/iemocap. Licensed on request, for research.

``SessionN/dialog/EmoEvaluation/*.txt`` holds labels, attributes (valence, activation, dominance; 1 to 5) and votes
(``C-E2: Neutral;``), ``SessionN/dialog/transcriptions/*.txt`` the text, ``SessionN/sentences/wav/<dialog>/<turn>``
sound. The speaker is the session and the letter of the turn (``Ses01F_impro01_M000`` is Ses01M), not the file's
prefix, which only names the actor who wore the markers.

Custom: four classes, excited counted as happiness (5,531 turns); six are ``labels: [anger, excited, frustration,
happiness, neutral, sadness]``. Session 5 is the test, session 4 dev; ``split: {method: folds}`` leaves one
session out, with ``folds: {k: loso}`` one speaker. Turns of other labels stay in the table and are not scored.

The texts mark events, ``[LAUGHTER]``, ``[BREATHING]``, ``[GARBAGE]``: these are no words, all but spell out a label,
and are left out of ``reference_text``.
"""

import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline_lib.corpus import layout
from pipeline_lib.corpus.items import Items, by_stem
from pipeline_lib.errors import InputError
from pipeline_lib.labels import NO_AGREEMENT, OTHER
from pipeline_lib.params.corpus import CorpusSettings

EMOTIONS = {
    "ang": "anger",
    "dis": "disgust",
    "exc": "excited",
    "fea": "fear",
    "fru": "frustration",
    "hap": "happiness",
    "neu": "neutral",
    "oth": OTHER,
    "sad": "sadness",
    "sur": "surprise",
    "xxx": NO_AGREEMENT,
}
VOTED = {
    "anger": "anger",
    "disgust": "disgust",
    "excited": "excited",
    "fear": "fear",
    "frustration": "frustration",
    "happiness": "happiness",
    "neutral": "neutral",
    "neutral state": "neutral",
    "other": OTHER,
    "sadness": "sadness",
    "surprise": "surprise",
}
CUSTOM = layout.Custom(
    labels=("anger", "happiness", "neutral", "sadness"),
    merge={"excited": "happiness"},
    attribute_scale=(1.0, 5.0),
    test_speakers=("Ses05F", "Ses05M"),
    dev_speakers=("Ses04F", "Ses04M"),
)

TURN = re.compile(r"(Ses\d\d)[FM]_\w+_([FM])[A-Z]*\d+")
START = re.compile(r"\[([0-9]+(?:\.[0-9]+)?)")
LABEL_LINE = re.compile(r"\[[\d.]+ - [\d.]+\]\t(\S+)\t(\S+)\t\[(.+)\]")
TEXT_LINE = re.compile(r"(Ses\S+) \[[^\]]*\]:\s*(.*)")


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each turn that is labelled; see ``layout``.

    Args:
        root: folder of the corpus
        settings: the section ``corpus`` of params.yaml; this reader uses none of it

    Raises:
        InputError: no session, a session without labels, or no line of them that can be read
    """
    sessions = sorted(path for path in root.glob("Session[1-5]") if path.is_dir())
    if not sessions:
        raise InputError(f"{root} has no folder Session1 ... Session5, expected IEMOCAP_full_release")
    items = Items(root)
    for session in sessions:
        texts = _texts(session, items)
        sound = by_stem(layout.files(session / "sentences" / "wav"))
        labelled = sorted((session / "dialog" / "EmoEvaluation").glob("*.txt"))
        if not labelled:
            raise InputError(f"{session / 'dialog' / 'EmoEvaluation'} holds no .txt with labels")
        for path in labelled:
            if not path.name.startswith("."):
                _read_labels(path, items, partial(_with_sound, session.name, sound, texts))
    return items.frame()


def _with_sound(
    session: str,
    sound: dict[str, list[PurePosixPath]],
    texts: dict[str, str],
    dialogue: str,
    number: int,
    lines: list[tuple[str, str]],
) -> list[dict]:
    """Return a row for each copy of the recording of a turn."""
    row = _row(*lines[0]) | {"dialogue": dialogue, "turn": number}
    for where, line in lines[1:]:
        _count(where, line, row["votes"])
    turn = row["utterance_id"]
    copies = sound.get(turn, [PurePosixPath(turn.rpartition("_")[0]) / f"{turn}.wav"])
    row["reference_text"] = texts.get(turn)
    return [{**row, "audio": f"{session}/sentences/wav/{path}"} for path in copies]


def _read_labels(path: Path, items: Items, make: Callable[..., list[dict]]) -> None:
    """Read the turns of one dialogue: a line of labels and attributes, then the lines of the turn's votes.

    Args:
        path: of the dialogue's labels
        items: collects the rows
        make: returns the rows of a turn from the dialogue's name, the turn's number in time and its lines
    """
    turns: list[list[tuple[str, str]]] = []
    for i, line in enumerate(layout.lines(path), start=1):
        where = f"{path}, line {i}"
        if line.startswith("["):
            turns.append([(where, line)])
        elif line.startswith("C-E") and turns:
            turns[-1].append((where, line))
    for number, turn in zip(_in_time(turns), turns, strict=True):
        where, line = turn[0]
        name = TURN.search(line)
        items.line(where, name and name[0], make, path.stem, number, turn)


def _in_time(turns: Sequence[list[tuple[str, str]]]) -> list[int]:
    """Return each turn's number in the order of their beginnings, from 0; of turns that begin together as they stand.

    Args:
        turns: of one dialogue, each with its lines, the first of which begins with the turn's times
    """
    matches = [START.match(turn[0][1]) for turn in turns]
    starts = [float(match[1]) if match else 0.0 for match in matches]  # a line without times is refused by ``_row``
    numbers = [0] * len(turns)
    for number, i in enumerate(sorted(range(len(turns)), key=starts.__getitem__)):
        numbers[i] = number
    return numbers


def _row(where: str, line: str) -> dict:
    match = LABEL_LINE.match(line)
    turn = TURN.fullmatch(match[1]) if match else None
    if match is None or turn is None:
        raise InputError(f"{where}: {line!r}, expected [start - end], turn, label, [valence, activation, dominance]")
    values = match[3].split(",")
    if len(values) != 3:
        raise InputError(f"{where}: attributes [{match[3]}], expected [valence, activation, dominance]")
    valence, arousal, dominance = (
        layout.number(where, name, value.strip())
        for name, value in zip(("valence", "activation", "dominance"), values, strict=True)
    )
    return {
        "utterance_id": match[1],
        "speaker": turn[1] + turn[2],
        "gender": layout.gender(turn[2]),
        "group": turn[1],
        "emotion": layout.coded(where, "label", match[2], EMOTIONS),
        "votes": {},
        "arousal": arousal,
        "valence": valence,
        "dominance": dominance,
    }


def _count(where: str, line: str, votes: dict[str, int]) -> None:
    """Add one annotator's categories, ``C-E2:<tab>Anger; Frustration;<tab>(comment)``; every named one counts."""
    cells = line.split("\t")
    for name in (cells[1] if len(cells) > 1 else "").split(";"):
        if name.strip():
            label = layout.coded(where, "category", name.strip().lower(), VOTED)
            votes[label] = votes.get(label, 0) + 1


def _texts(session: Path, items: Items) -> dict[str, str]:
    """Return the text of each turn without marks of events, which are counted."""
    texts = {}
    for path in sorted((session / "dialog" / "transcriptions").glob("*.txt")):
        if path.name.startswith("."):
            continue
        for i, line in enumerate(layout.lines(path), start=1):
            match = TEXT_LINE.match(line)
            if match:
                texts[match[1]] = items.without_marks(match[2])
            elif TURN.match(line):
                where = f"{path}, line {i}"
                items.malformed(where, InputError(f"{where}: {line!r}, expected turn [start-end]: text"))
    return texts

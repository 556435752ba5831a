"""CREMA-D: 91 actors, 6 emotions, 12 sentences, 7,442 clips, each rated by ear, by eye and by both.

H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma, "CREMA-D: Crowd-sourced Emotional Multimodal
Actors Dataset", IEEE Transactions on Affective Computing 5(4), 2014. https://github.com/CheyneyComputerScience/CREMA-D.
Licence: Open Database License.

``AudioWAV/1001_DFA_ANG_XX.wav``: actor, sentence, intended emotion, level. ``VideoDemographics.csv`` has the actors'
sex, ``tabulatedVotes.csv`` (at the top or in ``processedResults/``) the votes; its row names give the presentation that
was rated: 1xxxxx the voice, 2xxxxx the face, 3xxxxx both. ``corpus.crema_d.emotion`` chooses; by ear, the plurality is
the intended emotion in fewer than half of the clips, so scores on ``voice`` and on ``intended`` are not to be compared.
No official split: actors are drawn, balanced by gender. The repository also holds each clip as MP3: its author advises
the WAV files, and they are taken (``copies``).
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from pipeline_lib.corpus import layout
from pipeline_lib.corpus.items import Items
from pipeline_lib.corpus.items import stem as stem_of
from pipeline_lib.errors import InputError
from pipeline_lib.labels import LETTERS, consensus
from pipeline_lib.params.corpus import CorpusSettings

EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happiness",
    "NEU": "neutral",
    "SAD": "sadness",
}
SENTENCES = {
    "IEO": "It's eleven o'clock.",
    "TIE": "That is exactly what happened.",
    "IOM": "I'm on my way to the meeting.",
    "IWW": "I wonder what this is about.",
    "TAI": "The airplane is almost full.",
    "MTI": "Maybe tomorrow it will be cold.",
    "IWL": "I would like a new alarm clock.",
    "ITH": "I think I have a doctor's appointment.",
    "DFA": "Don't forget a jacket.",
    "ITS": "I think I've seen this before.",
    "TSI": "The surface is slick.",
    "WSI": "We'll stop in a couple of minutes.",
}
PRESENTATIONS = {"1": "voice", "2": "face", "3": "both"}
CUSTOM = layout.Custom(labels=("anger", "disgust", "fear", "happiness", "neutral", "sadness"))

NAME = re.compile(r"(\d{4})_([A-Z]{3})_([A-Z]{3})_([A-Z]{1,2})")
VOTES = ("A", "D", "F", "H", "N", "S")


@dataclass(frozen=True)
class Votes:
    """The votes on each clip, and the errors of clips whose votes cannot be read.

    Attributes:
        cast: clip -> emotion -> number of votes
        malformed: clip -> the error of its line
    """

    cast: dict[str, dict[str, int]]
    malformed: dict[str, InputError]


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each recording; see ``layout`` and ``items``.

    Args:
        root: folder of the corpus
        settings: the section ``corpus`` of params.yaml; ``crema_d.emotion`` chooses the presentation that was rated

    Raises:
        InputError: no recording, none that is named as CREMA-D names them and has votes, or votes missing
    """
    paths = layout.recordings(root, "CREMA-D", "AudioWAV/1001_DFA_ANG_XX.wav")
    items = Items(root)
    chosen = settings.crema_d.emotion
    votes = _votes(root, "voice" if chosen == "intended" else chosen, items, needed=chosen != "intended")
    sexes = _sexes(root, items)
    whole = {stem_of(path) for path in paths} & {*votes.cast}
    for path in paths:
        items.recording(path, partial(_row, root / path, chosen, votes, sexes, whole, items))
    return items.frame()


def _row(
    file: Path, chosen: str, votes: Votes, sexes: dict[str, str | None], whole: set[str], items: Items, stem: str
) -> dict:
    match = NAME.fullmatch(stem)
    if match is None:
        raise InputError(f"{file} is not named as CREMA-D names clips, such as 1001_DFA_ANG_XX (move it away)")
    actor, sentence, intended, _ = match.groups()
    emotion = layout.coded(file, "emotion", intended, EMOTIONS)
    clip = _voted(stem, votes, whole, items)
    if chosen != "intended":
        if clip in votes.malformed:
            raise votes.malformed[clip]
        if clip not in votes.cast:
            raise InputError(f"tabulatedVotes.csv has no {chosen} votes on {file} (corpus.crema_d.emotion: intended)")
        emotion = consensus(votes.cast[clip])
    return {
        "utterance_id": clip,
        "speaker": actor,
        "gender": sexes.get(actor),
        "emotion": emotion,
        "votes": votes.cast.get(clip),
        "reference_text": layout.coded(file, "sentence", sentence, SENTENCES),
    }


def _voted(stem: str, votes: Votes, whole: set[str], items: Items) -> str:
    """Return the clip that a recording is: its name, or the only one without a recording that its name begins."""
    if stem in votes.cast or stem in votes.malformed:
        return stem
    meant = [clip for clip in votes.cast if clip.startswith(stem) and clip not in whole]
    if len(meant) != 1:
        return stem
    items.notes["{n} recordings whose names are cut short are matched to the clip that they begin."] += 1
    return meant[0]


def _votes(root: Path, presentation: str, items: Items, needed: bool = True) -> Votes:
    """Return the votes of one presentation.

    Args:
        root: the corpus
        presentation: voice, face or both
        items: takes lines that have no clip's name
        needed: whether the lack of the file is an error

    Raises:
        InputError: the file is missing, or no line of it can be read
    """
    path = next(
        (p for p in (root / "tabulatedVotes.csv", root / "processedResults" / "tabulatedVotes.csv") if p.is_file()),
        None,
    )
    votes = Votes({}, {})
    if path is None:
        if not needed:
            return votes
        remedy = "download it with the corpus, or set corpus.crema_d.emotion: intended"
        raise InputError(
            f"{root} has no tabulatedVotes.csv, by which corpus.crema_d.emotion {presentation!r} labels; {remedy}"
        )
    for where, row in layout.csv_rows(path, ["", *VOTES, "fileName"], malformed=items.malformed):
        try:
            if _presentation(where, row[""]) == presentation:
                votes.cast[row["fileName"]] = {LETTERS[c]: n for c in VOTES if (n := _count(where, c, row[c]))}
        except InputError as error:
            votes.malformed[row["fileName"]] = error
    return votes


def _presentation(where: str, name: str) -> str:
    rated = PRESENTATIONS.get(name[:1])
    if rated is None or len(name) != 6:
        raise InputError(f"{where}: row name {name!r}, expected 1xxxxx (voice), 2xxxxx (face) or 3xxxxx (both)")
    return rated


def _count(where: str, letter: str, text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"{where}: votes for {letter} are {text!r}, expected a whole number")
    return int(text)


def _sexes(root: Path, items: Items) -> dict[str, str | None]:
    path = root / "VideoDemographics.csv"
    if not path.is_file():
        return {}
    rows = layout.csv_rows(path, ["ActorID", "Sex"], malformed=items.malformed)
    return {row["ActorID"]: layout.gender(row["Sex"]) for _, row in rows}

"""CREMA-D: 91 actors, 6 emotions, 12 sentences, 7,442 clips, each rated by ear, by eye and by both.

H. Cao, D. G. Cooper, M. K. Keutmann, R. C. Gur, A. Nenkova, R. Verma, "CREMA-D: Crowd-sourced Emotional Multimodal
Actors Dataset", IEEE Transactions on Affective Computing 5(4), 2014. https://github.com/CheyneyComputerScience/CREMA-D.
Licence: Open Database License.

``AudioWAV/1001_DFA_ANG_XX.wav``: actor, sentence, intended emotion, level. ``VideoDemographics.csv`` has the actors'
sex, ``tabulatedVotes.csv`` (at the top or in ``processedResults/``) the votes; its row names say what was rated:
1xxxxx the voice, 2xxxxx the face, 3xxxxx both. ``corpus.crema_d.emotion`` chooses; by ear, the plurality is the
intended emotion in fewer than half of the clips, so scores on ``voice`` and on ``intended`` are not to be compared.
No official split: actors are drawn, balanced by gender.
"""

import re
from pathlib import Path

import pandas as pd

from pipeline_lib.corpus import layout
from pipeline_lib.corpus.settings import CorpusSettings
from pipeline_lib.errors import InputError
from pipeline_lib.labels import LETTERS, consensus

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


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each recording; see ``layout``.

    Raises:
        InputError: no recording, one that is not named as CREMA-D names them, or votes missing or malformed
    """
    paths = layout.recordings(root, "CREMA-D", "AudioWAV/1001_DFA_ANG_XX.wav")
    chosen = settings.crema_d.emotion
    cast = votes(root, "voice" if chosen == "intended" else chosen, needed=chosen != "intended")
    sexes = _sexes(root)
    rows = []
    for path in paths:
        match = NAME.fullmatch(path.stem)
        if match is None:
            raise InputError(
                f"{root / path} is not named as CREMA-D names clips, such as 1001_DFA_ANG_XX (move it away)"
            )
        actor, sentence, intended, _ = match.groups()
        emotion = layout.coded(root / path, "emotion", intended, EMOTIONS)
        if chosen != "intended":
            if path.stem not in cast:
                raise InputError(
                    f"{root / path} has no {chosen} votes in tabulatedVotes.csv (corpus.crema_d.emotion: intended)"
                )
            emotion = consensus(cast[path.stem])
        rows.append(
            {
                "utterance_id": path.stem,
                "audio": str(path),
                "speaker": actor,
                "gender": sexes.get(actor),
                "emotion": emotion,
                "votes": cast.get(path.stem),
                "reference_text": layout.coded(root / path, "sentence", sentence, SENTENCES),
            }
        )
    return layout.frame(rows)


def votes(root: Path, presentation: str, needed: bool = True) -> dict[str, dict[str, int]]:
    """Return clip -> emotion -> number of votes, for one presentation.

    Args:
        root: the corpus
        presentation: voice, face or both
        needed: whether their lack is an error

    Raises:
        InputError: the file is missing, or a count in it is no whole number
    """
    path = next(
        (p for p in (root / "tabulatedVotes.csv", root / "processedResults" / "tabulatedVotes.csv") if p.is_file()),
        None,
    )
    if path is None:
        if not needed:
            return {}
        wanted = "download it with the corpus, or set corpus.crema_d.emotion: intended"
        raise InputError(
            f"{root} has no tabulatedVotes.csv, by which corpus.crema_d.emotion {presentation!r} labels; {wanted}"
        )
    found = {}
    for where, row in layout.csv_rows(path, ["", *VOTES, "fileName"]):
        rated = PRESENTATIONS.get(row[""][:1])
        if rated is None or len(row[""]) != 6:
            raise InputError(f"{where}: row name {row['']!r}, wanted 1xxxxx (voice), 2xxxxx (face) or 3xxxxx (both)")
        if rated == presentation:
            found[row["fileName"]] = {LETTERS[c]: _count(where, c, row[c]) for c in VOTES if _count(where, c, row[c])}
    return found


def _count(where: str, letter: str, text: str) -> int:
    if not text.isdecimal():
        raise InputError(f"{where}: votes for {letter} are {text!r}, wanted a whole number")
    return int(text)


def _sexes(root: Path) -> dict[str, str | None]:
    path = root / "VideoDemographics.csv"
    if not path.is_file():
        return {}
    return {row["ActorID"]: layout.gender(row["Sex"]) for _, row in layout.csv_rows(path, ["ActorID", "Sex"])}

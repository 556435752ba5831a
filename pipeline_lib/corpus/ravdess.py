"""RAVDESS, the speech part: 24 actors, 8 emotions, 2 sentences, 1,440 recordings.

S. R. Livingstone and F. A. Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS)", PLoS ONE
13(5), 2018. https://zenodo.org/records/1188976. Licence: CC BY-NC-SA 4.0.

``Actor_NN/03-01-EE-II-SS-RR-AA``: modality, channel, emotion, intensity, sentence, repetition, actor; odd actors are
men. Song (channel 02) and the other modalities (01 with picture, 02 without sound) are passed over.
No official split: actors are drawn, as many women as men.
"""

import re
from pathlib import Path

import pandas as pd

from pipeline_lib.corpus import layout
from pipeline_lib.corpus.settings import CorpusSettings
from pipeline_lib.errors import InputError

EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happiness",
    "04": "sadness",
    "05": "anger",
    "06": "fear",
    "07": "disgust",
    "08": "surprise",
}
SENTENCES = {"01": "Kids are talking by the door", "02": "Dogs are sitting by the door"}
CUSTOM = layout.Custom(labels=("anger", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"))

NAME = re.compile(r"(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)-(\d\d)")


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each speech recording; see ``layout``.

    Raises:
        InputError: no recording, or one that is not named as RAVDESS names them
    """
    rows = []
    for path in layout.recordings(root, "RAVDESS", "Actor_01/03-01-01-01-01-01-01.wav"):
        match = NAME.fullmatch(path.stem)
        if match is None:
            raise InputError(
                f"{root / path} is not named as RAVDESS names recordings, 03-01-EE-II-SS-RR-AA (move it away)"
            )
        modality, channel, emotion, _, sentence, _, actor = match.groups()
        if (modality, channel) != ("03", "01"):
            continue
        if not 1 <= int(actor) <= 24:
            raise InputError(f"{root / path}: actor {actor!r} is unknown, wanted 01 to 24")
        rows.append(
            {
                "utterance_id": path.stem,
                "audio": str(path),
                "speaker": f"Actor_{actor}",
                "gender": "male" if int(actor) % 2 else "female",
                "emotion": layout.coded(root / path, "emotion", emotion, EMOTIONS),
                "reference_text": layout.coded(root / path, "sentence", sentence, SENTENCES),
            }
        )
    return layout.frame(rows)

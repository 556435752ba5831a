"""RAVDESS, the speech part: 24 actors, 8 emotions, 2 sentences, 1,440 recordings.

S. R. Livingstone and F. A. Russo, "The Ryerson Audio-Visual Database of Emotional Speech and Song (RAVDESS)", PLoS ONE
13(5), 2018. https://zenodo.org/records/1188976. Licence: CC BY-NC-SA 4.0.

``Actor_NN/03-01-EE-II-SS-RR-AA``: modality, channel, emotion, intensity, sentence, repetition, actor; odd actors are
men. Song (channel 02) and the other modalities (01 with picture, 02 without sound) are passed over and counted.
No official split: actors are drawn, as many women as men.
"""

import re
from functools import partial
from pathlib import Path

import pandas as pd

from pipeline_lib.corpus import layout
from pipeline_lib.corpus.items import Items
from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import CorpusSettings

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
    """Return a row for each speech recording; see ``layout`` and ``items``.

    Args:
        root: folder of the corpus
        settings: the section ``corpus`` of params.yaml; this reader uses none of it

    Raises:
        InputError: no recording, or none that is named as RAVDESS names them
    """
    items = Items(root)
    for path in layout.recordings(root, "RAVDESS", "Actor_01/03-01-01-01-01-01-01.wav"):
        items.recording(path, partial(_row, root / path, items))
    return items.frame()


def _row(file: Path, items: Items, stem: str) -> dict | None:
    match = NAME.fullmatch(stem)
    if match is None:
        raise InputError(f"{file} is not named as RAVDESS names recordings, 03-01-EE-II-SS-RR-AA (move it away)")
    modality, channel, emotion, _, sentence, _, actor = match.groups()
    if (modality, channel) != ("03", "01"):
        items.notes["{n} recordings of song or of another modality are passed over."] += 1
        return None
    if not 1 <= int(actor) <= 24:
        raise InputError(f"{file}: actor {actor!r} is unknown, expected 01 to 24")
    return {
        "speaker": f"Actor_{actor}",
        "gender": "male" if int(actor) % 2 else "female",
        "emotion": layout.coded(file, "emotion", emotion, EMOTIONS),
        "reference_text": layout.coded(file, "sentence", sentence, SENTENCES),
    }

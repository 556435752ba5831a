"""TESS, the Toronto emotional speech set: 2 actresses, 7 emotions, 200 words, 2,800 recordings.

M. K. Pichora-Fuller and K. Dupuis, "Toronto emotional speech set (TESS)", Scholars Portal Dataverse 2020,
https://doi.org/10.5683/SP2/E8H2MF. Licence: CC BY-NC-ND 4.0.

``OAF_angry/OAF_back_angry.wav``: actress (older, younger adult female), word, emotion ("ps" is pleasant surprise).
The folders' spelling differs among copies; only the file's name is read. One file is called ``OA_bite_neutral``.
With two speakers no three splits are disjoint: ``split.method: random`` and ``allow_speaker_leak: true`` run it, and
the scores then hold for known voices only.
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
    "angry": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happy": "happiness",
    "neutral": "neutral",
    "sad": "sadness",
    "ps": "surprise",
}
CUSTOM = layout.Custom(labels=("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"))

NAME = re.compile(r"(OAF?|YAF)_([A-Za-z]+)_([a-z]+)")


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each recording; see ``layout`` and ``items``.

    Args:
        root: folder of the corpus
        settings: the section ``corpus`` of params.yaml; this reader uses none of it

    Raises:
        InputError: no recording, or none that is named as TESS names them
    """
    items = Items(root)
    for path in layout.recordings(root, "TESS", "OAF_angry/OAF_back_angry.wav"):
        items.recording(path, partial(_row, root / path))
    return items.frame()


def _row(file: Path, stem: str) -> dict:
    match = NAME.fullmatch(stem)
    if match is None:
        raise InputError(f"{file} is not named as TESS names recordings, such as OAF_back_angry (move it away)")
    actress, word, emotion = match.groups()
    return {
        "speaker": "OAF" if actress == "OA" else actress,
        "gender": "female",
        "emotion": layout.coded(file, "emotion", emotion, EMOTIONS),
        "reference_text": f"Say the word {word}",
    }

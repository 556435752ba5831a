"""EmoDB, the Berlin database of emotional speech: 10 actors, 7 emotions, 10 German sentences, 535 recordings.

F. Burkhardt, A. Paeschke, M. Rolfes, W. Sendlmeier, B. Weiss, "A Database of German Emotional Speech", Interspeech
2005. http://emodb.bilderbar.info. Freely available for research; the distribution on Zenodo is CC BY 4.0.

``wav/03a01Fa.wav``: speaker, sentence, emotion's letter (of its German name), version.
No official split: speakers are drawn, as many women as men.
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
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "N": "neutral",
    "T": "sadness",
}
SPEAKERS = {
    "03": "male",
    "08": "female",
    "09": "female",
    "10": "male",
    "11": "male",
    "12": "male",
    "13": "female",
    "14": "female",
    "15": "male",
    "16": "female",
}
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}
CUSTOM = layout.Custom(labels=("anger", "boredom", "disgust", "fear", "happiness", "neutral", "sadness"))

NAME = re.compile(r"(\d\d)([a-z]\d\d)([A-Z])([a-z]?)")


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each recording; see ``layout`` and ``items``.

    Args:
        root: folder of the corpus
        settings: the section ``corpus`` of params.yaml; this reader uses none of it

    Raises:
        InputError: no recording, or none that is named as EmoDB names them
    """
    items = Items(root)
    for path in layout.recordings(root, "EmoDB", "wav/03a01Fa.wav"):
        items.recording(path, partial(_row, root / path))
    return items.frame()


def _row(file: Path, stem: str) -> dict:
    match = NAME.fullmatch(stem)
    if match is None:
        raise InputError(f"{file} is not named as EmoDB names recordings, such as 03a01Fa (move it away)")
    speaker, sentence, emotion, _ = match.groups()
    return {
        "speaker": speaker,
        "gender": layout.coded(file, "speaker", speaker, SPEAKERS),
        "emotion": layout.coded(file, "emotion", emotion, EMOTIONS),
        "reference_text": layout.coded(file, "sentence", sentence, SENTENCES),
    }

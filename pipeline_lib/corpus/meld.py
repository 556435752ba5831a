"""MELD: utterances of the series "Friends", 7 emotions, official split 9,989/1,109/2,610.

S. Poria, D. Hazarika, N. Majumder, G. Naik, E. Cambria, R. Mihalcea, "MELD: A Multimodal Multi-Party Dataset for
Emotion Recognition in Conversations", ACL 2019. https://github.com/declare-lab/MELD. Licence: GPL-3.0.

``train_sent_emo.csv``, ``dev_sent_emo.csv`` and ``test_sent_emo.csv`` hold text and labels; the clips
``dia{D}_utt{U}.mp4`` lie in ``train_splits``, ``dev_splits_complete`` and ``output_repeated_splits_test``, or in
``train``, ``dev`` and ``test``. Sound cannot be read from mp4: extract it beside the clips under the same stem
(``ffmpeg -i dia0_utt0.mp4 dia0_utt0.wav``). Where there is neither sound nor clip, the corpus is read as text only.

The official split has the series' six main speakers in all three parts; every report says so. Four clips are known to
be bad and go to the quarantine when there is sound: one broken, one missing, two that run on for minutes.
"""

import re
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline_lib.corpus import layout
from pipeline_lib.corpus.settings import CorpusSettings
from pipeline_lib.errors import InputError

EMOTIONS = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprise": "surprise",
}
FOLDERS = {
    "train": ("train_splits", "train"),
    "dev": ("dev_splits_complete", "dev"),
    "test": ("output_repeated_splits_test", "test"),
}
GENDERS = {
    "Chandler": "male",
    "Joey": "male",
    "Ross": "male",
    "Monica": "female",
    "Phoebe": "female",
    "Rachel": "female",
}
KNOWN_BAD = {
    ("train", "dia125_utt3"): "the clip is broken",
    ("dev", "dia110_utt7"): "the corpus lacks the clip",
    ("test", "dia38_utt4"): "the clip runs on for minutes",
    ("test", "dia220_utt0"): "the clip runs on for minutes",
}
CUSTOM = layout.Custom(
    labels=tuple(sorted(EMOTIONS.values())),
    leak="MELD's official split has the same speakers in train, dev and test.",
)
COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID")


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each utterance of the three tables; see ``layout``.

    Raises:
        InputError: a table is missing or a line of it cannot be read, or there are clips without extracted sound
    """
    sound, video = _clips(root, layout.AUDIO_SUFFIXES), _clips(root, (".mp4",))
    if video and not sound:
        clip = next(iter(video.values()))
        raise InputError(
            f"{root} holds clips and no sound; extract it beside them, for example"
            f" ffmpeg -i {clip} -ac 1 -ar 16000 {clip.with_suffix('.wav')}"
        )
    rows = []
    for split in FOLDERS:
        for where, cells in layout.csv_rows(root / f"{split}_sent_emo.csv", COLUMNS):
            rows.append(_row(where, cells, split, sound, video))
    return layout.frame(rows)


def _row(where: str, cells: dict[str, str], split: str, sound: dict, video: dict) -> dict:
    dialogue, utterance = cells["Dialogue_ID"], cells["Utterance_ID"]
    for name, value in (("Dialogue_ID", dialogue), ("Utterance_ID", utterance)):
        if not re.fullmatch(r"[0-9]+", value):
            raise InputError(f"{where}: {name} is {value!r}, wanted a whole number")
    clip = f"dia{dialogue}_utt{utterance}"
    bad = KNOWN_BAD.get((split, clip)) if sound else None
    expected = PurePosixPath(FOLDERS[split][0]) / f"{clip}.wav"
    return {
        "utterance_id": f"{split}_{clip}",
        "audio": str(sound.get((split, clip), expected)) if sound else None,
        "video": str(video[split, clip]) if (split, clip) in video else None,
        "split": split,
        "speaker": cells["Speaker"] or None,
        "gender": GENDERS.get(cells["Speaker"]),
        "emotion": layout.coded(where, "Emotion", cells["Emotion"], EMOTIONS),
        "reference_text": cells["Utterance"],
        "reject": f"known bad: {bad}" if bad else None,
    }


def _clips(root: Path, suffixes: tuple[str, ...]) -> dict[tuple[str, str], PurePosixPath]:
    """Return (split, stem) -> path of the files in the folders of the splits."""
    found: dict[tuple[str, str], PurePosixPath] = {}
    for split, names in FOLDERS.items():
        for name in names:
            for path in layout.files(root / name, suffixes):
                found.setdefault((split, path.stem), PurePosixPath(name) / path)
    return found

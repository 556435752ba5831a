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
from functools import partial
from pathlib import Path, PurePosixPath

import pandas as pd

from pipeline_lib.corpus import layout
from pipeline_lib.corpus.items import Items, by_stem
from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import CorpusSettings

EMOTIONS = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happiness",
    "neutral": "neutral",
    "sadness": "sadness",
    "surprise": "surprise",
}
SENTIMENTS = {name: name for name in ("negative", "neutral", "positive")}
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
Clips = dict[tuple[str, str], list[PurePosixPath]]
COLUMNS = ("Utterance", "Speaker", "Dialogue_ID", "Utterance_ID")
LABELS = {"Emotion": EMOTIONS, "Sentiment": SENTIMENTS}


def read(root: Path, settings: CorpusSettings) -> pd.DataFrame:
    """Return a row for each utterance of the three tables; see ``layout``.

    Args:
        root: folder of the corpus
        settings: the section ``corpus`` of params.yaml; ``meld.label`` chooses emotion or sentiment

    Raises:
        InputError: a table is missing, no line can be read, or there are clips and no extracted sound at all
    """
    sound, video = _clips(root, layout.AUDIO_SUFFIXES), _clips(root, (".mp4",))
    if video and not sound:
        clip = next(iter(video.values()))[0]
        raise InputError(
            f"{root} holds clips and no sound; extract it beside them, for example"
            f" ffmpeg -i {clip} -ac 1 -ar 16000 {clip.with_suffix('.wav')}"
        )
    items, label = Items(root), settings.meld.label.capitalize()
    for split in FOLDERS:
        table = root / f"{split}_sent_emo.csv"
        for where, cells in layout.csv_rows(table, (*COLUMNS, label), malformed=partial(items.malformed, split=split)):
            items.line(where, None, _rows, where, cells, label, split, sound, video, split=split)
    return items.frame()


def _rows(where: str, cells: dict[str, str], label: str, split: str, sound: Clips, video: Clips) -> list[dict]:
    """Return a row for each copy of the utterance's sound.

    Args:
        where: file and line, for messages
        cells: of the line, column -> text
        label: column of the label, "Emotion" or "Sentiment"
        split: that the table is of
        sound: extracted sound by split and stem
        video: clips by split and stem
    """
    dialogue, utterance = cells["Dialogue_ID"], cells["Utterance_ID"]
    for name, value in (("Dialogue_ID", dialogue), ("Utterance_ID", utterance)):
        if not re.fullmatch(r"[0-9]{1,9}", value):
            raise InputError(f"{where}: {name} is {value!r}, expected a whole number of at most 9 digits")
    clip = f"dia{dialogue}_utt{utterance}"
    reject = _reject(split, clip, sound, video) if sound else None
    expected = PurePosixPath(FOLDERS[split][0]) / f"{clip}.wav"
    row = {
        "utterance_id": f"{split}_{clip}",
        "video": str(video[split, clip][0]) if (split, clip) in video else None,
        "split": split,
        "speaker": cells["Speaker"] or None,
        "gender": GENDERS.get(cells["Speaker"]),
        "emotion": layout.coded(where, label, cells[label], LABELS[label]),
        "reference_text": cells["Utterance"],
        "dialogue": f"{split}_dia{dialogue}",
        "turn": int(utterance),
        "reject": reject,
    }
    copies = sound.get((split, clip), [expected]) if sound else [None]
    return [{**row, "audio": str(path) if path else None} for path in copies]


def _reject(split: str, clip: str, sound: Clips, video: Clips) -> str | None:
    if (split, clip) in KNOWN_BAD:
        return f"known bad: {KNOWN_BAD[split, clip]}"
    if (split, clip) in video and (split, clip) not in sound:
        return f"not extracted: {video[split, clip][0]} has no sound beside it"
    return None


def _clips(root: Path, suffixes: tuple[str, ...]) -> Clips:
    """Return (split, stem) -> the files in the folders of the splits."""
    result: Clips = {}
    for split, names in FOLDERS.items():
        for name in names:
            for stem, paths in by_stem(layout.files(root / name, suffixes)).items():
                result.setdefault((split, stem), []).extend(PurePosixPath(name) / path for path in paths)
    return result

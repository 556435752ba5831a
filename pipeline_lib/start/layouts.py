"""Corpora in their native layout, recognised by the names of their files."""

import re
from collections.abc import Sequence
from pathlib import Path

from pipeline_lib.corpus import crema_d, emodb, nemo, ravdess, tess
from pipeline_lib.corpus.items import stem

NAMES: dict[str, tuple[re.Pattern[str], int, frozenset[str]]] = {  # reader: name, group of its emotion, its codes
    "ravdess": (ravdess.NAME, 3, frozenset(ravdess.EMOTIONS)),
    "emodb": (emodb.NAME, 3, frozenset(emodb.EMOTIONS)),
    "crema_d": (crema_d.NAME, 3, frozenset(crema_d.EMOTIONS)),
    "tess": (tess.NAME, 3, frozenset(tess.EMOTIONS)),
    "nemo": (nemo.NAME, 2, frozenset(nemo.EMOTIONS)),
}
TITLES = {
    "ravdess": "RAVDESS",
    "emodb": "EmoDB",
    "crema_d": "CREMA-D",
    "tess": "TESS",
    "nemo": "nEMO",
    "iemocap": "IEMOCAP",
    "msp_podcast": "MSP-Podcast",
    "meld": "MELD",
}
LANGUAGES = {"emodb": "de", "nemo": "pl", **dict.fromkeys(("ravdess", "crema_d", "tess", "iemocap", "meld"), "en")}
LANGUAGES["msp_podcast"] = "en"
SHARE = 0.9  # of the recordings must be named as the corpus names them
FILES = {  # reader: files that it alone has, as patterns below the root
    "msp_podcast": ("Labels/labels_consensus.csv", "Labels/labels_concensus.csv"),
    "meld": ("train_sent_emo.csv",),
    "iemocap": ("Session1/dialog/EmoEvaluation", "Session2/dialog/EmoEvaluation"),
}


def recognise(folder: Path, paths: Sequence[str]) -> tuple[str, Path] | None:
    """Return the reader of a native layout and its root, None where the layout is none of them.

    Args:
        folder: that the user names; the root is it or a folder in it
        paths: its recordings, relative to it
    """
    roots = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))]
    for root in roots:
        for reader, files in FILES.items():
            if any((root / file).exists() for file in files):
                return reader, root
    stems = [stem(path) for path in paths]
    for reader, (name, group, codes) in NAMES.items():
        matches = [match for match in map(name.fullmatch, stems) if match is not None and match[group] in codes]
        if stems and len(matches) >= SHARE * len(stems):
            return reader, folder
    return None

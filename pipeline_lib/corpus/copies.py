"""Several recordings of one utterance: the best is taken, the others are counted as copies.

Recordings are copies where their rows have one utterance_id (readers give the same to ``clip.wav``, ``clip.mp3``,
``clip (1).wav`` and ``elsewhere/clip.wav``), or where lossless files of different kinds decode to the same samples and
their rows agree in everything else. Which is the best does not depend on the order of names:

1. one that passes every check before one that does not, so that a bad copy never costs the good one
2. lossless (PCM, floating point, FLAC, ALAC) before lossy
3. more bits a sample, a higher rate, a longer duration, of lossy ones more bytes
4. the shorter, then the first path

Rows of one utterance_id whose recordings last differently by more than ``SAME_S``, or that have none, are no copies:
the best is still taken, the others are called "duplicate utterance_id". Rows that differ in the utterance's properties
(``AGREEING``) are "contradictory", and count as losses: one name probably stands for two utterances.
"""

import math
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
import soundfile

SAME_S = 0.25  # an encoder of MP3 adds up to 0.2 s at 16 kHz
LOSSLESS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32, "FLOAT": 32, "DOUBLE": 64} | {
    f"ALAC_{bits}": bits for bits in (16, 20, 24, 32)
}  # libsndfile's name of the encoding -> bits a sample
WORDS = ("copy", "duplicate utterance_id")
CONTRADICTORY = "contradictory"
AGREEING = ("split", "speaker", "emotion", "votes", "arousal", "valence", "dominance", "reference_text")


def settle(root: Path, frame: pd.DataFrame) -> np.ndarray:
    """Mark every row but the best of each utterance; return a mask of the marked rows, bool, shape ``(n,)``.

    Args:
        root: folder of the corpus
        frame: rows after every check, with the columns of ``layout`` and ``sound``, a digest of the decoded samples;
            ``reject`` of the marked rows is written
    """
    left_out = np.zeros(len(frame), dtype=bool)
    repeated = frame["utterance_id"].duplicated(keep=False)
    for _, rows in frame[repeated].groupby("utterance_id", sort=False):
        _settle(root, frame, rows, left_out)
    good = frame["reject"].isna() & frame["sound"].notna()
    repeated = good & frame["sound"].where(good).duplicated(keep=False)
    for _, rows in frame[repeated].groupby("sound", sort=False):
        facts = rows[[*AGREEING]].map(repr).agg("\0".join, axis=1)
        for _, alike in rows.groupby(facts, sort=False):
            if len({PurePosixPath(path).suffix.lower() for path in alike["audio"]}) == len(alike) > 1:
                _settle(root, frame, alike, left_out)
    return left_out


def crossing(frame: pd.DataFrame) -> list[str]:
    """Return warnings of recordings that sound the same as one of another label, or of another split in other bytes."""
    known = frame[frame["sound"].notna()]
    labelled = known[known["emotion"].notna()]
    labels = labelled.groupby("sound")["emotion"].nunique()
    several = int((labels > 1).sum())
    warnings = [f"recordings whose samples stand in two rows with different labels: {several}."] if several else []
    known = known.drop_duplicates(["sound", "audio_sha256"])
    first = known.groupby("sound")["split"].transform("first")
    n = int((known["sound"].duplicated() & (first != known["split"])).sum())
    if n:
        warnings.append(f"{n} recordings have the same samples as one of another split, in another file.")
    return warnings


def _settle(root: Path, frame: pd.DataFrame, rows: pd.DataFrame, left_out: np.ndarray) -> None:
    columns = [frame[name] for name in ("audio", "reject", "duration_s")]
    ranked = sorted(rows.index, key=lambda i: _rank(root, *(column[i] for column in columns)))
    best, others = ranked[0], ranked[1:]
    for i in others:
        frame.loc[i, "reject"] = _reason(frame, best, i)
        left_out[frame.index.get_loc(i)] = True


def _rank(root: Path, path: str | None, reject: str | None, duration_s: float) -> tuple:
    """Return a key that sorts the best recording first."""
    if path is None or reject is not None:
        return (reject is not None, len(path or ""), path or "")
    info = soundfile.info(root / path)  # it was decoded a moment ago
    bits = LOSSLESS.get(info.subtype, 0)
    size = 0 if bits else (root / path).stat().st_size
    return (False, bits == 0, -bits, -info.samplerate, -round(duration_s, 2), -size, len(path), path)


def _reason(frame: pd.DataFrame, best: int, i: int) -> str:
    path, other = frame["audio"][best], frame["audio"][i]
    for name in AGREEING:
        here, there = frame[name][i], frame[name][best]
        if not (_empty(here) or _empty(there)) and here != there:
            taken = f"'{there!s:.40}' of {path or 'another row'}, which is taken"
            return f"{CONTRADICTORY}: {name} is '{here!s:.40}', and {taken} (one utterance_id for two utterances?)"
    durations = frame["duration_s"][[best, i]]
    if path is None or path == other:
        return f"{WORDS[1]}: another row has it already"
    if frame["reject"][i] is not None:
        return f"{WORDS[0]}: {path} is taken; this one is {frame['reject'][i]}"
    if durations.notna().all() and abs(durations[best] - durations[i]) > SAME_S:
        lasting = f"it lasts {durations[i]:.2f} s, {path} {durations[best]:.2f} s and is taken"
        return f"{WORDS[1]}: {lasting} (two recordings of one name?)"
    return f"{WORDS[0]}: {path} is taken"


def _empty(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))

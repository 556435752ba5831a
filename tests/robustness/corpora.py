"""A project of recorded utterances in folds, and a system that counts zero crossings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from pipeline_lib.audio.decoding import decode
from pipeline_lib.recipes.apply import apply as apply_recipe
from pipeline_lib.tables import manifest, predictions, transcripts
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions
from tests.folded import deal

LABELS = ("anger", "neutral", "sadness")
SYSTEMS = ("audio", "best_layer", "egemaps")
WORDS = "one two three four"


def speech(seed: int, seconds: float = 0.5, rate: int = 16_000) -> np.ndarray:
    """Return noise in the rhythm of syllables, shape ``(n_samples,)``."""
    samples = np.random.default_rng(seed).standard_normal(round(seconds * rate))
    return (0.1 * samples * (1.2 + np.sin(2 * np.pi * 4 * np.arange(len(samples)) / rate))).astype(np.float32)


def voiced(label: int, seed: int) -> np.ndarray:
    """Return a tone that is higher for each label, with a little noise; every fourth is of the next label's height."""
    hertz = (400, 1500, 3000)[(label + (seed % 4 == 3)) % 3]
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(8_000) / 16_000) + 0.02 * speech(seed)).astype(np.float32)


def recorded(root: Path, utterances: int = 24, speakers: int = 5) -> Manifest:
    """Return a corpus of labelled recordings below a folder, in two folds."""
    root.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(utterances):
        soundfile.write(root / f"{i:02d}.wav", voiced(i % 3, i), 16_000, subtype="PCM_16")
        row = {"utterance_id": f"u{i:02d}", "audio": f"{i:02d}.wav", "audio_sha256": f"{i:064x}", "duration_s": 0.5}
        rows.append({**row, "speaker": f"s{i % speakers}", "emotion": LABELS[i % 3], "reference_text": WORDS})
    frame = pd.DataFrame(rows).reindex(columns=manifest.SCHEMA.names)
    frame = frame.assign(split="folds", subsets=[[] for _ in rows])
    return deal(Manifest(frame, "recorded", LABELS, (1.0, 7.0), "made recordings"), 2)


def project(folder: Path) -> Manifest:
    """Write a project whose stages have run, with noises and rooms beside it, and return its corpus."""
    apply_recipe("small_corpus", out=folder / "params.yaml", sets=[f"corpus.root={folder / 'corpus'}"])
    corpus = recorded(folder / "corpus")
    manifest.write(folder / "data" / "manifest.parquet", corpus)
    for name, path in apply(folder, corpus, folder / "data", folder / "corpus", folder / "work").items():
        (folder / "data" / "rebalanced").mkdir(exist_ok=True)
        path.rename(folder / "data" / "rebalanced" / f"{name}.parquet")
    for name, samples in (("noise/rain", speech(99, 1.0)), ("noise/tap", speech(98, 0.1)), ("rir/small", room(0.3))):
        (folder / "sounds" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "sounds" / f"{name}.wav", samples, 16_000, subtype="FLOAT")
    return corpus


def room(rt60_s: float, direct: int = 20) -> np.ndarray:
    """Return an exponential decay that has fallen by 60 dB at its reverberation time, shape ``(n_samples,)``."""
    seconds = np.arange(round(1.5 * rt60_s * 16_000)) / 16_000
    tail = np.random.default_rng(7).choice([-1.0, 1.0], len(seconds)) * 10 ** (-3 * seconds / rt60_s)
    return np.concatenate([np.zeros(direct), tail]).astype(np.float32)


def apply(project: Path, given: Manifest, out: Path, root: Path, work: Path) -> dict[str, Path]:
    """Predict the label of the tone with that many zero crossings; ``best_layer`` predicts one label always."""
    posteriors = []
    for name in given.frame["audio"]:
        hertz = 8_000 * float(np.mean(np.diff(np.sign(decode(root / name))) != 0))
        odds = np.exp(-np.abs(hertz - np.array([400, 1500, 3000])) / 500)
        posteriors.append(odds / odds.sum())
    paths = {}
    for name in SYSTEMS:
        values = np.full((len(given), 3), 1 / 3) if name == "best_layer" else np.array(posteriors)
        paths[name] = out / "made" / f"{name}.parquet"
        predictions.write(paths[name], Predictions(given.ids, name, LABELS, values))
    return paths


def transcribe(project: Path, given: Manifest, out: Path, root: Path, work: Path) -> Path:
    """Leave the last word out where a recording has little above 1 kHz."""
    texts = []
    for name in given.frame["audio"]:
        power = np.abs(np.fft.rfft(decode(root / name))) ** 2
        texts.append(WORDS if power[len(power) // 8 :].sum() > 0.5 * power.sum() else WORDS.removesuffix(" four"))
    transcripts.write(out / "transcripts.parquet", list(given.ids), texts, engine="", checkpoint="", decoding={})
    return out / "transcripts.parquet"


def without_rows(corpus: Manifest, **changes: object) -> Manifest:
    """Return the corpus with columns replaced."""
    return replace(corpus, frame=corpus.frame.assign(**changes))

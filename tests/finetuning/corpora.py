"""A tiny corpus of hisses and words whose emotion can be heard and read, and a setting that trains on it in seconds."""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from pipeline_lib.experts.utterances import Utterances, from_manifest
from pipeline_lib.finetuning.targets import check_data, targets_of
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.machine import FinetuningMachine
from pipeline_lib.tables.manifest import Manifest

EMOTIONS = ("anger", "happiness", "sadness", "O")
EDGES_HZ = (0, 615, 1768, 3930, 8000)
TEXTS = ("i am so angry", "i am so happy", "i am so sad", "the")


def make(root: Path, per_label: int = 12) -> Manifest:
    """Write the audio and return its manifest: half train, a quarter dev, a quarter test; a quarter lacks arousal."""
    rng = np.random.default_rng(3)
    rows = []
    for label, emotion in enumerate(EMOTIONS):
        for i in range(per_label):
            name = f"{emotion}_{i:02d}"
            seconds = 0.4 + 0.3 * rng.random()
            n = int(16_000 * seconds)
            soundfile.write(root / f"{name}.wav", hiss(rng, n, label), 16_000)
            rows.append(
                {
                    "utterance_id": name,
                    "audio": f"{name}.wav",
                    "audio_sha256": f"{label}{i}",
                    "duration_s": n / 16_000,
                    "split": ("train", "train", "dev", "test")[i % 4],
                    "subsets": [],
                    "emotion": emotion,
                    "arousal": 1.0 + 2 * label if i % 4 != 1 else np.nan,
                    "valence": 7.0 - label,
                    "dominance": np.nan,
                    "reference_text": TEXTS[label],
                }
            )
    frame = pd.DataFrame(rows).sort_values("utterance_id", kind="stable").reset_index(drop=True)
    return Manifest(frame, "tones", EMOTIONS[:3], (1.0, 7.0))


def hiss(rng: np.random.Generator, n: int, label: int) -> np.ndarray:
    """Return noise in which one quarter of the mel scale beats five times a second."""
    low, high = EDGES_HZ[label : label + 2]
    spectrum = np.fft.rfft(rng.standard_normal(n))
    hertz = np.fft.rfftfreq(n, 1 / 16_000)
    band = np.fft.irfft(spectrum * ((hertz >= low) & (hertz < high)), n)
    beat = np.sin(2 * np.pi * (5 * np.arange(n) / 16_000 + rng.random())) > 0
    return 0.1 * band * beat + 0.005 * rng.standard_normal(n)


def settings(checkpoint: Path, modality: str, **changes) -> FinetuningSettings:
    """Return an entry that trains the checkpoint in seconds; nested dicts of ``changes`` are merged."""
    phase = {"epochs": 2, "batch_size": 6, "learning_rate": 0.003}
    if modality == "audio":
        phase["chunk_s"] = [0.3, 0.4]
    entry = {
        "modality": modality,
        "encoder": {"checkpoint": str(checkpoint)},
        "adaptation": {"lora": {"r": 4}},
        "pooling": {"attention_width": 8},
        "head": {"width": 12},
        "phases": {"only": phase},
        "predict": {"batch_size": 5},
    }
    return FinetuningSettings.parse(merged(entry, changes), f"finetuning.{modality}")


def machine(**changes) -> FinetuningMachine:
    """Return how a training is done on the CPU."""
    return FinetuningMachine.parse({"device": "cpu"} | changes, "finetuning")


def utterances(corpus, settings, texts=None, root=Path()) -> Utterances:
    """Return the corpus as the entry's expert reads it; ASR transcripts are empty where there are none."""
    texts = [""] * len(corpus) if texts is None else texts
    return from_manifest(corpus, root, tuple(settings.branches), texts, settings.text, settings.context)


def checked(corpus, settings, texts=None):
    """Return the rows to train on and to develop on, of a corpus that is refused where it lacks something."""
    return check_data(corpus, targets_of(corpus, settings), settings, utterances(corpus, settings, texts))


def merged(values: dict, changes: dict) -> dict:
    """Return ``values`` with ``changes`` put in, dict by dict."""
    result = dict(values)
    for name, change in changes.items():
        both = isinstance(change, dict) and isinstance(result.get(name), dict)
        result[name] = merged(result[name], change) if both else change
    return result


def joint(tones, **changes) -> FinetuningSettings:
    """Return an entry that trains both checkpoints together in seconds; nested dicts of ``changes`` are merged."""
    branch = {"layers": "weighted", "adaptation": {"method": "frozen", "lora": {"r": 4}}}
    phase = {"epochs": 2, "batch_size": 6, "learning_rate": 0.003}
    entry = {
        "modality": "joint",
        "branches": {
            "audio": {**branch, "encoder": {"checkpoint": str(tones.w2v_bert)}},
            "text": {**branch, "encoder": {"checkpoint": str(tones.llama)}},
        },
        "mixer": {"width": 16, "heads": 2, "layers": 1},
        "head": {"kind": "relu", "width": 12},
        "phases": {"only": phase},
        "predict": {"batch_size": 5},
    }
    return FinetuningSettings.parse(merged(entry, changes), "finetuning.joint")


def is_read(corpus):
    """Return which utterances' labels a training reads: those of train and dev."""
    return corpus.mask("train") | corpus.mask("dev")

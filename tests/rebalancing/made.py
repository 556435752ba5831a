"""A small corpus and an expert's predictions of it."""

import numpy as np
import pandas as pd

from pipeline_lib.params.rebalancing import RebalancingSettings
from pipeline_lib.tables import embeddings
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

LABELS = ("anger", "neutral", "sadness")


def settings(**values):
    return RebalancingSettings.parse(values, "rebalancing.audio")


def corpus(n=120, seed=0, labels=LABELS):
    """Return a manifest of ``n`` utterances, half of them train, and their truth."""
    generator = np.random.default_rng(seed)
    emotions = generator.choice([*LABELS, "O", "X"], n, p=[0.15, 0.5, 0.2, 0.1, 0.05])
    split = np.array(["train", "train", "dev", "test"])[np.arange(n) % 4]
    frame = pd.DataFrame({"utterance_id": [f"u{i:03d}" for i in range(n)], "split": split, "emotion": emotions})
    primary = np.isin(emotions, LABELS)
    frame["subsets"] = [["dev_filt"] if s == "dev" and p else [] for s, p in zip(split, primary, strict=True)]
    for name in ("audio", "audio_sha256", "video", "speaker", "gender", "votes", "reference_text"):
        frame[name] = None
    for name in ("duration_s", "arousal", "valence", "dominance"):
        frame[name] = np.nan
    return Manifest(frame, "made up", labels)


def expert(of, seed=0, **values):
    """Return predictions over sadness, anger, neutral, O and X, in that order."""
    n, generator = len(of), np.random.default_rng(seed)
    truth = of.truth(("sadness", "anger", "neutral", "O", "X"))
    columns = {
        "utterance_ids": of.ids,
        "expert": "audio",
        "labels": ("sadness", "anger", "neutral", "O", "X"),
        "posterior": generator.dirichlet(np.ones(5), n) * 0.4 + 0.6 * np.eye(5)[truth],
        "training_prior": np.array([0.2, 0.15, 0.5, 0.1, 0.05]),
        "embedding": (generator.normal(size=(n, 6)) + 1.5 * np.eye(5, 6)[truth]).astype(np.float32),
    }
    return Predictions(**(columns | values))


def embed(folder, of, layers=(0, 2, 3), width=5, seed=0, left_out=(), evidence=None):
    """Write an embedding of the corpus whose layers tell the labels apart the better the larger their numbers are.

    Args:
        folder: of the embedding
        of: the corpus
        layers: their numbers
        width: of the vectors
        seed: of the noise
        left_out: rows without a vector
        evidence: of each layer by number, by default a third of the number

    Returns:
        the vectors as they are stored, by layer, float64
    """
    generator = np.random.default_rng(seed)
    truth = of.truth((*LABELS, "O", "X"))
    keep = [row for row in range(len(of)) if row not in left_out]
    vectors = {}
    for layer in layers:
        strength = layer / 3 if evidence is None else evidence[layer]
        values = generator.normal(size=(len(of), width)) + 2 * strength * np.eye(5, width)[truth] + layer
        vectors[layer] = values.astype(np.float16)[keep]
    info = embeddings.Info("x", "x", None, "audio", width, 50.0, tuple(layers), "mean", False, len(keep), len(left_out))
    with embeddings.writing(folder, info) as writer:
        writer.add(of.ids[keep].tolist(), vectors)
    return {layer: values.astype(np.float64) for layer, values in vectors.items()}

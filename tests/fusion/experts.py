"""Corpora and experts whose fusion can be foreseen."""

import numpy as np
import pandas as pd

from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

LABELS = ("anger", "neutral", "sadness")
METHODS = ("interpolation", "logreg", "plda", "selection", "vote")


FEW = {"bags": 2, "rounds": 3}  # of selection: enough to show what is fitted on what
NO_ATTRIBUTES = {"attributes": None, "attribute_names": ()}
NO_POSTERIOR = {"posterior": None, "labels": (), "training_prior": None}


def settings(**values):
    return FusionSettings.parse({"experts": ["audio", "text"], "selection": FEW} | values, "fusion")


def corpus(n=120, seed=0):
    """Return a manifest of ``n`` utterances by 20 speakers, half of them in dev_bal."""
    generator = np.random.default_rng(seed)
    frame = pd.DataFrame({"utterance_id": [f"u{i:03d}" for i in range(n)]})
    frame["split"] = np.where(np.arange(n) % 2, "dev", "test")
    frame["subsets"] = [["dev_bal"] if i % 2 else [] for i in range(n)]
    frame["emotion"] = np.array(LABELS)[generator.integers(0, 3, n)]
    frame["speaker"] = [f"s{i % 20:02d}" for i in range(n)]
    frame["arousal"], frame["valence"] = generator.uniform(1, 7, n), generator.uniform(1, 7, n)
    for name in ("audio", "audio_sha256", "video", "gender", "votes", "reference_text"):
        frame[name] = None
    frame["duration_s"] = frame["dominance"] = np.nan
    return Manifest(frame, "made up", LABELS)


def expert(of, name, seed, rows=slice(None), **values):
    """Return an expert that is right more often than not, on ``rows``."""
    generator = np.random.default_rng(seed)
    weights = np.exp(generator.normal(size=(len(of), 3)) + 1.2 * np.eye(3)[of.truth()])
    attributes = of.attributes(("arousal", "valence")) + generator.normal(0, 1.5, (len(of), 2))
    columns = {
        "utterance_ids": of.ids[rows],
        "expert": name,
        "labels": LABELS,
        "posterior": (weights / weights.sum(axis=1, keepdims=True))[rows],
        "training_prior": np.full(3, 1 / 3),
        "attribute_names": ("arousal", "valence"),
        "attributes": attributes[rows],
    }
    return Predictions(**(columns | values))


def pair(of, **values):
    return [expert(of, "audio", 1, **values), expert(of, "text", 2)]

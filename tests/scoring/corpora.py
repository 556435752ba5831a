"""Small manifests and predictions, drawn with a seed."""

import numpy as np
import pandas as pd

from pipeline_lib.tables.manifest import SCHEMA, Manifest
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import Provenance

LABELS = ("anger", "neutral", "sadness")
SPLITS = {"train": 3, "dev": 3, "test": 4}  # speakers of each
ENOUGH = {"train": 3, "dev": 5, "test": 6}  # for intervals


def drawn_manifest(seed=1, utterances=12, notice="drawn numbers", speakers=SPLITS):
    """Return utterances of ten speakers; every sixth is labelled X; the first half of dev is dev_bal."""
    generator = np.random.default_rng(seed)
    rows = []
    for split, n_speakers in speakers.items():
        for speaker in range(n_speakers):
            for i in range(utterances):
                emotion = "X" if i % 6 == 5 else LABELS[generator.integers(3)]
                subsets = [] if split != "dev" or emotion == "X" else ["dev_filt"] + ["dev_bal"] * (i < utterances // 2)
                row = {"utterance_id": f"{split}_{speaker}_{i:02d}", "split": split, "speaker": f"{split}{speaker}"}
                values = dict(zip(("arousal", "valence", "dominance"), generator.uniform(1, 7, 3)))
                rows.append({**row, "emotion": emotion, "subsets": subsets, **values})
    frame = pd.DataFrame(rows).reindex(columns=SCHEMA.names).sort_values("utterance_id", ignore_index=True)
    return Manifest(frame.astype({"audio_sha256": object}), "drawn", LABELS, (1.0, 7.0), notice)


def drawn_predictions(
    manifest, name, seed, skill=2.0, labels=LABELS, fitted_on=(), attributes=True, rows=None, chosen_on=()
):
    """Return a posterior that leans to the truth by ``skill`` logits, and noisy attributes."""
    generator = np.random.default_rng(seed)
    n, truth = len(manifest), manifest.truth(labels)
    logits = generator.normal(size=(n, len(labels)))
    logits[np.arange(n), truth] += skill * (truth >= 0)
    posterior = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    noisy = manifest.attributes() + generator.normal(size=(n, 3))
    rows = np.ones(n, dtype=bool) if rows is None else rows
    columns = {"attribute_names": ("arousal", "valence", "dominance"), "attributes": noisy[rows]} if attributes else {}
    columns["provenance"] = Provenance(fitted_on, chosen_on)
    return Predictions(manifest.ids[rows], name, tuple(labels), posterior[rows], **columns)

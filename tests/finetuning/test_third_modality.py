"""A third modality of random vectors: a row, a loader and a reader, and an expert trains on it and predicts from it."""

import numpy as np
import pytest
import torch
from torch import nn

from pipeline_lib.encoders.hidden import Hidden
from pipeline_lib.encoders.load import LOADERS
from pipeline_lib.experts.predict import predict
from pipeline_lib.experts.readers import Reader
from pipeline_lib.experts.utterances import READERS
from pipeline_lib.modalities import MODALITIES, Modality, combinations_of
from tests.finetuning import corpora
from tests.finetuning.test_joint import SHARED, run


class Vectors(nn.Module):
    """An encoder without blocks, for two vectors of width 3."""

    def __init__(self):
        super().__init__()
        self.model, self.width, self.n_layers, self.revision = nn.Identity(), 3, 0, None

    def prepare(self, parts):
        return {"values": torch.from_numpy(np.stack(parts))}

    def forward(self, values):
        return Hidden((self.model(values),), torch.full((len(values),), 2))


def vectors(source):
    """Return a reader of random vectors; every fifth utterance has none."""
    values = np.random.default_rng(0).standard_normal((len(source.corpus), 2, 3)).astype(np.float32)
    return Reader([None if row % 5 == 0 else part for row, part in enumerate(values)], np.full(len(values), 2.0))


@pytest.mark.parametrize("changes", [SHARED, {"mixer": {"kind": "imagination"}, "losses": {"invariance": 0.1}}])
def test_an_expert_of_three_modalities_trains_and_predicts_from_each_combination(tones, tmp_path, monkeypatch, changes):
    monkeypatch.setitem(MODALITIES, "face", Modality("face", column="face", unit="seconds", slot="video"))
    monkeypatch.setitem(LOADERS, "face", lambda settings, device: Vectors())
    monkeypatch.setitem(READERS, "face", vectors)
    face = {"branches": {"face": {"encoder": {"checkpoint": "none"}}}, "modality_dropout": 0.2}
    passes = ["audio", "text", "face", "text+face", "both"]
    settings = corpora.joint(tones, **corpora.merged(changes, face | {"passes": passes}))
    by_combination, _ = run(tones, tmp_path, settings)
    assert set(by_combination) == set(combinations_of(["audio", "text", "face"]))
    has = np.arange(48) % 5 != 0
    for name, result in by_combination.items():
        assert result.utterance_ids.tolist() == tones.corpus.ids[has if "face" in name else slice(None)].tolist()
    alone = by_combination["audio+text"].posterior[~has]
    np.testing.assert_allclose(by_combination["both"].posterior[~has], alone, atol=1e-6)
    utterances = corpora.utterances(tones.corpus, settings, tones.texts, tones.root)
    again = predict(tmp_path / "models" / "tones", utterances, machine=corpora.machine(), combination="text+face")
    np.testing.assert_allclose(again.posterior, by_combination["text+face"].posterior, atol=1e-6)

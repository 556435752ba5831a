"""Normalisation by speaker: by hand, of utterances without one, and against an evidence that only it uncovers."""

import numpy as np
import pytest

from pipeline_lib.params.base import ParameterError
from pipeline_lib.rebalancing import model
from pipeline_lib.rebalancing.rebalance import fit
from pipeline_lib.rebalancing.source import normalised, read
from pipeline_lib.tables import embeddings, predictions
from tests.rebalancing.made import corpus, embed, expert, settings


def entry(normalise):
    source = {"layers": [3], "normalise": normalise}
    return settings(reads={"source": "data/embeddings/audio"}, source=source, method="plda")


def test_each_speaker_has_mean_0_and_deviation_1_by_hand():
    # speaker 0: 1, 3, 5 have mean 2 from 3 and deviation sqrt(8/3); speaker 1: 10, 14 mean 12, deviation 2; constant: 0
    vectors = np.array([[1.0, 7.0], [10.0, 1.0], [3.0, 7.0], [14.0, 2.0], [5.0, 7.0]])
    step = 2 / np.sqrt(8 / 3)
    expected = [[-step, 0], [-1, -1], [0, 0], [1, 1], [step, 0]]
    np.testing.assert_allclose(normalised(vectors, np.array([0, 1, 0, 1, 0])), expected, rtol=1e-12, atol=1e-15)


def test_an_utterance_alone_becomes_zero():
    np.testing.assert_array_equal(normalised(np.array([[3.0, -4.0]]), np.array([0])), [[0.0, 0.0]])


def test_utterances_without_a_speaker_are_normalised_together_and_printed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    of = corpus(n=40)
    of.frame["speaker"] = [None, None, "b", "a", "solo"] + ["a", "b", None, "a", "b"] * 7
    vectors = embed(tmp_path / "data/embeddings/audio", of)[3]
    result = read(entry("speaker"), of, "mine").vectors((3,))
    for speaker in ("a", "b", None):
        rows = np.array([each == speaker for each in of.frame["speaker"]])
        expected = (vectors[rows] - vectors[rows].mean(axis=0)) / vectors[rows].std(axis=0)
        np.testing.assert_allclose(result[rows], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(result[4], np.zeros(5))
    printed = capsys.readouterr().out
    assert "rebalancing.mine: 9 of 40 utterances have no speaker: normalised together, as of one" in printed
    assert "rebalancing.mine: 1 speakers have one utterance alone" in printed


def test_the_speakers_own_offsets_no_longer_hide_the_labels(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    of = corpus(n=400)
    of.frame["speaker"] = [f"s{row % 80:02d}" for row in range(400)]  # five utterances a speaker
    vectors = embed(tmp_path / "data/embeddings/audio", of, layers=(3,), evidence={3: 2.0})[3]
    offsets = np.random.default_rng(2).normal(scale=20.0, size=(80, 5))[np.arange(400) % 80]
    rewrite(tmp_path / "data/embeddings/audio", of, vectors + offsets)
    truth, test = of.truth(), of.mask("test") & (of.truth() >= 0)
    accuracy = {}
    for normalise in ("none", "speaker"):
        opened = read(entry(normalise), of, "mine")
        table = model.apply(fit(opened, of, entry(normalise), "mine"), opened)
        accuracy[normalise] = (table.posterior[test].argmax(axis=1) == truth[test]).mean()
    assert accuracy["speaker"] > accuracy["none"] + 0.15


@pytest.mark.parametrize("normalise", ["none", "speaker"])
def test_an_experts_embeddings_are_normalised_by_speaker_where_the_entry_says_so(tmp_path, normalise):
    of = corpus(n=40)
    of.frame["speaker"] = [f"s{row % 4}" for row in range(40)]
    predicted = expert(of)
    predictions.write(tmp_path / "audio.parquet", predicted)
    given = {"reads": {"source": str(tmp_path / "audio.parquet")}, "method": "plda", "normalise": normalise}
    result = read(settings(**given), of, "mine").vectors(())
    expected = predicted.embedding.astype(np.float64)
    if normalise == "speaker":
        expected = np.empty((40, 6))
        for first in range(4):  # every fourth row is of one speaker
            own = predicted.embedding[first::4].astype(np.float64)
            expected[first::4] = (own - own.mean(axis=0)) / own.std(axis=0)
    np.testing.assert_allclose(result, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "expected 'none', or set method to lda_logistic or plda"),
        (
            {"reads": {"source": "data/embeddings/audio"}, "source": {"layers": [3]}, "method": "plda"},
            "expected 'none', or set source.normalise",
        ),
    ],
)
def test_what_has_no_embedding_of_an_expert_is_not_normalised(values, message):
    with pytest.raises(ParameterError, match=message):
        settings(normalise="speaker", **values)


def rewrite(folder, of, vectors):
    """Put other vectors into layer 3."""
    info = embeddings.read_info(folder)
    with embeddings.writing(folder, info) as writer:
        writer.add(of.ids.tolist(), {3: vectors.astype(np.float16)})

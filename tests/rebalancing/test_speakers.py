"""Normalisation by speaker: by hand, of utterances without one, and against an evidence that only it uncovers."""

import numpy as np

from pipeline_lib.rebalancing import model
from pipeline_lib.rebalancing.rebalance import fit
from pipeline_lib.rebalancing.source import normalised, read
from pipeline_lib.tables import embeddings
from tests.rebalancing.made import corpus, embed, settings


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


def rewrite(folder, of, vectors):
    """Put other vectors into layer 3."""
    info = embeddings.read_info(folder)
    with embeddings.writing(folder, info) as writer:
        writer.add(of.ids.tolist(), {3: vectors.astype(np.float16)})

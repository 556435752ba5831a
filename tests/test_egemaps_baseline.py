"""The eGeMAPS baseline: what it extracts, and that it scores evidence as evidence and noise as chance."""

import re

import numpy as np
import opensmile
import pytest
import soundfile

from benchmarks.egemaps_baseline import evaluate, features
from pipeline_lib.tables.manifest import keep
from tests.scoring.corpora import ENOUGH, drawn_manifest


def ua(lines):
    return [float(number) for number in re.search(r"^UA (\S+) \[(\S+), (\S+)\]$", lines, re.MULTILINE).groups()]


def test_evidence_is_scored_above_chance_and_noise_about_at_it():
    corpus = drawn_manifest(utterances=30, speakers=ENOUGH)
    corpus = keep(corpus, corpus.truth() >= 0)
    noise = np.random.default_rng(1).normal(size=(len(corpus), 5))
    evident = evaluate(corpus, noise + 3 * np.eye(5)[corpus.truth()], "dev_filt")
    value, low, high = ua(evident)
    assert low > 0.7 and low <= value <= high
    assert "drawn: eGeMAPS, logistic regression, C " in evident and "\ndrawn numbers\n" in evident
    _, low, _ = ua(evaluate(corpus, noise, "dev_filt"))
    assert low < 1 / 3


@pytest.fixture
def spoken(tmp_path):
    """Four recordings: a tone with another pitch each."""
    corpus = drawn_manifest(utterances=1)
    for i in range(4):
        wave = 0.3 * np.sin(2 * np.pi * (110 + 40 * i) * np.arange(16_000) / 16_000)
        soundfile.write(tmp_path / f"{i}.wav", wave, 16_000)
    names = [f"{i}.wav" for i in range(4)]
    frame = corpus.frame.iloc[:4].reset_index(drop=True)
    frame = frame.assign(audio=names, audio_sha256=names, duration_s=[4.0, 3.0, 2.0, 1.0])
    return type(corpus)(frame, "tones", corpus.labels)


def test_features_are_in_the_manifests_order_and_kept(spoken, tmp_path):
    first = features(spoken, tmp_path, 1, tmp_path / "work")
    assert first.shape == (4, 88)
    extractor = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    np.testing.assert_array_equal(first[2:3], extractor.process_file(str(tmp_path / "2.wav")).to_numpy())
    names = extractor.feature_names
    pitch = first[:, names.index("F0semitoneFrom27.5Hz_sma3nz_amean")]
    np.testing.assert_allclose(pitch, 12 * np.log2(np.array([110, 150, 190, 230]) / 27.5), atol=0.5)
    (tmp_path / "0.wav").unlink()
    np.testing.assert_array_equal(features(spoken, tmp_path, 1, tmp_path / "work"), first)

"""Targets, and what is refused before a model is loaded."""

from dataclasses import replace

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.experts.utterances import from_manifest
from pipeline_lib.finetuning.evaluation import Tally
from pipeline_lib.finetuning.targets import targets_of
from pipeline_lib.metrics.attributes import to_scale
from pipeline_lib.tables.provenance import Provenance
from tests.finetuning import corpora

ATTRIBUTES = {"targets": {"attributes": ["arousal", "valence"]}, "losses": {"concordance": 1.0}}


def changed(corpus, column, value, rows=None):
    frame = corpus.frame.copy()
    frame.loc[slice(None) if rows is None else rows, column] = value
    return replace(corpus, frame=frame)


@pytest.fixture
def audio(tones):
    return corpora.settings(tones.w2v_bert, "audio")


def test_o_and_x_are_labels_where_they_occur_in_training(tones, audio):
    assert targets_of(tones.corpus, audio).labels == ("anger", "happiness", "sadness", "O")
    without = corpora.settings(tones.w2v_bert, "audio", targets={"pseudo_labels": False})
    assert targets_of(tones.corpus, without).labels == ("anger", "happiness", "sadness")
    train, dev = corpora.checked(tones.corpus, without)
    assert (tones.corpus.frame["emotion"].iloc[train] != "O").all()


@pytest.mark.parametrize(("name", "trained"), [("signed", [-1.0, 0.0, 1.0]), ("unit", [0.0, 0.5, 1.0])])
def test_attributes_are_trained_on_a_range_and_predicted_on_the_corpuss_scale(tones, name, trained):
    np.testing.assert_allclose(
        to_scale(np.array([1.0, 4.0, 7.0]), (1.0, 7.0), (-1.0, 1.0) if name == "signed" else (0.0, 1.0)),
        trained,
    )
    targets = {**ATTRIBUTES["targets"], "attribute_range": name}
    settings = corpora.settings(tones.w2v_bert, "audio", **{**ATTRIBUTES, "targets": targets})
    result = targets_of(tones.corpus, settings)
    truth, read = tones.corpus.attributes(["arousal", "valence"]), corpora.is_read(tones.corpus)
    np.testing.assert_allclose(result.on_scale(result.attributes)[read], truth[read], atol=1e-6)
    assert np.isnan(result.attributes[~read]).all() and np.isfinite(truth[~read]).any()  # labels of test are not read
    assert (result.emotion[~read] == -1).all() and result.read == Provenance(("train",), ("dev",))


def test_an_utterance_without_any_target_is_not_trained_on(tones, audio):
    row = np.flatnonzero(tones.corpus.mask("train"))[0]
    train, _ = corpora.checked(changed(tones.corpus, "emotion", None, row), audio)
    assert row not in train
    assert len(train) == 23


@pytest.mark.parametrize(
    ("column", "value", "changes", "message"),
    [
        (
            "audio",
            None,
            {},
            "tones has no utterance with audio, which the expert reads; train one of",
        ),
        ("emotion", "sadness", {}, r"tones has no training example of \['anger', 'happiness'\]"),
        ("arousal", np.nan, ATTRIBUTES, "tones has no arousal in its training split"),
    ],
)
def test_a_corpus_that_lacks_what_is_asked_for_is_refused(tones, column, value, changes, message):
    with pytest.raises(InputError, match=message):
        corpora.checked(changed(tones.corpus, column, value), corpora.settings(tones.w2v_bert, "audio", **changes))


def test_a_development_split_without_labels_is_refused(tones, audio):
    dev = tones.corpus.mask("dev")
    with pytest.raises(InputError, match="the split 'dev' of tones has no labels, early stopping measures 'macro_f1'"):
        corpora.checked(changed(tones.corpus, "emotion", None, dev), audio)
    settings = corpora.settings(tones.w2v_bert, "audio", early_stopping={"metric": "mean_ccc"}, **ATTRIBUTES)
    without = changed(changed(tones.corpus, "arousal", np.nan, dev), "valence", np.nan, dev)
    with pytest.raises(InputError, match="has no attributes, early stopping measures 'mean_ccc'"):
        corpora.checked(without, settings)


def test_a_corpus_without_a_development_split_is_refused(tones, audio):
    dev = tones.corpus.mask("dev")
    with pytest.raises(InputError, match="has no split or subset 'dev'"):
        corpora.checked(changed(tones.corpus, "split", "test", dev), audio)


def test_a_text_expert_needs_texts(tones):
    def read(corpus, text="reference"):
        return from_manifest(corpus, tones.root, ("text",), None, text)

    with pytest.raises(InputError, match="needs transcripts, and there are none; run the stage transcription"):
        read(tones.corpus, "transcripts")
    lacking = read(changed(tones.corpus, "reference_text", None, 0))
    assert [lacking.read(row, 0.0, None) for row in range(48)] == [(None,), *((text,) for text in tones.texts[1:])]
    assert np.flatnonzero(~lacking.present.any(axis=1)).tolist() == [0]
    with pytest.raises(InputError, match="no utterance of tones has reference text; set text to transcripts"):
        read(changed(tones.corpus, "reference_text", None))
    assert read(tones.corpus).present.all()


@pytest.mark.parametrize(
    ("modality", "changes", "message"),
    [
        (
            "audio",
            {"targets": {"emotion": False}},
            "targets.emotion is false and targets.attributes empty, which leaves nothing to train",
        ),
        ("audio", {"targets": {"attributes": ["arousal"]}}, "gives concordance no weight"),
        ("audio", {"losses": {"concordance": 1.0}}, "but no such target is trained"),
        ("audio", {"losses": {"cross_entropy": 0.0}}, "gives cross_entropy and focal no weight"),
        ("audio", {"early_stopping": {"metric": "mean_ccc"}}, "targets.attributes empty; set the metric to macro_f1"),
        ("audio", {"head": {"kind": "sequence_classification"}}, "applies only to modality 'text' .*: set it to dense"),
        (
            "text",
            {"phases": {"only": {"chunk_s": [1.0, 2.0]}}},
            r"text.phases.only.chunk_s applies only to modality 'audio' or 'joint' \(got 'text'\): remove it",
        ),
        ("text", {"layers": "weighted", "head": {"kind": "sequence_classification"}}, "reads the last layer"),
        (
            "audio",
            {"phases": {"only": {"chunk_s": [3.0, 2.0]}}},
            r"chunk_s is \[3.0, 2.0\], expected \[shortest, longest\]",
        ),
        (
            "audio",
            {"early_stopping": {"metric": "wer"}},
            "metric is 'wer', expected 'macro_f1', 'ua', 'mean_ccc' or 'loss'",
        ),
        ("audio", {"phases": {"only": {"batch": 3}}}, "phases.only.batch is not a parameter, expected one of"),
    ],
)
def test_settings_that_do_not_fit_together_are_refused_by_name(tones, modality, changes, message):
    with pytest.raises(InputError, match=message):
        corpora.settings(tones.llama, modality, **changes)


def test_a_tally_is_the_same_in_one_batch_or_many_and_through_json(tones):
    settings = corpora.settings(tones.w2v_bert, "audio", **ATTRIBUTES)
    targets = targets_of(tones.corpus, settings)
    rng = np.random.default_rng(1)
    outputs = {"logits": rng.normal(size=(48, 4)), "attributes": rng.normal(size=(48, 2))}
    whole, parts = Tally.empty(targets), Tally.empty(targets)
    whole.add(targets, np.arange(48), outputs, 1.5)
    for rows in np.array_split(np.arange(48), 5):
        parts.add(targets, rows, {name: values[rows] for name, values in outputs.items()}, 1.5)
        parts = Tally.from_json(parts.to_json(), targets)
    assert whole.scores() == pytest.approx(parts.scores(), rel=1e-12)


def test_scores_are_the_metrics_of_the_scored_labels(tones):
    from pipeline_lib.metrics.attributes import concordance
    from pipeline_lib.metrics.categories import macro_f1

    settings = corpora.settings(tones.w2v_bert, "audio", **ATTRIBUTES)
    targets = targets_of(tones.corpus, settings)
    rng = np.random.default_rng(2)
    outputs = {"logits": rng.normal(size=(48, 4)), "attributes": rng.normal(size=(48, 2))}
    tally = Tally.empty(targets)
    tally.add(targets, np.arange(48), outputs, 0.0)
    read = corpora.is_read(tones.corpus)
    truth = np.where(read, tones.corpus.truth(), -1)
    guess = outputs["logits"][:, :3].argmax(axis=1)
    result = tally.scores()
    assert result["macro_f1"] == pytest.approx(macro_f1(truth[truth >= 0], guess[truth >= 0], 3))
    attributes, predicted = tones.corpus.attributes(["arousal", "valence"]), 4 + 3 * outputs["attributes"]
    known = np.isfinite(attributes) & read[:, None]
    expected = np.mean([concordance(attributes[known[:, i], i], predicted[known[:, i], i]) for i in range(2)])
    assert result["mean_ccc"] == pytest.approx(expected, abs=1e-6)

"""Multi-task gender: trained beside the categories, saved with the expert, not predicted."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk
from pipeline_lib.finetuning.evaluation import Tally
from pipeline_lib.finetuning.steps import Steps
from pipeline_lib.finetuning.targets import targets_of
from pipeline_lib.tables import predictions
from tests.finetuning import corpora
from tests.finetuning.runs import LONG, LONG_AUDIO, SCORED, run
from tests.finetuning.test_votes import SOFT, voted

GENDER = {"targets": {"gender": True}, "losses": {"gender": 0.5}}


def spoken(corpus, column=None):
    """Return the corpus with women angry or happy and men else; every sixth speaker's gender is unknown."""
    women = corpus.frame["emotion"].isin(["anger", "happiness"])
    genders = np.where(women, "female", "male").astype(object)
    genders[::6] = None
    return replace(corpus, frame=corpus.frame.assign(gender=genders if column is None else column))


def check(corpus, options):
    targets = targets_of(corpus, options)
    return targets, *corpora.checked(corpus, options)


def test_genders_are_targets_where_they_are_known(tones):
    corpus = spoken(tones.corpus)
    targets, *_ = check(corpus, corpora.settings(tones.w2v_bert, "audio", **GENDER))
    expected = [{"female": 0, "male": 1}.get(gender, -1) for gender in corpus.frame["gender"]]
    np.testing.assert_array_equal(targets.gender, expected)
    assert "gender" in targets.arrays()
    assert targets_of(corpus, corpora.settings(tones.w2v_bert, "audio")).gender is None


@pytest.mark.parametrize(
    ("column", "unseen"), [(None, "'male'"), ("female", "'male'"), ("nonbinary", "'female', 'male'")]
)
def test_a_corpus_without_both_genders_in_train_is_refused(tones, column, unseen):
    corpus = spoken(tones.corpus, column or np.where(tones.corpus.mask("train"), "female", "male"))
    expected = rf"tones has no utterance of gender \[{unseen}\] in its training split; set targets.gender to false"
    with pytest.raises(InputError, match=expected):
        check(corpus, corpora.settings(tones.w2v_bert, "audio", **GENDER))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": {"gender": True}}, "targets.gender is true, but phase 'only' gives gender no weight"),
        ({"losses": {"gender": 1.0}}, "phase 'only' gives gender a weight in its losses, but no such target"),
        (
            {"targets": {"gender": True, "emotion": False}, "losses": {"gender": 1.0, "cross_entropy": 0.0}},
            "targets has neither emotion nor attributes",
        ),
    ],
)
def test_target_and_loss_need_each_other(tones, changes, message):
    with pytest.raises(InputError, match=message):
        corpora.settings(tones.w2v_bert, "audio", **changes)


def test_a_tally_counts_genders_in_one_batch_or_many_and_through_json(tones):
    targets, *_ = check(spoken(tones.corpus), corpora.settings(tones.w2v_bert, "audio", **GENDER))
    rng = np.random.default_rng(1)
    outputs = {"logits": rng.normal(size=(48, 4)), "gender": rng.normal(size=(48, 2))}
    tally = Tally.empty(targets)
    for rows in np.array_split(np.arange(48), 5):
        tally.add(targets, rows, {name: values[rows] for name, values in outputs.items()}, 1.5)
        tally = Tally.from_json(tally.to_json(), targets)
    known = targets.gender >= 0
    right = (outputs["gender"].argmax(axis=1) == targets.gender)[known]
    assert tally.scores()["gender_accuracy"] == pytest.approx(right.mean(), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "modality", "changes"), [("w2v_bert", "audio", LONG_AUDIO), ("llama", "text", LONG | SCORED)]
)
def test_an_expert_learns_genders_beside_categories_and_predicts_categories_only(
    tones, tmp_path, name, modality, changes
):
    options = corpora.settings(getattr(tones, name), modality, **changes, **GENDER)
    result, _ = run(tones, tmp_path, options, spoken(tones.corpus))
    rows = list(csv.DictReader((tmp_path / "curve.csv").open()))
    assert max(float(row["dev_gender_accuracy"]) for row in rows if row["dev_loss"] != "nan") > 0.8
    again = predictions.read(tmp_path / "predictions.parquet")
    assert (again.labels, again.attribute_names) == (("anger", "happiness", "sadness", "O"), ())
    assert disk.read_settings(tmp_path / "models" / "tones").gender
    network = disk.load(tmp_path / "models" / "tones", torch.device("cpu"))
    if modality == "text":
        with torch.inference_mode():
            outputs = network(network.encoder.prepare([(text,) for text in tones.texts[:2]]))
        assert outputs["gender"].shape == (2, 2)
        logits = outputs["logits"].double()
        np.testing.assert_allclose(result.posterior[:2], logits.softmax(dim=1).numpy(), atol=1e-6)


def test_with_gender_and_soft_labels_a_killed_run_goes_on_to_the_same_bytes(tones, tmp_path, monkeypatch):
    corpus = spoken(voted(tones.corpus))
    both = corpora.merged(GENDER, SOFT)
    options = corpora.settings(tones.llama, "text", early_stopping={"metric": "loss"}, **SCORED, **both)
    _, whole = run(tones, tmp_path / "whole", options, corpus, save_steps=1)
    step = Steps._step

    def killed(self, state, *rest):
        if state.total == 3:  # in the middle of an epoch of four
            raise KeyboardInterrupt
        return step(self, state, *rest)

    monkeypatch.setattr(Steps, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tones, tmp_path / "killed", options, corpus, save_steps=1)
    monkeypatch.setattr(Steps, "_step", step)
    assert run(tones, tmp_path / "killed", options, corpus, save_steps=1)[1] == whole


def test_an_expert_without_gender_has_the_posterior_it_always_had(tones, tmp_path):
    options = corpora.settings(tones.w2v_bert, "audio")
    _, plain = run(tones, tmp_path / "plain", options)
    _, spoke = run(tones, tmp_path / "spoken", options, spoken(tones.corpus))
    assert plain == spoke

"""What cannot be fused, and the message of each refusal."""

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.fusion.fuse import fuse
from pipeline_lib.params.base import ParameterError
from pipeline_lib.tables.manifest import Manifest
from tests.fusion.experts import LABELS, NO_ATTRIBUTES, NO_POSTERIOR, corpus, expert, pair, settings


def without(of, label):
    """Return the manifest with ``label`` taken out of dev_bal."""
    subsets = [[] if e == label else s for e, s in zip(of.frame["emotion"], of.frame["subsets"], strict=True)]
    return Manifest(of.frame.assign(subsets=subsets), of.corpus, of.labels)


@pytest.mark.parametrize("method", ["logreg", "plda"])
def test_a_label_that_the_tuning_set_lacks_is_refused_where_it_would_be_learned(method):
    of = without(corpus(), "sadness")
    message = (
        rf"fusion.method is '{method}', but dev_bal has no utterance of \['audio', 'text'\] labelled \['sadness'\]"
    )
    with pytest.raises(InputError, match=message):
        fuse(pair(of), of, settings(method=method))
    assert fuse(pair(of), of, settings()).fused.posterior.shape == (120, 3)


def test_a_label_of_a_single_fold_has_posterior_zero_there_and_it_is_said(capsys):
    of = corpus()
    rare = of.frame["emotion"].where(of.frame["emotion"] != "sadness", "neutral")
    rare[1] = rare[21] = "sadness"  # one speaker
    of = Manifest(of.frame.assign(emotion=rare), of.corpus, of.labels)
    result = fuse(pair(of, **NO_ATTRIBUTES), of, settings(method="logreg")).crossfitted
    assert "dev_bal has ['sadness'] in one fold only" in capsys.readouterr().out
    assert (result.posterior[result.utterance_ids == "u001", 2] == 0).all()


@pytest.mark.parametrize(
    ("experts", "message"),
    [
        (
            lambda of: [expert(of, "audio", 1), expert(of, "text", 2, labels=LABELS[::-1])],
            "experts 'audio' and 'text' differ in labels",
        ),
        (lambda of: [expert(of, "audio", 1, labels=("A", "N", "S"))], "expert 'audio' has labels .* not rebalanced"),
        (
            lambda of: [expert(of, "audio", 1), expert(of, "text", 2, attribute_names=("valence", "arousal"))],
            "differ in attribute_names",
        ),
        (
            lambda of: [
                expert(of, "audio", 1, np.arange(120) < 60, **NO_ATTRIBUTES),
                expert(of, "text", 2, np.arange(120) >= 60, **NO_POSTERIOR),
            ],
            r"no utterance has every kind of prediction that experts \['audio', 'text'\] give",
        ),
        (lambda of: [expert(of, "audio", 1, **NO_ATTRIBUTES, **NO_POSTERIOR)], "neither posteriors nor attributes"),
        (
            lambda of: [expert(of, "audio", 1, utterance_ids=np.array([f"v{i}" for i in range(120)], dtype=object))],
            "expert 'audio' predicts 120 utterances that the manifest lacks, 'v0' first",
        ),
    ],
)
def test_experts_that_cannot_be_fused_are_refused_by_name(experts, message):
    of = corpus()
    with pytest.raises(InputError, match=message):
        fuse(experts(of), of, settings())


def test_a_tuning_set_that_is_not_there_or_has_no_label_is_refused():
    of = corpus()
    with pytest.raises(InputError, match="no split or subset 'dev_bla'"):
        fuse(pair(of), of, settings(tuning="dev_bla"))
    blank = Manifest(of.frame.assign(emotion="X"), of.corpus, of.labels)
    with pytest.raises(InputError, match="no utterance of 'dev_bal', the tuning set of fusion, is labelled"):
        fuse(pair(of), blank, settings())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"experts": []}, "fusion.experts is"),
        ({"experts": ["audio", "audio"]}, r"\['audio'\] named twice"),
        (
            {"method": "logreq"},
            "fusion.method is 'logreq', expected 'interpolation', 'logreg', 'plda', 'selection' or 'vote'",
        ),
        ({"interpolation": {"step": 0.3}}, "fusion.interpolation.step is 0.3: expected a step that divides 1"),
        ({"interpolation": {"step": 0.0}}, "fusion.interpolation.step is 0.0"),
        ({"logreg": {"penalty": -1.0}}, "fusion.logreg.penalty is -1.0"),
        ({"plda": {"shrinkage": 1.5}}, r"fusion.plda.shrinkage is 1.5: expected a share in \[0, 1\] or 'ledoit_wolf'$"),
        ({"crossfit_folds": 1}, "fusion.crossfit_folds is 1"),
        (
            {"objective": "f1"},
            "fusion.objective is 'f1', expected 'macro_f1', 'unweighted_accuracy' or 'log_likelihood'",
        ),
    ],
)
def test_wrong_settings_are_refused_by_key(values, message):
    with pytest.raises(ParameterError, match=message):
        settings(**values)


@pytest.mark.parametrize("step", [0.05, 0.1, 0.25, 1 / 3, 0.01, 1.0])
def test_steps_that_divide_one_are_taken(step):
    assert settings(interpolation={"step": step}).interpolation.step == step

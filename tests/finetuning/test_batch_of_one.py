"""Batches of one utterance, as MERSA trains: what trains, and what is refused."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from tests.finetuning import corpora
from tests.finetuning.test_joint import run

PLACES = SimpleNamespace(w2v_bert="models/w2v_bert", llama="models/llama")
ONE = {"phases": {"only": {"batch_size": 1, "epochs": 1}}}
ALL_OF_SEVERAL = [
    ({"losses": {"multi_similarity": 1.0}}, "multi_similarity has a weight, a loss of several utterances"),
    (
        {"targets": {"attributes": ["arousal"]}, "losses": {"concordance": 1.0}},
        "concordance has a weight, a loss of several",
    ),
    (
        {"mixer": {"kind": "shared_transformer"}, "losses": {"contrastive": 1.0}},
        "contrastive has a weight, a loss of several",
    ),
    (
        {"head": {"kind": "dense"}},
        "batch_size is 1 and head.kind 'dense', whose batch norm one utterance does not train",
    ),
]


@pytest.mark.parametrize(("changes", "message"), ALL_OF_SEVERAL)
def test_what_one_utterance_cannot_train_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        corpora.joint(PLACES, **corpora.merged(ONE, changes))


def test_a_step_of_two_batches_of_one_has_a_loss_of_several():
    changes = {"losses": {"multi_similarity": 1.0}, "phases": {"only": {"gradient_accumulation_steps": 2}}}
    corpora.joint(PLACES, **corpora.merged(ONE, changes))


@pytest.mark.parametrize(("changes", "_"), ALL_OF_SEVERAL)
def test_with_two_it_is_not(changes, _):
    corpora.joint(PLACES, **corpora.merged({"phases": {"only": {"batch_size": 2}}}, changes))


def test_an_expert_trains_with_one_utterance_at_a_time(tones, tmp_path):
    changes = corpora.merged(ONE, {"passes": ["both"], "mixer": {"kind": "cross_attention"}})
    result, *_ = run(tones, tmp_path, corpora.joint(tones, **changes))
    assert np.isfinite(result["both"].posterior).all()

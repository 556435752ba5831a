"""What cannot be rebalanced is refused by name, wrong settings by key."""

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.params.base import ParameterError
from pipeline_lib.rebalancing.rebalance import rebalance
from tests.rebalancing.made import LABELS, corpus, expert, settings

FOUR = (*LABELS, "surprise")


@pytest.mark.parametrize(
    ("predicted", "labels", "chosen", "message"),
    [
        ({"embedding": None}, LABELS, {"method": "plda"}, "hold no embeddings; expected 'none'"),
        ({}, FOUR, {"method": "lda_logistic"}, r"train has no utterance labelled \['surprise'\] among the expert's"),
        ({}, FOUR, {}, r"expert 'audio' has no output for \['surprise'\]"),
        (
            {},
            LABELS[:2],
            {},
            r"expert 'audio' predicts \['sadness'\], the manifest's labels are \['anger', 'neutral'\]",
        ),
        ({"training_prior": None}, LABELS, {}, "predictions hold no training prior; expected 'none'"),
        (
            {"training_prior": np.array([0.2, 0.0, 0.7, 0.1, 0.0])},
            LABELS,
            {},
            r"rebalancing.audio.prior is 'uniform', but \['anger'\] have no training example",
        ),
        ({"training_prior": np.array([0, 0, 0, 0.5, 0.5])}, LABELS, {}, "was trained on none of"),
        ({}, LABELS, {"prior": "given", "given": {"anger": 1.0}}, r"given names \['anger'\], expected exactly"),
        ({}, LABELS, {"prior": "em", "em": {"on": "test7"}}, "the manifest has no split or subset 'test7'"),
        (
            {"utterance_ids": np.array([f"v{i}" for i in range(40)], dtype=object)},
            LABELS,
            {},
            "predicts 40 utterances .* 'v0'",
        ),
    ],
)
def test_what_cannot_be_rebalanced_is_refused_by_name(predicted, labels, chosen, message):
    of = corpus(n=40, labels=labels)
    with pytest.raises(InputError, match=message):
        rebalance(expert(of, **predicted), of, settings(**chosen))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "lda"}, "rebalancing.audio.method is 'lda', expected 'none', 'lda_logistic' or 'plda'"),
        (
            {"prior": "flat"},
            "rebalancing.audio.prior is 'flat', expected 'uniform', 'given', 'development', 'em' or 'none'",
        ),
        ({"prior": "given"}, "prior is 'given', expected shares in 'given'"),
        ({"prior": "given", "given": {"anger": 0.0}}, "shares sum to 0"),
        ({"given": {"anger": -1.0}}, r"rebalancing.audio.given.anger is -1.0"),
        ({"plda": {"shrinkage": 2.0}}, "rebalancing.audio.plda.shrinkage is 2.0: expected a share"),
        ({"refit": True}, "refit is true and method 'none', which fits nothing: set refit to false, or a method"),
        ({"lda_logistic": {"penalty": 0.0}}, "rebalancing.audio.lda_logistic.penalty is 0.0"),
        ({"lda_logistic": {"componets": 3}}, "componets is not a parameter, expected one of .*'components'"),
    ],
)
def test_wrong_settings_are_refused_by_key(values, message):
    with pytest.raises(ParameterError, match=message):
        settings(**values)


LAYERS = {"reads": {"source": "data/embeddings/audio"}, "source": {"layers": "each"}, "method": "plda"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"source": None}, "reads.source is an embedding, expected source: {layers: each}"),
        ({"reads": {"source": "data/predictions/audio.parquet"}}, "source is for a stored embedding, .* set source to"),
        ({"refit": True, "calibration": "temperature"}, "refit is true and calibration 'temperature', which would be"),
        ({"method": "none"}, "an embedding has no posterior of its own; expected 'lda_logistic' or 'plda'"),
        ({"source": {"layers": "best"}}, "rebalancing.audio.source.layers"),
        ({"source": {"layers": [3, 1]}}, r"source.layers.* is \[3, 1\]: expected ascending numbers, each once"),
        ({"source": {"layers": [-1]}}, "source.layers.*0.* is -1"),
        ({"source": {"layers": []}}, "source.layers"),
        ({"source": {}}, "source.layers is missing"),
        ({"source": {"layers": "each", "normalise": "gender"}}, "normalise is 'gender', expected 'none' or 'speaker'"),
        ({"source": {"layers": "each", "ridge": 0.0}}, "source.ridge is 0.0"),
    ],
)
def test_wrong_settings_of_an_embedding_are_refused_by_key(values, message):
    settings(**LAYERS)
    with pytest.raises(ParameterError, match=message):
        settings(**LAYERS | values)

"""Checkpoints named in parameters, and the corpora that they are warned of."""

import pytest

from pipeline_lib.scoring.contamination import checkpoints, contamination


def test_checkpoints_are_found_at_any_depth_but_for_those_without_their_weights():
    params = {
        "audio": {"encoders": [{"checkpoint": "one", "pretrained": True}, {"checkpoint": "two", "pretrained": False}]},
        "text": {"encoder": {"checkpoint": "three"}, "epochs": 3},
    }
    assert list(checkpoints(params)) == ["one", "three"]
    assert list(checkpoints(None)) == []


@pytest.mark.parametrize(
    "checkpoint",
    ["audeering/wav2vec2-large-robust-12-ft-emotion-msp-dim", "models/wav2vec2-large-robust-12-ft-emotion-msp-dim/"],
)
def test_a_checkpoint_is_warned_of_on_the_corpus_that_it_has_seen(checkpoint):
    (warning,) = contamination([checkpoint, checkpoint, "facebook/hubert-base-ls960"], "msp_podcast")
    assert warning == f"checkpoint {checkpoint} was trained on the emotion labels of msp_podcast: scores on it flatter"
    assert contamination([checkpoint], "ravdess") == []

"""Two encoders of which each sees only the utterances that have its modality."""

import pickle

import numpy as np
import pytest
import torch

from pipeline_lib.encoders.branches import BranchEncoder, to_half
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.params.encoder import EncoderSettings
from tests.encoders import checkpoints

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def branches(tmp_path_factory):
    root = tmp_path_factory.mktemp("checkpoints")
    places = {name: EncoderSettings(checkpoint=str(checkpoints.write(root, name))) for name in ("w2v_bert", "bert")}
    return {"audio": load_speech(places["w2v_bert"], CPU), "text": load_text(places["bert"], CPU)}


def sound(seconds, seed=0):
    return np.random.default_rng(seed).standard_normal(int(16_000 * seconds)).astype(np.float32)


UTTERANCES = [
    (sound(0.3), "i am happy"),
    (None, "so sad"),
    (sound(0.5, 1), None),
    (sound(0.4, 2), "not so angry today"),
]


@torch.no_grad()
def test_each_branch_sees_its_own_utterances_and_no_others(branches):
    encoder = BranchEncoder(branches)
    inputs = pickle.loads(pickle.dumps(encoder.prepare))(UTTERANCES)  # noqa: S301 (as data-loader workers do)
    assert inputs["present"].tolist() == [[True, True], [False, True], [True, False], [True, True]]
    assert inputs["audio"]["rows"].tolist() == [0, 2, 3]
    hidden = encoder(**inputs)
    alone = branches["audio"](**branches["audio"].prepare([UTTERANCES[2][0]]))
    assert hidden["audio"].lengths[2] == alone.lengths[0]
    length = int(alone.lengths[0])
    torch.testing.assert_close(hidden["audio"].layers[-1][2, :length], alone.layers[-1][0], atol=1e-5, rtol=0)
    assert hidden["audio"].lengths[1] == hidden["text"].lengths[2] == 0
    assert not hidden["text"].mask[2].any()
    assert not hidden["text"].layers[1][2].any()


@torch.no_grad()
def test_a_modality_that_no_utterance_has_is_not_encoded(branches):
    encoder = BranchEncoder(branches)
    inputs = encoder.prepare([(None, "so sad"), (None, "happy")])
    assert inputs["audio"] == {}
    assert set(encoder(**inputs)) == {"text"}


@torch.no_grad()
def test_cached_states_are_those_that_are_computed(branches):
    encoder = BranchEncoder(branches, rounded=["audio"])
    computed = encoder(**encoder.prepare(UTTERANCES))["audio"]
    layers = torch.stack([to_half(layer) for layer in computed.layers])
    cached = {row: layers[:, row, : int(computed.lengths[row])] for row in (0, 2, 3)}
    inputs = encoder.prepare([(cached.get(row), text) for row, (_, text) in enumerate(UTTERANCES)])
    again = encoder(**inputs)["audio"]
    assert again.lengths.tolist() == computed.lengths.tolist()
    for one, two in zip(again.layers, computed.layers, strict=True):
        torch.testing.assert_close(one[computed.mask], two[computed.mask], atol=0, rtol=0)


@torch.no_grad()
def test_of_one_branch_the_states_are_its_encoders_and_who_lacks_the_modality_is_refused(branches):
    encoder = BranchEncoder({"text": branches["text"]})
    hidden = encoder(**encoder.prepare([("i am happy",), ("so sad",)]))
    expected = branches["text"](**branches["text"].prepare(["i am happy", "so sad"]))
    assert list(hidden) == ["text"] and torch.equal(hidden["text"].lengths, expected.lengths)
    assert all(torch.equal(one, two) for one, two in zip(hidden["text"].layers, expected.layers, strict=True))
    for n_absent, utterances in ((1, [("so sad",), (None,)]), (2, [(None,), (None,)])):
        with pytest.raises(ValueError, match=f"{n_absent} of 2 utterances of the batch have no text, expected all"):
            encoder(**encoder.prepare(utterances))


@pytest.mark.parametrize("utterance", ["a", ("a", None), (), ["a"]])
def test_an_utterance_is_a_tuple_of_a_part_a_branch(branches, utterance):
    with pytest.raises(ValueError, match=r"expected a tuple of \['text'\]"):
        BranchEncoder({"text": branches["text"]}).prepare([utterance])


def test_beyond_its_range_float16_ends_and_is_never_infinite():
    assert to_half(torch.tensor([1e6, -1e6, 1.0])).tolist() == [65504.0, -65504.0, 1.0]


def test_gradient_reaches_a_branch_from_the_utterances_that_have_it(branches):
    encoder = BranchEncoder(branches).requires_grad_(True)
    encoder(**encoder.prepare(UTTERANCES))["text"].layers[-1].sum().backward()
    assert any(
        parameter.grad is not None and parameter.grad.any() for parameter in encoder.branches["text"].parameters()
    )
    encoder.requires_grad_(False)

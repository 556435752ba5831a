"""Text encoders: equal to transformers alone, equal to themselves in any batch."""

import pickle

import pytest
import torch
from transformers import AutoModel

from tests.encoders.checkpoints import TEXT

NAMES = list(TEXT)
TEXTS = ["i am happy", "", "the a so very sad and angry not today", "we"]


@pytest.mark.parametrize("name", NAMES)
def test_one_text_is_what_transformers_makes_of_it(name, load, checkpoint):
    encoder = load(name)
    inputs = encoder.prepare([TEXTS[2]])
    with torch.no_grad():
        made = AutoModel.from_pretrained(checkpoint(name)).eval()(inputs["input_ids"], output_hidden_states=True)
    hidden = encoder(**inputs)
    assert len(hidden.layers) == encoder.n_layers + 1
    for mine, other in zip(hidden.layers, [*made.hidden_states[:-1], made.last_hidden_state], strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("name", NAMES)
def test_a_text_does_not_depend_on_its_batch(name, load):
    encoder = load(name)
    together = encoder(**encoder.prepare(TEXTS))
    for i, text in enumerate(TEXTS):
        alone = encoder(**encoder.prepare([text]))
        n = int(alone.lengths[0])
        assert int(together.lengths[i]) == n >= 1
        for one, other in zip(together.layers, alone.layers, strict=True):
            assert torch.linalg.norm(one[i, :n] - other[0]) <= 1e-5 * torch.linalg.norm(other[0])


def test_a_tokenizer_without_padding_and_end_gives_an_empty_text_one_token(load):
    encoder = load("llama")
    encoder.prepare.tokenizer.backend_tokenizer.post_processor = (
        None  # not even a start, as GPT-like tokenizers have it
    )
    inputs = encoder.prepare(["", "i am"])
    assert inputs["attention_mask"].sum(dim=1).tolist() == [1, 2]
    assert inputs["input_ids"][0].tolist() == [2, 2]  # padded with the end of sequence
    assert torch.isfinite(encoder(**inputs).layers[-1]).all()


@pytest.mark.parametrize(("name", "longest"), [("bert", 24), ("roberta", 23), ("llama", 24)])
def test_a_text_is_cut_at_what_the_model_takes(name, longest, load):
    # RoBERTa's positions begin behind its padding token, here 0; with the usual padding token 1, 514 positions are 512
    encoder = load(name)
    hidden = encoder(**encoder.prepare(["happy " * 100]))
    assert hidden.lengths.tolist() == [longest]


@pytest.mark.parametrize("name", NAMES)
def test_inputs_can_be_made_in_another_process(name, load):
    prepare = load(name).prepare
    copy = pickle.loads(pickle.dumps(prepare))  # noqa: S301
    assert all(torch.equal(copy(TEXTS)[key], value) for key, value in prepare(TEXTS).items())


@pytest.mark.parametrize("name", NAMES)
def test_every_weight_is_used(name, load):
    # a pooler or head left in place would have no gradient, and distributed training would wait for it
    encoder = load(name).train()
    hidden = encoder(**encoder.prepare(TEXTS))
    sum(layer.square().sum() for layer in hidden.layers).backward()
    assert [key for key, value in encoder.named_parameters() if value.grad is None] == []

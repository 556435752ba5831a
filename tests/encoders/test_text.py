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


CONTEXTS = [
    ("you are so sad", "we", "i am happy"),
    ("i am happy",),
    ("the a so very sad and angry not today", "it"),
    ("we", ""),
]


def joined(prepare, text, longest):
    """Return the tokens of a text behind its context, and how many are the own text's, written a second time."""
    tokenizer = prepare.tokenizer
    separator = tokenizer.eos_token_id if tokenizer.sep_token_id is None else tokenizer.sep_token_id
    *turns, own = text
    first, *rest = tokenizer(own)["input_ids"]
    context = [
        token for turn in turns for token in (*tokenizer(turn, add_special_tokens=False)["input_ids"], separator)
    ]
    while 1 + len(context) + len(rest) > longest:
        context = context[1:]
    return ([first, *context, *rest], len(rest)) if rest else ([*context, first], 1)


@pytest.mark.parametrize("name", ["bert", "roberta", "llama"])
def test_a_context_is_read_before_the_own_text_whose_states_alone_are_returned(name, load, checkpoint):
    encoder = load(name)
    model = AutoModel.from_pretrained(checkpoint(name)).eval()
    together = encoder(**encoder.prepare(CONTEXTS))
    for i, text in enumerate(CONTEXTS):
        tokens, n = joined(encoder.prepare, text, 24)
        with torch.no_grad():
            made = model(torch.tensor([tokens]), output_hidden_states=True)
        assert int(together.lengths[i]) == n
        for mine, other in zip(together.layers, [*made.hidden_states[:-1], made.last_hidden_state], strict=True):
            torch.testing.assert_close(mine[i, :n], other[0, -n:])
        one_by_one = {}
        encoder.each_layer(encoder.prepare([text]), lambda layer, *given, to=one_by_one: to.update({layer: given}))
        assert len(one_by_one) == len(together.layers) and int(one_by_one[0][1]) == n
        torch.testing.assert_close(one_by_one[3][0][0], made.last_hidden_state[0, -n:])


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_a_context_that_is_too_long_loses_its_oldest_tokens_and_the_own_text_none(name, load):
    prepare = load(name).prepare
    own = "i am so very happy today"
    inputs = prepare([("angry " * 30, "you are sad", own), ("we", own * 30), ("not " * 9, "and")])
    for i, text in enumerate([("angry " * 30, "you are sad", own), None, ("not " * 9, "and")]):
        n = int(inputs["attention_mask"][i].sum())
        if text is not None:
            tokens, n_own = joined(prepare, text, 24)
            assert inputs["input_ids"][i, :n].tolist() == tokens and int(inputs["starts"][i]) == n - n_own
    alone = prepare([own * 30])["input_ids"][0].tolist()
    assert inputs["input_ids"][1].tolist() == alone and len(alone) == 24  # the own text fills the input
    assert int(inputs["attention_mask"][0].sum()) == 24


@pytest.mark.parametrize("name", ["bert", "roberta", "llama"])
def test_the_context_changes_the_own_texts_states_and_takes_gradient(name, load):
    encoder = load(name).train()
    one, other = (encoder(**encoder.prepare([(turn, "i am happy")])).layers[-1] for turn in ("we are", "so sad"))
    assert one.shape == other.shape and not torch.allclose(one, other, atol=1e-4)
    inputs = encoder.prepare([("you", "i")])
    encoder(**inputs).layers[-1].square().sum().backward()
    table = next(
        value for key, value in encoder.named_parameters() if "word_embeddings" in key or "embed_tokens" in key
    )
    you = encoder.prepare.tokenizer("you", add_special_tokens=False)["input_ids"]
    assert table.grad[you].abs().sum() > 0

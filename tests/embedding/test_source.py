"""What is embedded: texts that the encoder cuts are counted."""

from types import SimpleNamespace

import torch

from pipeline_lib.embedding.source import from_texts


class Words:
    """A token a word, three at most."""

    longest = 3

    def __call__(self, texts):
        """Return the mask of one text."""
        return {"attention_mask": torch.ones(1, min(len(texts[0].split()), self.longest))}


def test_texts_that_reach_the_longest_are_counted_on_the_terminal(capsys):
    source = from_texts(["a b", "a b c", "a b c d"], SimpleNamespace(prepare=Words()))
    assert source.lengths == [2, 3, 3]
    assert "warning: 2 of 3 texts reach the 3 tokens that the encoder takes" in capsys.readouterr().err


def test_short_texts_are_not_spoken_of(capsys):
    from_texts(["a b"], SimpleNamespace(prepare=Words()))
    assert capsys.readouterr().err == ""

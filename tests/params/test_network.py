"""Settings of the mixers that could not work are refused by name."""

import pytest
from pydantic import ValidationError

from pipeline_lib.params.network import MixerSettings, SharedTransformerSettings


def test_the_heads_divide_the_width():
    with pytest.raises(ValidationError, match="mixer.heads is 3, expected a divisor of mixer.width, which is 128"):
        MixerSettings(heads=3)


def test_rotated_heads_are_of_even_width():
    with pytest.raises(ValidationError, match="mixer.width / mixer.heads is 5, positions want it even"):
        MixerSettings(kind="shared_transformer", width=10, heads=2)
    assert MixerSettings(kind="cross_attention", width=10, heads=2).heads == 2


@pytest.mark.parametrize("share", [0.0, 1.0, -0.5])
def test_some_tokens_are_masked_and_not_all(share):
    with pytest.raises(ValidationError, match="mask_share"):
        SharedTransformerSettings(mask_share=share)

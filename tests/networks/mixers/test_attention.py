"""Self- and cross-attention against torch's own multi-head attention and MERSA's equations written again."""

import math

import pytest
import torch
from torch import nn

from pipeline_lib.networks.mixers.attention import MultiHeadAttention
from pipeline_lib.networks.mixers.cross_attention import CrossAttention
from pipeline_lib.networks.mixers.self_attention import SelfAttention
from pipeline_lib.params.network import MixerSettings
from tests.networks.mixers.batches import SMALL, WIDTHS, batch, one_of


def torchs(attention):
    """Return torch's multi-head attention with the same weights."""
    theirs = nn.MultiheadAttention(attention.query.in_features, attention.heads, batch_first=True).eval()
    parts = attention.query, attention.key, attention.value
    theirs.in_proj_weight.data = torch.cat([part.weight.data for part in parts])
    theirs.in_proj_bias.data = torch.cat([part.bias.data for part in parts])
    theirs.out_proj.load_state_dict(attention.out.state_dict())
    return theirs


@pytest.fixture
def attention():
    torch.manual_seed(0)
    return MultiHeadAttention(8, 2, dropout=0.3).eval()


def test_it_equals_torchs_multi_head_attention(attention):
    queries, keys = torch.randn(3, 4, 8), torch.randn(3, 6, 8)
    mask = torch.arange(6) < torch.tensor([[6], [2], [4]])
    expected, _ = torchs(attention)(queries, keys, keys, key_padding_mask=~mask)
    torch.testing.assert_close(attention(queries, keys, mask), expected, rtol=0, atol=1e-6)


def test_it_is_equation_2_in_each_head(attention):
    tokens = torch.randn(1, 5, 8)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        q, k, v = (layer(tokens)[0, :, part] for layer in (attention.query, attention.key, attention.value))
        weights = torch.exp(torch.einsum("id,jd->ij", q, k) / math.sqrt(4))
        heads.append(torch.einsum("ij,jd->id", weights / weights.sum(dim=1, keepdim=True), v))
    expected = attention.out(torch.cat(heads, dim=1))
    result = attention(tokens, tokens, torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(result[0], expected, rtol=0, atol=1e-6)


def test_who_has_nothing_to_read_reads_zeros_and_gives_no_gradient(attention):
    queries, keys = torch.randn(2, 3, 8, requires_grad=True), torch.randn(2, 4, 8, requires_grad=True)
    read = attention(queries, keys, torch.tensor([[True] * 4, [False] * 4]))
    assert (read[1] == 0).all() and (read[0] != 0).all()
    read.sum().backward()
    assert (keys.grad[1] == 0).all() and torch.isfinite(queries.grad).all()


def test_dropout_is_on_in_training_only(attention):
    tokens, mask = torch.randn(1, 5, 8), torch.ones(1, 5, dtype=torch.bool)
    assert torch.equal(attention(tokens, tokens, mask), attention(tokens, tokens, mask))
    attention.train()
    assert not torch.equal(attention(tokens, tokens, mask), attention(tokens, tokens, mask))


def aligned(mixer, name, values):
    """Return a modality's frames in the common width: linear layer, then layer norm written again."""
    values = values @ mixer.aligned.linear[name].weight.T + mixer.aligned.linear[name].bias
    centred = values - values.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt()


def whole(attention, queries, keys):
    return torchs(attention)(queries, keys, keys)[0]


def test_self_attention_together_is_torchs_over_the_joined_sequences():
    torch.manual_seed(0)
    mixer = SelfAttention(WIDTHS, MixerSettings(kind="self_attention", attend="together", **SMALL)).eval()
    frames = batch([5, 2], [3, 4])
    for i in range(2):
        joined = torch.cat([aligned(mixer, name, value.values) for name, value in one_of(frames, i).items()], dim=1)
        expected = whole(mixer.attention["together"], joined, joined).mean(dim=1)
        torch.testing.assert_close(mixer(frames)[i], expected[0], rtol=0, atol=1e-6)


def test_self_attention_apart_never_lets_the_modalities_see_each_other():
    torch.manual_seed(0)
    mixer = SelfAttention(WIDTHS, MixerSettings(kind="self_attention", attend="apart", **SMALL)).eval()
    frames = batch([5, 0], [3, 4])
    audio, text = (aligned(mixer, name, frames[name].values[:1, : (5, 3)[i]]) for i, name in enumerate(WIDTHS))
    parts = [
        whole(mixer.attention[name], value, value).mean(dim=1) for name, value in (("audio", audio), ("text", text))
    ]
    torch.testing.assert_close(mixer(frames)[:1], torch.cat(parts, dim=1), rtol=0, atol=1e-6)
    assert (mixer(frames)[1, :8] == 0).all() and (mixer(frames)[1, 8:] != 0).any()


def test_without_layer_norm_the_frames_enter_as_the_linear_layer_leaves_them():
    torch.manual_seed(0)
    mixer = SelfAttention(WIDTHS, MixerSettings(kind="self_attention", norm=False, **SMALL)).eval()
    frames = batch([5], [3])
    joined = torch.cat([mixer.aligned.linear[name](part.values) for name, part in frames.items()], dim=1)
    expected = whole(mixer.attention["together"], joined, joined).mean(dim=1)
    torch.testing.assert_close(mixer(frames), expected, rtol=0, atol=1e-6)


@pytest.fixture
def cross():
    torch.manual_seed(0)
    return CrossAttention(WIDTHS, MixerSettings(kind="cross_attention", **SMALL)).eval()


def within(cross, name, values):
    values = aligned(cross, name, values)
    return whole(cross.self_attention[name], values, values)


def test_cross_attention_queries_the_other_modality_both_ways(cross):
    frames = batch([5, 2], [3, 4])
    for i in range(2):
        own = {name: within(cross, name, value.values) for name, value in one_of(frames, i).items()}
        from_text = whole(cross.cross_attention["audio"], own["audio"], own["text"]).mean(dim=1)  # equation 4
        from_audio = whole(cross.cross_attention["text"], own["text"], own["audio"]).mean(dim=1)  # equation 3
        expected = torch.cat([from_text, from_audio], dim=1)
        torch.testing.assert_close(cross(frames)[i], expected[0], rtol=0, atol=1e-6)


def test_with_one_modality_the_cross_attention_falls_back_to_its_self_attended_frames(cross):
    frames = batch([5, 2], [0, 4])
    alone = within(cross, "audio", frames["audio"].values[:1]).mean(dim=1)
    expected = torch.cat([alone, torch.zeros(1, 8)], dim=1)
    torch.testing.assert_close(cross(frames)[:1], expected, rtol=0, atol=1e-6)

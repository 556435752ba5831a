"""Positions against transformers' rotary embedding and the sinusoids written again."""

import math

import pytest
import torch
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

from pipeline_lib.networks.mixers import positions


def vectors(seed, time=9, width=8):
    return torch.randn(2, 3, time, width, generator=torch.Generator().manual_seed(seed))


def test_the_rotation_is_that_of_transformers_llama():
    config = LlamaConfig(
        hidden_size=24, num_attention_heads=3, rope_parameters={"rope_type": "default", "rope_theta": 1e4}
    )
    ids, q, k = torch.arange(9).expand(2, 9), vectors(1), vectors(2)
    cosine, sine = LlamaRotaryEmbedding(config)(q, ids)
    expected = apply_rotary_pos_emb(q, k, cosine, sine)
    turned = positions.rotation(ids, 8)
    torch.testing.assert_close((turned(q), turned(k)), expected, rtol=0, atol=1e-6)


def test_the_rotation_is_the_paper_s_equation_34_on_pairs_half_a_head_apart():
    q = vectors(3)
    result = positions.rotation(torch.arange(9).expand(2, 9), 8)(q)
    for position in (0, 1, 8):
        for i in range(4):
            angle = position * 10000.0 ** (-2 * i / 8)
            pair = torch.complex(q[..., position, i], q[..., position, i + 4]) * complex(
                math.cos(angle), math.sin(angle)
            )
            torch.testing.assert_close(result[..., position, i], pair.real, rtol=0, atol=1e-6)
            torch.testing.assert_close(result[..., position, i + 4], pair.imag, rtol=0, atol=1e-6)


@pytest.mark.parametrize("shift", [1, 17, 1500])
def test_attention_logits_do_not_change_when_all_positions_shift(shift):
    q, k, ids = vectors(4), vectors(5), torch.arange(9).expand(2, 9)
    here, there = positions.rotation(ids, 8), positions.rotation(ids + shift, 8)
    logits = here(q) @ here(k).transpose(2, 3)
    torch.testing.assert_close(there(q) @ there(k).transpose(2, 3), logits, rtol=0, atol=2e-6)
    assert not torch.allclose(there(q) @ here(k).transpose(2, 3), logits, atol=1e-3)  # of one side alone they do


def test_in_float64_a_shift_leaves_the_logits_to_the_precision_of_the_table():
    q, k, ids = vectors(4).double(), vectors(5).double(), torch.arange(9).expand(2, 9)
    here, there = positions.rotation(ids, 8), positions.rotation(ids + 100_000, 8)
    logits = here(q) @ here(k).transpose(2, 3)
    torch.testing.assert_close(there(q) @ there(k).transpose(2, 3), logits, rtol=0, atol=2e-6)


def test_a_rotation_keeps_lengths():
    q = vectors(6)
    turned = positions.rotation(torch.arange(9).expand(2, 9), 8)(q)
    torch.testing.assert_close(turned.norm(dim=-1), q.norm(dim=-1))


def test_sinusoids_written_again():
    result = positions.sinusoids(torch.tensor([[0, 3, 1499]]), 6)
    for j, position in enumerate((0, 3, 1499)):
        for i in range(3):
            angle = position / 10000 ** (2 * i / 6)
            assert result[0, j, 2 * i].item() == pytest.approx(math.sin(angle), abs=1e-6)
            assert result[0, j, 2 * i + 1].item() == pytest.approx(math.cos(angle), abs=1e-6)


def test_position_ids_count_the_present_tokens():
    mask = torch.tensor([[True, True, False, False, True], [True, False, True, True, True]])
    assert positions.position_ids(mask)[mask].tolist() == [0, 1, 2, 0, 1, 2, 3]

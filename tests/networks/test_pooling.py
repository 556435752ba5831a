"""Pooling by hand, and proof against what stands in the padding."""

import numpy as np
import pytest
import torch

from pipeline_lib.networks.pooling import AttentivePooling, LastTokenPooling, MeanPooling, build
from pipeline_lib.params.network import PoolingSettings

FRAMES = torch.tensor([[[1.0, 2.0], [3.0, 6.0], [9.0, 9.0]], [[2.0, 2.0], [2.0, 2.0], [5.0, 2.0]]])
MASK = torch.tensor([[True, True, False], [True, True, True]])
KINDS = [
    PoolingSettings(kind="attentive", attention_width=4),
    PoolingSettings(kind="attentive", attention_width=4, statistics=True),
    PoolingSettings(kind="mean"),
    PoolingSettings(kind="mean_std"),
    PoolingSettings(kind="mean_max_sum"),
    PoolingSettings(kind="mean_max"),
    PoolingSettings(kind="last_token"),
    PoolingSettings(kind="attentive", attention_width=4, statistics=True, batch_norm=True),
    PoolingSettings(kind="mean", projection=3),
]


def test_the_mean_leaves_padding_out():
    torch.testing.assert_close(MeanPooling(2)(FRAMES, MASK), torch.tensor([[2.0, 4.0], [3.0, 2.0]]))


def test_the_standard_deviation_is_the_populations():
    # 1 and 3 differ from their mean by 1, 2 and 6 by 2; 2 2 5 has variance 2, a constant has 0 (1e-4 under its root)
    pooled = MeanPooling(2, deviation=True)(FRAMES, MASK)
    torch.testing.assert_close(pooled[:, 2:], torch.tensor([[1.0, 2.0], [2.0**0.5, 1e-4]]))


def test_the_mean_and_the_highest_are_added_or_stand_one_behind_the_other():
    both = build(PoolingSettings(kind="mean_max"), 2)(FRAMES, MASK)
    torch.testing.assert_close(both, torch.tensor([[2.0, 4.0, 3.0, 6.0], [3.0, 2.0, 5.0, 2.0]]))
    added = build(PoolingSettings(kind="mean_max_sum"), 2)(FRAMES, MASK)
    torch.testing.assert_close(added, torch.tensor([[5.0, 10.0], [8.0, 4.0]]))


def test_batch_norm_brings_each_feature_of_the_pooled_vectors_to_one_scale_by_hand():
    # means over time are 2, 4 and 3, 2: each feature is the mean plus and minus its deviation, so 1, -1 but for eps
    pooling = build(PoolingSettings(kind="mean", batch_norm=True), 2).train()
    torch.testing.assert_close(pooling(FRAMES, MASK), torch.tensor([[-1.0, 1.0], [1.0, -1.0]]), rtol=1e-4, atol=1e-4)
    # running statistics take a tenth of the batch's: means 2.5 and 3, unbiased variances 0.5 and 2
    torch.testing.assert_close(pooling.norm.running_mean, torch.tensor([0.25, 0.3]))
    torch.testing.assert_close(pooling.norm.running_var, torch.tensor([0.95, 1.1]))
    alone = torch.tensor([[(2 - 0.25) / (0.95 + 1e-5) ** 0.5, (4 - 0.3) / (1.1 + 1e-5) ** 0.5]])
    torch.testing.assert_close(pooling(FRAMES[:1], MASK[:1]), alone)  # has no statistics
    torch.testing.assert_close(pooling.norm.running_mean, torch.tensor([0.25, 0.3]))
    torch.testing.assert_close(pooling.eval()(FRAMES, MASK)[:1], alone)


def test_a_projection_is_a_linear_layer_and_relu_on_each_frame_before_the_mean():
    torch.manual_seed(0)
    pooling = build(PoolingSettings(kind="mean", projection=3), 2)
    w, b = (p.detach().double().numpy() for p in (pooling.projection.weight, pooling.projection.bias))
    for row, length in ((0, 2), (1, 3)):
        frames = FRAMES[row, :length].double().numpy()
        expected = sum(np.maximum(w @ frame + b, 0) for frame in frames) / length
        np.testing.assert_allclose(pooling(FRAMES, MASK)[row].detach().numpy(), expected, rtol=1e-5)
    assert pooling.width == 3 and build(PoolingSettings(kind="mean_std", projection=3), 2).width == 6


def test_the_last_token_is_found_under_padding_on_either_side():
    torch.testing.assert_close(LastTokenPooling(2)(FRAMES, MASK), torch.tensor([[3.0, 6.0], [5.0, 2.0]]))
    left = LastTokenPooling(2)(FRAMES.flip(1), MASK.flip(1))
    torch.testing.assert_close(left, torch.tensor([[1.0, 2.0], [2.0, 2.0]]))


def test_attentive_pooling_is_the_equation_written_again():
    torch.manual_seed(0)
    pooling = AttentivePooling(2, 5, deviation=True)
    w, b, v = (p.detach().double().numpy() for p in (pooling.hidden.weight, pooling.hidden.bias, pooling.score.weight))
    for row, length in ((0, 2), (1, 3)):
        h = FRAMES[row, :length].double().numpy()
        e = np.tanh(h @ w.T + b) @ v[0]
        a = np.exp(e) / np.exp(e).sum()
        mean = a @ h
        deviation = np.sqrt(np.maximum(a @ (h - mean) ** 2, 1e-8))
        result = pooling(FRAMES, MASK)[row].detach().numpy()
        np.testing.assert_allclose(result, np.concatenate([mean, deviation]), rtol=1e-4)


def test_attention_weights_sum_to_one_and_are_zero_on_padding():
    weights = AttentivePooling(2, 5).weights(FRAMES, MASK)
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(2))
    assert weights[0, 2] == 0


@pytest.mark.parametrize("settings", KINDS, ids=lambda s: f"{s.kind}{'+std' if s.statistics else ''}")
def test_what_stands_in_the_padding_does_not_matter(settings):
    torch.manual_seed(0)
    pooling = build(settings, 2)
    other = FRAMES.clone()
    other[0, 2] = 1e4
    assert torch.equal(pooling(FRAMES, MASK), pooling(other, MASK))
    assert pooling(FRAMES, MASK).shape == (2, pooling.width)


@pytest.mark.parametrize("settings", KINDS, ids=lambda s: f"{s.kind}{'+std' if s.statistics else ''}")
def test_gradients_are_finite_where_frames_do_not_differ(settings):
    frames = torch.ones(2, 3, 2, requires_grad=True)
    build(settings, 2)(frames, MASK).sum().backward()
    assert torch.isfinite(frames.grad).all()

"""Pooling, concatenation, modality attention and late fusion by hand."""

import pytest
import torch

from pipeline_lib.networks.frames import Frames, pooled, pooled_width
from pipeline_lib.networks.mixers.concatenation import Concatenation
from pipeline_lib.networks.mixers.late import Late
from pipeline_lib.networks.mixers.modality_attention import ModalityAttention
from pipeline_lib.params.network import MixerSettings
from tests.networks.mixers.batches import SMALL, WIDTHS, batch, one_of

FRAMES = Frames(
    torch.tensor([[[1.0, -2.0], [3.0, -6.0], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]]]),
    torch.tensor([[True, True, False], [False, False, False]]),
)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("mean", [2.0, -4.0]), ("mean_max_sum", [5.0, -6.0]), ("mean_max", [2.0, -4.0, 3.0, -2.0])],
)
def test_means_and_maxima_leave_padding_out_and_an_absent_modality_is_zeros(kind, expected):
    # mean of 1 and 3 is 2, of -2 and -6 is -4; the highest are 3 and -2, not the padding's 0
    result = pooled(FRAMES, kind)
    torch.testing.assert_close(result, torch.tensor([expected, [0.0] * len(expected)]))
    assert result.shape[1] == pooled_width(kind, 2)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match="pooling is 'median', expected mean, mean_max_sum or mean_max"):
        pooled(FRAMES, "median")


def test_concatenation_is_each_modalitys_pooled_frames_with_zeros_for_the_absent():
    mixer = Concatenation(WIDTHS, MixerSettings(kind="concatenation", pooling="mean_max_sum"))
    frames = batch([3, 0], [2, 4])
    result = mixer(frames)
    for i in range(2):
        alone = {name: value.values[0] for name, value in one_of(frames, i).items()}
        expected = {name: value.mean(dim=0) + value.max(dim=0).values for name, value in alone.items()}
        audio = expected.get("audio", torch.zeros(6))
        torch.testing.assert_close(result[i], torch.cat([audio, expected["text"]]), rtol=0, atol=1e-6)


def test_modality_attention_is_the_softmax_of_one_score_a_modality():
    torch.manual_seed(0)
    mixer = ModalityAttention(WIDTHS, MixerSettings(kind="modality_attention", **SMALL)).eval()
    frames = batch([3, 5], [2, 4])
    h = []
    for name, part in frames.items():
        mean = torch.stack([part.values[i, part.mask[i]].mean(dim=0) for i in range(2)])
        first, last = mixer.layers[name][0], mixer.layers[name][3]
        hidden = torch.clamp_min(mean @ first.weight.T + first.bias, 0)
        h.append(torch.clamp_min(hidden @ last.weight.T + last.bias, 0))
    scores = torch.exp(torch.stack([vector @ mixer.score.weight[0] + mixer.score.bias for vector in h], dim=1))  # (9)
    alpha = scores / scores.sum(dim=1, keepdim=True)
    torch.testing.assert_close(mixer.weights(frames), alpha, rtol=0, atol=1e-6)
    torch.testing.assert_close(mixer(frames), h[0] * alpha[:, :1] + h[1] * alpha[:, 1:], rtol=0, atol=1e-6)


def test_an_absent_modality_has_no_attention_and_the_others_have_it_all():
    torch.manual_seed(0)
    mixer = ModalityAttention(WIDTHS, MixerSettings(kind="modality_attention", **SMALL)).eval()
    weights = mixer.weights(batch([3, 0, 2], [0, 2, 4]))
    assert weights[0].tolist() == [1.0, 0.0] and weights[1].tolist() == [0.0, 1.0]
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))


@pytest.fixture
def late():
    torch.manual_seed(0)
    return Late(WIDTHS, MixerSettings(kind="late", **SMALL)).eval()


def test_late_fusion_is_the_cls_of_each_modalitys_own_transformer(late):
    frames = batch([5, 0, 3], [2, 4, 0])
    result = late(frames)
    for i, name in ((0, "audio"), (0, "text"), (1, "text"), (2, "audio")):
        expected = late.transformers[name]({name: one_of(frames, i)[name]})[0]
        part = result[i, :8] if name == "audio" else result[i, 8:]
        torch.testing.assert_close(part, expected, rtol=0, atol=1e-6)
    assert (result[1, :8] == 0).all() and (result[2, 8:] == 0).all()

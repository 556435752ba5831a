"""What holds for every mixer: it takes what an utterance has, and nothing else changes what comes out."""

from typing import get_args

import pytest
import torch

from pipeline_lib.networks.frames import Frames
from pipeline_lib.networks.mixers.build import build
from pipeline_lib.params.network import MixerSettings
from tests.networks.mixers.batches import KINDS, NAMES, WIDTHS, batch, one_of, refilled

pytestmark = pytest.mark.parametrize("settings", KINDS, ids=NAMES)
LENGTHS = [7, 0, 3, 1, 5], [2, 3, 0, 4, 1]


def mixer_of(settings, seed=1):
    torch.manual_seed(seed)
    return build(settings, WIDTHS).eval()


def test_its_width_is_the_width_of_what_comes_out(settings):
    mixer = mixer_of(settings)
    assert mixer(batch(*LENGTHS)).shape == (5, mixer.width)


@pytest.mark.parametrize("filling", [1e30, float("inf"), float("nan")])
def test_the_columns_of_an_absent_modality_and_of_padding_change_no_bit(settings, filling):
    mixer, frames = mixer_of(settings), batch(*LENGTHS)
    assert torch.equal(mixer(frames), mixer(refilled(frames, filling)))


def test_one_utterance_alone_equals_the_same_in_a_padded_batch(settings):
    mixer, frames = mixer_of(settings), batch(*LENGTHS, longest=(11, 9))
    together = mixer(frames)
    for i in range(5):
        torch.testing.assert_close(mixer(one_of(frames, i))[0], together[i], rtol=0, atol=1e-6)


def test_an_utterance_does_not_depend_on_its_neighbours(settings):
    mixer, frames = mixer_of(settings), batch(*LENGTHS)
    other = {name: Frames(part.values.clone(), part.mask) for name, part in frames.items()}
    for part in other.values():
        part.values[1:] += 1.0
    torch.testing.assert_close(mixer(frames)[0], mixer(other)[0], rtol=0, atol=1e-6)


def test_no_gradient_reaches_what_is_not_there_and_all_others_are_finite(settings):
    mixer, frames = mixer_of(settings).train(), refilled(batch(*LENGTHS), float("nan"))
    for part in frames.values():
        part.values.requires_grad_()
    mixer(frames).square().sum().backward()
    for part in frames.values():
        assert (part.values.grad[~part.mask] == 0).all()
        assert torch.isfinite(part.values.grad).all() and (part.values.grad[part.mask] != 0).any()
    assert all(torch.isfinite(parameter.grad).all() for parameter in mixer.parameters() if parameter.grad is not None)


def test_both_modalities_and_every_of_their_frames_count(settings):
    mixer, frames = mixer_of(settings), batch([5], [4])
    for name in frames:
        for j in range(frames[name].mask.shape[1]):
            changed = {modality: Frames(part.values.clone(), part.mask) for modality, part in frames.items()}
            changed[name].values[0, j] += 3.0
            assert not torch.allclose(mixer(changed), mixer(frames), atol=1e-5)


@pytest.mark.parametrize("there", ["audio", "text"])
def test_a_modality_left_out_is_one_without_frames(settings, there):
    mixer, lengths = mixer_of(settings), ([4, 2], [0, 0])
    frames = batch(*(lengths if there == "audio" else lengths[::-1]))
    torch.testing.assert_close(mixer({there: frames[there]}), mixer(frames), rtol=0, atol=0)


def test_an_utterance_without_any_modality_is_refused_by_its_place(settings):
    with pytest.raises(ValueError, match=r"utterances at \[1\] of the batch have no frame of audio, text"):
        mixer_of(settings)(batch([2, 0, 1], [1, 0, 0]))


def test_a_mixer_of_one_modality_is_a_mixer_too(settings):
    torch.manual_seed(0)
    mixer = build(settings, {"audio": 6}).eval()
    frames = {"audio": batch([3, 2], [1, 1])["audio"]}
    assert mixer(frames).shape == (2, mixer.width)


def test_every_kind_is_tested(settings):
    expected = set(get_args(MixerSettings.model_fields["kind"].annotation))
    assert expected == {settings.kind for settings in KINDS}

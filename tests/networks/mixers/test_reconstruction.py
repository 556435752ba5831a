"""The masked autoencoder of a shared transformer: masks, targets, estimates, and what collapses."""

import pytest
import torch

from pipeline_lib.losses import combined
from pipeline_lib.networks.frames import Frames
from pipeline_lib.networks.mixers import shared_transformer
from pipeline_lib.networks.mixers.shared_transformer import drawn
from tests.networks.mixers.batches import WIDTHS, batch, one_of
from tests.networks.mixers.shared_transformers import transformer


@pytest.mark.parametrize("share", [0.3, 0.5, 0.9])
def test_the_masked_share_is_drawn_among_the_tokens_that_are_there(share):
    mask = torch.arange(20) < torch.tensor([[20], [10], [1], [0], [3]])
    hidden = drawn(mask, share, torch.Generator().manual_seed(0))
    assert not (hidden & ~mask).any()
    expected = {0.3: [6, 3, 1, 0, 1], 0.5: [10, 5, 1, 0, 2], 0.9: [18, 9, 1, 0, 3]}[share]
    assert hidden.sum(dim=1).tolist() == expected


def test_every_token_is_masked_equally_often_and_a_seed_draws_the_same():
    mask, generator = torch.ones(4000, 6, dtype=torch.bool), torch.Generator().manual_seed(1)
    often = drawn(mask, 0.5, generator).float().mean(dim=0)
    torch.testing.assert_close(often, torch.full((6,), 0.5), rtol=0, atol=0.03)  # deviation of a mean: 0.008
    again = [drawn(mask, 0.5, torch.Generator().manual_seed(2)) for _ in range(2)]
    assert torch.equal(*again) and not torch.equal(again[0], drawn(mask, 0.5, generator))
    torch.manual_seed(3)
    first = drawn(mask, 0.5)
    torch.manual_seed(3)
    assert torch.equal(first, drawn(mask, 0.5))


def rebuilt(mixer, frames, seed=0):
    return mixer.reconstruct(frames, torch.Generator().manual_seed(seed))


def test_the_target_is_the_encoders_frames_and_the_estimate_has_their_shape():
    mixer, frames = transformer(stride=4), batch([7, 0, 3], [2, 3, 0])
    for name, value in rebuilt(mixer, frames).items():
        assert torch.equal(value.target[value.mask], frames[name].values[frames[name].mask])
        assert value.estimate.shape == value.target.shape
        assert torch.equal(value.mask, frames[name].mask)  # equation 5 sums over all positions


def test_the_estimate_of_audio_is_k_linear_maps_of_each_token_and_of_text_one():
    mixer, frames, read = transformer(stride=4), batch([7], [2]), {}
    for name, part in mixer.rebuilding.items():
        part.register_forward_pre_hook(lambda _, inputs, name=name: read.update({name: inputs[0][0]}))
    result = rebuilt(mixer, frames)
    weight, bias = mixer.rebuilding["audio"].weight, mixer.rebuilding["audio"].bias  # (8, 6, 4)
    for j in range(7):  # equation 4: frame j is made of token j // 4
        expected = torch.einsum("i,io->o", read["audio"][:, j // 4], weight[:, :, j % 4]) + bias
        torch.testing.assert_close(result["audio"].estimate[0, j], expected, rtol=0, atol=1e-6)
    expected = read["text"] @ mixer.rebuilding["text"].weight.T + mixer.rebuilding["text"].bias
    torch.testing.assert_close(result["text"].estimate[0], expected, rtol=0, atol=1e-6)


def test_the_projected_tokens_are_the_target_where_set():
    mixer, frames = transformer(stride=4, target="projected"), batch([7, 0, 3], [2, 3, 0])
    tokens = mixer.tokens(frames)
    for name, value in rebuilt(mixer, frames).items():
        assert torch.equal(value.target, tokens[name].values) and torch.equal(value.mask, tokens[name].mask)
        assert value.target.requires_grad  # so that it may collapse, as the paper reports


def test_only_masked_positions_count_where_set_and_of_audio_all_frames_of_a_masked_token():
    frames = batch([7, 8, 1], [2, 5, 4])
    everything = rebuilt(transformer(stride=4), frames)
    masked = rebuilt(transformer(stride=4, reconstruct="masked"), frames)
    assert masked["text"].mask.sum(dim=1).tolist() == [1, 3, 2]
    audio = masked["audio"].mask
    assert audio[1, :4].all() != audio[1, 4:].all()  # one of two tokens
    assert audio[0].tolist() in ([True] * 4 + [False] * 4, [False] * 4 + [True] * 3 + [False])
    assert audio[2].tolist() == [True] + [False] * 7
    assert torch.equal(masked["audio"].estimate, everything["audio"].estimate)


def test_what_is_masked_is_hidden_from_every_estimate():
    mixer, frames = transformer(stride=2, reconstruct="masked"), batch([8], [6])
    before = rebuilt(mixer, frames)
    changed = {name: Frames(part.values.clone(), part.mask) for name, part in frames.items()}
    for name in changed:
        changed[name].values[before[name].mask] += 5.0
    after = rebuilt(mixer, changed)
    for name in frames:
        assert torch.equal(before[name].mask, after[name].mask) and before[name].mask.any()
        assert torch.equal(before[name].estimate, after[name].estimate)
    shown = {name: Frames(part.values.clone(), part.mask) for name, part in frames.items()}
    shown["text"].values[~before["text"].mask] += 5.0
    assert not torch.allclose(rebuilt(mixer, shown)["audio"].estimate, before["audio"].estimate, atol=1e-4)


def test_neither_padding_nor_an_absent_modality_reaches_a_reconstruction():
    mixer, frames = transformer(), batch([7, 0, 3], [2, 3, 0])
    other = {
        name: Frames(part.values.masked_fill(~part.mask[..., None], float("nan")), part.mask)
        for name, part in frames.items()
    }
    for one, two in zip(rebuilt(mixer, frames).values(), rebuilt(mixer, other).values(), strict=True):
        assert torch.equal(one.estimate, two.estimate) and torch.equal(one.target, two.target)


def test_one_utterance_alone_is_reconstructed_as_in_a_padded_batch(monkeypatch):
    def every_second(mask, *_):  # drawn masks depend on the batch's shape, these do not
        return mask & (torch.arange(mask.shape[1]) % 2 == 0)

    monkeypatch.setattr(shared_transformer, "drawn", every_second)
    mixer, frames = transformer(reconstruct="masked"), batch([7, 0, 3, 12], [2, 3, 0, 8])
    together = rebuilt(mixer, frames)
    for i in range(4):
        for name, alone in rebuilt(mixer, one_of(frames, i)).items():
            n = alone.mask.shape[1]
            torch.testing.assert_close(alone.estimate[0], together[name].estimate[i, :n], rtol=0, atol=1e-6)
            assert torch.equal(alone.mask[0], together[name].mask[i, :n]) and not together[name].mask[i, n:].any()


def widest(tokens):
    """Return the largest distance between two tokens of an utterance, mean over utterances: the paper's table 2."""
    return torch.stack(
        [torch.cdist(values[mask], values[mask]).max() for values, mask in zip(tokens.values, tokens.mask, strict=True)]
    ).mean()


@pytest.mark.parametrize(("target", "collapses"), [("projected", True), ("encoder", False)])
def test_reconstructing_the_projected_tokens_collapses_them_and_reconstructing_the_encoders_frames_does_not(
    target, collapses
):
    mixer, frames = transformer(target=target).train(), batch([8] * 6, [4] * 6)
    optimiser = torch.optim.Adam(mixer.parameters(), lr=1e-2)
    before = {name: widest(value).item() for name, value in mixer.tokens(frames).items()}
    for _ in range(100):
        parts = {name: (value.estimate, value.target, value.mask) for name, value in mixer.reconstruct(frames).items()}
        optimiser.zero_grad()
        combined({"reconstruction": parts}, {}, {"reconstruction": 1.0})[0].backward()
        optimiser.step()
    after = {name: widest(value).item() for name, value in mixer.tokens(frames).items()}
    for name in WIDTHS:
        assert after[name] < 0.1 * before[name] if collapses else after[name] > before[name]

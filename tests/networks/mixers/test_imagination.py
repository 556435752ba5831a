"""Imagined modalities against the cascade's equation written again, and what the two losses reach."""

import pytest
import torch
from torch.nn.functional import leaky_relu, relu

from pipeline_lib.losses import combined
from pipeline_lib.networks.mixers.imagination import Cascade, Imagination
from pipeline_lib.params.network import ImaginationSettings, MixerSettings
from tests.networks.mixers.batches import SMALL, WIDTHS, batch

OWN = ImaginationSettings(autoencoders=3, widths=[6, 4])
MIXED = [3, 0, 2, 4], [2, 3, 0, 1]  # the first and the last utterance have both


def imagination(seed=0, **own):
    torch.manual_seed(seed)
    settings = MixerSettings(kind="imagination", imagination=OWN.model_copy(update=own), **SMALL)
    return Imagination(WIDTHS, settings).eval()


def layer(module, name, vector):
    return module.get_parameter(f"{name}.weight") @ vector + module.get_parameter(f"{name}.bias")


def specific(mixer, name, frames):
    """Return the specific vector of one utterance's frames, (time, width)."""
    encoder = mixer.specificity[name]
    return layer(encoder, "2", leaky_relu(layer(encoder, "0", frames.mean(0))))


def invariant(mixer, name, frames):
    encoder = mixer.invariance
    hidden = leaky_relu(layer(encoder, "0", layer(mixer.projection, name, frames.mean(0))))
    hidden = (hidden - hidden.mean()) / (hidden.var(unbiased=False) + 1e-5).sqrt()
    hidden = hidden * encoder[2].weight + encoder[2].bias
    return leaky_relu(layer(encoder, "3", hidden))


def cascade(module, h):
    """MMIN, section 3.3: each autoencoder reads the input and the sum of what all earlier ones gave."""
    given = []
    for autoencoder in module.autoencoders:
        x = h + torch.stack(given).sum(0) if given else h
        code = layer(autoencoder, "2", leaky_relu(layer(autoencoder, "0", x)))  # 8 -> 6 -> 4
        given.append(layer(autoencoder, "5", relu(layer(autoencoder, "3", code))))  # 4 -> 6 -> 8
    return layer(module.transition, "2", relu(layer(module.transition, "0", h + torch.stack(given).sum(0))))


def one(frames, name, i):
    return frames[name].values[i, frames[name].mask[i]]


@pytest.mark.parametrize(("there", "gone"), [("audio", "text"), ("text", "audio")])
def test_a_missing_modality_is_what_the_cascade_makes_of_the_others_specific_and_invariant_vector(there, gone):
    mixer = imagination()
    frames = batch([4], [0]) if there == "audio" else batch([0], [3])
    own, same = (make(mixer, there, one(frames, there, 0)) for make in (specific, invariant))
    parts = {there: own, gone: cascade(mixer.imagination[gone], own + same)}
    expected = torch.cat([parts["audio"], parts["text"], same])
    torch.testing.assert_close(mixer(frames)[0], expected, rtol=0, atol=2e-6)


def test_with_both_there_nothing_is_imagined_and_the_invariant_vector_is_the_mean_of_both():
    mixer, frames = imagination(), batch([4], [3])
    own = [specific(mixer, name, one(frames, name, 0)) for name in WIDTHS]
    same = [invariant(mixer, name, one(frames, name, 0)) for name in WIDTHS]
    expected = torch.cat([*own, (same[0] + same[1]) / 2])
    torch.testing.assert_close(mixer(frames)[0], expected, rtol=0, atol=2e-6)
    for parameter in mixer.imagination.parameters():
        parameter.data.zero_()
    torch.testing.assert_close(mixer(frames)[0], expected, rtol=0, atol=2e-6)


def test_what_is_imagined_in_training_is_what_is_imagined_of_who_lacks_the_modality():
    mixer, frames = imagination(), batch(*MIXED)
    estimate, target = mixer.imagined(frames)
    alone = [mixer({there: frames[there].of(torch.tensor([0, 3]))}) for there in ("text", "audio")]
    expected = torch.cat([alone[0][:, :8], alone[1][:, 8:16]])  # audio from text, then text from audio
    torch.testing.assert_close(estimate, expected, rtol=0, atol=1e-6)
    both = mixer({name: part.of(torch.tensor([0, 3])) for name, part in frames.items()})
    torch.testing.assert_close(target, torch.cat([both[:, :8], both[:, 8:16]]), rtol=0, atol=1e-6)


def test_the_gradient_of_the_imagination_does_not_reach_its_target():
    mixer, frames = imagination(), batch([3, 2], [2, 3])
    estimate, target = mixer.imagined(frames)
    assert not target.requires_grad
    audio, text = (estimate[:2] - target[:2]), (estimate[2:] - target[2:])
    parameters = [*mixer.specificity["audio"].parameters(), *mixer.specificity["text"].parameters()]
    for error, source in ((audio, "text"), (text, "audio")):
        gradients = torch.autograd.grad(error.square().sum(), parameters, retain_graph=True, allow_unused=True)
        own, other = gradients[:4], gradients[4:]
        reached, spared = (own, other) if source == "audio" else (other, own)
        assert all((gradient != 0).any() for gradient in reached)
        assert all(gradient is None or not gradient.any() for gradient in spared)


@pytest.mark.parametrize("filling", [1e30, float("nan")])
def test_who_lacks_a_modality_teaches_nothing_of_it(filling):
    mixer, frames = imagination(), batch(*MIXED)
    pairs = {name: part.of(torch.tensor([0, 3])) for name, part in frames.items()}
    for part in frames.values():
        part.values.masked_fill_(~part.mask[..., None], filling)
    for result, expected in zip(mixer.imagined(frames), mixer.imagined(pairs)):
        torch.testing.assert_close(result, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("lengths", [([2, 3], [0, 0]), ([0, 2], [3, 0])])
def test_without_an_utterance_that_has_both_there_is_nothing_to_imagine(lengths):
    estimate, target = imagination().imagined(batch(*lengths))
    assert estimate.shape == target.shape == (0, 8)
    loss = combined({"imagination": (estimate, target)}, {}, {"imagination": 1.0})[0]
    loss.backward()
    assert loss.item() == 0


def test_the_two_losses_teach_to_imagine_and_bring_the_modalities_of_an_utterance_together():
    frames, lengths = {}, [3] * 8
    hidden = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))  # what both modalities tell of
    for name, length in batch(lengths, lengths).items():
        mixing = torch.randn(4, length.values.shape[2], generator=torch.Generator().manual_seed(len(name)))
        frames[name] = type(length)(0.1 * length.values + (hidden @ mixing)[:, None], length.mask)
    mixer = imagination()
    optimiser = torch.optim.Adam(mixer.parameters(), 0.01)
    losses = []
    for _ in range(150):
        audio, text = mixer.invariant(frames).values()
        vectors = torch.stack([audio, text], dim=1)
        result = {"imagination": mixer.imagined(frames), "invariance": (vectors, None, 0.37)}
        loss, parts = combined(result, {}, {"imagination": 1.0, "invariance": 1.0})
        losses.append({name: part.item() for name, part in parts.items()})
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert losses[-1]["imagination"] < losses[0]["imagination"] / 4
    cosines = torch.nn.functional.cosine_similarity(audio[:, None], text[None], dim=2)
    others = cosines[~torch.eye(8, dtype=torch.bool)].mean()
    assert cosines.diag().mean() > 0.9 and cosines.diag().mean() - others > 0.4
    assert losses[-1]["invariance"] < 1.0 < losses[0]["invariance"]  # chance is ln 8, 2.08


def test_a_cascade_has_its_autoencoders_widths():
    module = Cascade(8, [6, 4], 5)
    assert len(module.autoencoders) == 5
    weights = [layer.weight.shape for layer in module.autoencoders[0] if isinstance(layer, torch.nn.Linear)]
    assert weights == [(6, 8), (4, 6), (6, 4), (8, 6)]

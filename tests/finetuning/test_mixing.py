"""Mixed utterances: which, how their audio is added, and what their targets are."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pipeline_lib.errors import InputError
from pipeline_lib.experts.loading import Batch, Loader
from pipeline_lib.finetuning import sampling
from pipeline_lib.finetuning.augmentation.mixing import Mixing, mixed
from pipeline_lib.finetuning.batch_targets import BatchTargets
from pipeline_lib.finetuning.targets import targets_of
from pipeline_lib.params.augmentation import MixingSettings, SpeedSettings
from pipeline_lib.params.training import PhaseSettings
from tests.finetuning import corpora

NAN = np.nan
ROWS = np.arange(100, 400)
CLASSES = np.repeat([0, 1, 2], [240, 45, 15])
LENGTHS = np.random.default_rng(0).uniform(0.5, 9.0, len(ROWS))


def epoch(probability, alpha=1.0, number=0, **phase):
    settings = PhaseSettings(**{"batch_size": 10, "chunk_s": [2.0, 4.0], **phase})
    how = (settings, (1, 0, number), SpeedSettings(share=0.5), MixingSettings(probability=probability, alpha=alpha))
    return sampling.epoch(ROWS, CLASSES, LENGTHS, *how)


def joined(plan, name):
    return np.concatenate([getattr(batch, name) for batch in plan])


def test_mixing_leaves_all_other_draws_of_an_epoch_as_they_are():
    for off, on in zip(epoch(0.0), epoch(0.5), strict=True):
        assert off.partners is None and off.shares is None
        assert off.speed == on.speed
        for name in ("rows", "starts_s", "durations_s", "seeds"):
            assert getattr(off, name).tobytes() == getattr(on, name).tobytes()


@pytest.mark.parametrize("sampler", ["natural", "balanced"])
def test_partners_have_the_labels_that_the_sampler_draws_and_nobody_is_its_own(sampler):
    plan = [batch for number in range(20) for batch in epoch(0.4, number=number, sampler=sampler)]
    rows, partners, shares = (joined(plan, name) for name in ("rows", "partners", "shares"))
    chosen = partners >= 0
    assert chosen.mean() == pytest.approx(0.4, abs=0.02)
    assert not (partners == rows).any()
    np.testing.assert_array_equal(shares[~chosen], 1.0)
    expected = [0.8, 0.15, 0.05] if sampler == "natural" else [1 / 3] * 3
    drawn = np.bincount(CLASSES[partners[chosen] - 100], minlength=3) / chosen.sum()
    np.testing.assert_allclose(drawn, expected, atol=0.03)


@pytest.mark.parametrize("alpha", [0.3, 1.0, 8.0])
def test_a_chunks_own_share_has_betas_mean_and_variance(alpha):
    plan = [batch for number in range(10) for batch in epoch(1.0, alpha, number)]
    shares = joined(plan, "shares")[joined(plan, "partners") >= 0]
    assert shares.mean() == pytest.approx(0.5, abs=0.02)
    assert shares.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_waveforms_are_added_by_their_shares_and_a_shorter_one_lies_in_the_chunk():
    first, other = np.array([1, 2, 3, 4], np.float32), np.array([10, 20], np.float32)
    np.testing.assert_allclose(mixed(first, other, 0.25, 0.0), [7.75, 15.5, 0.75, 1.0])
    np.testing.assert_allclose(mixed(first, other, 0.25, 0.99), [0.25, 8.0, 15.75, 1.0])  # of 2 free samples 1
    np.testing.assert_allclose(mixed(other, first, 0.5, 0.5), [5.5, 11.0])
    assert mixed(first, other, 0.25, 0.0).dtype == np.float32


def sounding(row, start_s, duration_s):
    """Stand in for decoding: row r sounds as r plus the time in seconds."""
    first, n = round(start_s * 16_000), round((0.5 if duration_s is None else duration_s) * 16_000)
    samples = np.arange(first, min(first + n, (row + 1) * 8_000))  # row r lasts (r + 1) / 2 seconds
    return (np.float32(row + samples / 16_000),)


def test_the_loader_mixes_whole_chunks_with_a_stretch_of_the_partner_the_same_for_the_same_seed():
    utterances = SimpleNamespace(read=sounding, lengths=np.arange(1, 9) / 2)
    seeds = np.array([11, 12, 13])
    batch = Batch(
        np.array([0, 3, 1]), np.zeros(3), np.full(3, 0.5), seeds, 1.0, np.array([7, -1, 5]), np.array([0.6, 1, 0.2])
    )
    loader = Loader([batch], utterances, lambda samples: {"waveforms": samples}, mix=Mixing(utterances))
    first, second, third = (waveform for (waveform,) in loader[0][0]["waveforms"])
    time = np.arange(8_000) / 16_000
    np.testing.assert_allclose(second, 3 + time, rtol=1e-6)
    for waveform, own, partner, share in ((first, 0, 7, 0.6), (third, 1, 5, 0.2)):
        start = (waveform - share * (own + time)) / (1 - share) - partner - time  # the same all along
        np.testing.assert_allclose(start, start[0], atol=1e-4)
        assert 0 <= start[0] <= (partner + 1) / 2 - 0.5
    again = Loader([batch], utterances, lambda samples: {"waveforms": samples}, mix=Mixing(utterances))
    parts = [loader_of_part(batch.of_process(i, 2), utterances) for i in range(2)]
    expected = [waveform for (waveform,) in again[0][0]["waveforms"]]
    for waveform, same in zip([parts[0][0], parts[1][0], parts[0][1]], expected, strict=True):
        np.testing.assert_array_equal(waveform, same)


def loader_of_part(part, utterances):
    samples = Loader([part], utterances, lambda samples: {"waveforms": samples}, mix=Mixing(utterances))[0][0]
    return [waveform for (waveform,) in samples["waveforms"]]


def targets(**changes):
    """Return targets of five utterances: two labels, attributes with a gap, genders."""
    values = {
        "labels": ("anger", "joy", "O"),
        "emotion": np.array([0, 1, -1, 2, 0]),
        "attributes": np.array([[0.0, 0.0], [1.0, NAN], [0.5, -0.5], [-1.0, 1.0], [0.2, 0.4]], np.float32),
        "gender": np.array([0, 0, 1, 1, -1]),
        "soft": None,
        "votes": None,
    } | changes
    own = SimpleNamespace(**values)
    emotion = own.emotion if own.soft is None else own.soft
    own.arrays = lambda: {"emotion": emotion, "attributes": own.attributes, "gender": own.gender}
    return own


def test_targets_are_mixed_as_the_audio_is_and_what_one_lacks_is_missing():
    batch = Batch(
        np.arange(5),
        np.zeros(5),
        np.full(5, NAN),
        np.arange(5),
        partners=np.array([1, 2, -1, 0, 4]),
        shares=np.array([0.75, 0.5, 1.0, 0.4, 0.3]),
    )
    result = BatchTargets(targets(), mixing=True)(batch)
    emotion = [[0.75, 0.25, 0], [0, 0, 0], [0, 0, 0], [0.6, 0, 0.4], [1, 0, 0]]  # 1 with 2: 2 has no label
    np.testing.assert_allclose(result["emotion"], emotion, rtol=1e-6)
    attributes = [[0.25, NAN], [0.75, NAN], [0.5, -0.5], [-0.4, 0.4], [0.2, 0.4]]
    np.testing.assert_allclose(result["attributes"], attributes, rtol=1e-6)
    assert result["gender"].tolist() == [0, -1, 1, -1, -1]
    assert {values.dtype for values in result.values()} == {np.dtype("float32"), np.dtype("int64")}
    step = BatchTargets(targets(), mixing=True).of_step(batch.pieces(2))
    for name, values in step.items():
        np.testing.assert_array_equal(values.numpy(), result[name])


def test_without_mixing_targets_are_those_of_the_rows(tones):
    settings = corpora.settings(tones.w2v_bert, "audio")
    own = targets_of(tones.corpus, settings)
    rows = np.array([5, 1, 1])
    result = BatchTargets(own)(Batch(rows, np.zeros(3), np.zeros(3), np.arange(3)))
    assert result.keys() == own.arrays().keys()
    assert all(np.array_equal(values, own.arrays()[name][rows], equal_nan=True) for name, values in result.items())


def test_mixing_is_for_audio_alone(tones):
    mixing = {"augmentation": {"mixing": {"probability": 0.5}}}
    for refused in (lambda: corpora.joint(tones, **mixing), lambda: corpora.settings(tones.llama, "text", **mixing)):
        with pytest.raises(InputError, match=r"augmentation(\.mixing)? applies only to modality 'audio'"):
            refused()
    with pytest.raises(InputError, match="augmentation.mixing is on; it pairs utterances of one label"):
        corpora.settings(tones.w2v_bert, "audio", **mixing, losses={"multi_similarity": 1.0})
    with pytest.raises(InputError, match="cache_embeddings is true and augmentation is on"):
        frozen = {"adaptation": {"method": "frozen"}, "phases": {"only": {"chunk_s": None}}}
        corpora.settings(tones.w2v_bert, "audio", **mixing, **frozen, cache_embeddings=True)


def test_soft_labels_that_are_certain_have_the_loss_of_the_labels():
    from pipeline_lib.losses import cross_entropy

    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(1))
    given = BatchTargets(targets(), mixing=True).arrays["emotion"]
    weights = torch.tensor([0.5, 1.0, 3.0])
    expected = cross_entropy(logits, torch.from_numpy(targets().emotion), weights)
    torch.testing.assert_close(cross_entropy(logits, torch.from_numpy(given), weights), expected, rtol=1e-6, atol=0)

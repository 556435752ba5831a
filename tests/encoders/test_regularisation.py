"""SpecAugment and layer drop of trained encoders, and Whisper's encoder on the true length of a clip."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor

from pipeline_lib.encoders.load import load_speech
from pipeline_lib.errors import InputError
from pipeline_lib.finetuning.steps import seed_all
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.encoder import EncoderSettings
from tests.finetuning import corpora

FAMILIES = ("hubert_group", "wav2vec2_layer", "wavlm_layer", "w2v_bert", "whisper")
MASKS = {"mask_time_prob": 0.4, "mask_time_length": 4}


def outputs(encoder, waveforms, seed=1):
    """Return all layers, in training, from that seed."""
    seed_all(seed)
    inputs = encoder.prepare(waveforms)
    return encoder(**inputs).layers


@pytest.mark.parametrize("name", FAMILIES)
def test_masks_change_what_is_trained_and_nothing_else(name, load, waveforms):
    plain, masked = load(name), load(name, spec_augment=MASKS)
    masked.load_state_dict(plain.state_dict(), strict=False)
    for seed in (1, 1, 2):
        torch.testing.assert_close(outputs(masked.eval(), waveforms, seed), outputs(plain.eval(), waveforms))
    first, again, other = (outputs(masked.train(), waveforms, seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_batch_shorter_than_a_mask_is_not_masked(name, load):
    encoder = load(name, spec_augment=MASKS | {"mask_time_length": 1000}).train()
    assert len(outputs(encoder, [np.ones(4_000, np.float32)])) == encoder.n_layers + 1
    assert encoder.model.config.apply_spec_augment


@pytest.mark.parametrize("name", FAMILIES)
def test_a_skipped_block_hands_on_what_enters_it(name, load, waveforms):
    encoder = load(name, layerdrop=0.6).train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    called = []
    for i, block in enumerate(encoder.blocks):
        block.register_forward_hook(lambda block, given, returned, i=i: called.append((i, returned)))
    skipped = 0
    for seed in range(8):
        called.clear()
        layers = outputs(encoder, waveforms, seed)
        assert len(layers) == encoder.n_layers + 1
        ran = dict(called)
        skipped += encoder.n_layers - len(ran)
        for i in range(encoder.n_layers - 1):  # the last layer may have a norm behind it
            if i in ran:
                states = ran[i][0] if isinstance(ran[i], tuple) else ran[i]
                n = min(states.shape[1], layers[i + 1].shape[1])
                torch.testing.assert_close(layers[i + 1][:, :n], states[:, :n])
            else:
                assert torch.equal(layers[i + 1], layers[i])
    assert 0 < skipped < 8 * encoder.n_layers


def test_without_the_settings_nothing_is_masked_or_skipped(load):
    for name in FAMILIES:
        encoder = load(name)
        assert not encoder.model.config.apply_spec_augment and encoder.layerdrop == 0.0


@pytest.mark.parametrize(
    ("changes", "adaptation", "modality", "message"),
    [
        (
            {"spec_augment": {}},
            "frozen",
            "audio",
            "encoder.spec_augment is set, which acts on an encoder that is trained",
        ),
        ({"layerdrop": 0.1}, "frozen", "audio", "encoder.layerdrop is set, which acts on an encoder that is trained"),
        (
            {"spec_augment": {}},
            "full",
            "text",
            r"encoder\.spec_augment applies only to modality 'audio' \(got 'text'\): remove it",
        ),
        (
            {"layerdrop": 0.1},
            "lora",
            "text",
            r"encoder\.layerdrop applies only to modality 'audio' \(got 'text'\): remove it",
        ),
        (
            {"whisper_length": "true_length"},
            "lora",
            "text",
            r"encoder\.whisper_length applies only to modality 'audio' \(got 'text'\): remove it",
        ),
    ],
)
def test_settings_without_effect_are_refused(changes, adaptation, modality, message):
    with pytest.raises(InputError, match=message):
        corpora.settings("models/a", modality, encoder=changes, adaptation={"method": adaptation})
    if modality == "audio":
        with pytest.raises(
            InputError, match=r"encoder\.(spec_augment|layerdrop) applies only to finetuning, .*: remove it"
        ):
            EmbeddingSettings.parse({"modality": "audio", "encoder": {"checkpoint": "a", **changes}}, "embedding.a")


def test_models_that_cannot_are_refused(load, checkpoint, tmp_path):
    with pytest.raises(InputError, match=r"whisper_length is 'true_length' and .* a 'hubert' model"):
        load("hubert_group", whisper_length="true_length")
    with pytest.raises(InputError, match="mask_feature_length is 99, .* is 32 wide"):
        load("hubert_group", spec_augment={"mask_feature_length": 99})
    with pytest.raises(InputError, match="which has no mask_feature_min_masks; set that to 0"):
        load("wavlm_layer", spec_augment={"mask_feature_min_masks": 1})
    with pytest.raises(InputError, match="which has no apply_spec_augment; set it to null"):
        load("vggish", spec_augment={})
    with pytest.raises(InputError, match=r"encoder.layerdrop is 0.1 and .* which skips no blocks"):
        load("vggish", layerdrop=0.1)


def test_padding_changes_nothing_of_a_clip_of_true_length(load, waveforms):
    encoder = load("whisper", whisper_length="true_length").eval()
    clips = [*waveforms, np.concatenate([waveforms[1]] * 2)]  # the last one is of two windows of 2 s
    together = encoder(**encoder.prepare(clips))
    for i, clip in enumerate(clips):
        alone = encoder(**encoder.prepare([clip]))
        n = int(alone.lengths[0])
        assert n == -(-len(clip) // 320) == int(together.lengths[i])
        for one, other in zip(alone.layers, together.layers, strict=True):
            torch.testing.assert_close(one[0, :n], other[i, :n], rtol=0, atol=2e-5)


def test_a_clip_of_a_whole_window_is_what_transformers_makes_of_it(load):
    clip = np.random.default_rng(1).standard_normal(32_000).astype(np.float32) * 0.1  # 2 s, the tiny model's window
    padded, true = load("whisper").eval(), load("whisper", whisper_length="true_length").eval()
    for one, other in zip(padded(**padded.prepare([clip])).layers, true(**true.prepare([clip])).layers, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=2e-5)
    assert padded.signature == "whisper" and true.signature == "whisper of true length"


@pytest.mark.parametrize("trained", ["full", "lora"])
def test_gradients_flow_through_true_lengths_under_checkpointing(trained, load, waveforms):
    from pipeline_lib.networks.adapters import attach
    from pipeline_lib.params.network import AdaptationSettings

    result = []
    for sparing in (False, True):
        encoder = load("whisper", whisper_length="true_length")
        torch.manual_seed(0)
        encoder.model = attach(encoder.model, AdaptationSettings(method=trained))
        if sparing:
            encoder.model.gradient_checkpointing_enable({"use_reentrant": False})
        encoder.train()
        outputs(encoder, waveforms)[-1].square().mean().backward()
        result.append([parameter.grad for parameter in encoder.parameters() if parameter.grad is not None])
    assert len(result[0]) > 3
    for one, other in zip(*result, strict=True):
        torch.testing.assert_close(one, other)


def with_preprocessor(checkpoint, folder, values):
    """Return a copy of the tiny Whisper with that preprocessor_config.json."""
    copied = shutil.copytree(checkpoint("whisper"), folder / "whisper")
    (copied / "preprocessor_config.json").write_text(json.dumps(values))
    return EncoderSettings(checkpoint=str(copied))


def test_whispers_own_filters_and_window_are_read(checkpoint, tmp_path, waveforms):
    filters = np.random.default_rng(0).uniform(0, 0.1, (80, 257))
    settings = with_preprocessor(checkpoint, tmp_path, {"n_fft": 512, "mel_filters": filters.tolist()})
    encoder = load_speech(settings, torch.device("cpu"))
    expected = WhisperFeatureExtractor(feature_size=80, n_fft=512)
    expected.mel_filters = filters.T
    made = expected(waveforms[1], sampling_rate=16_000, max_length=32_000, return_tensors="pt")["input_features"]
    assert torch.equal(encoder.prepare([waveforms[1]])["input_features"], made)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"feature_size": 128}, "has feature_size 128, its model and this pipeline take 80"),
        ({"hop_length": 100}, "has hop_length 100, its model and this pipeline take 160"),
        ({"dither": 0.1}, "has dither 0.1"),
        ({"n_fft": "wide"}, "n_fft is 'wide', expected a whole number"),
        ({"mel_filters": [[1.0, 2.0]]}, r"has mel_filters of shape \(1, 2\), expected \(80, 201\)"),
    ],
)
def test_features_that_do_not_fit_whisper_are_refused(checkpoint, tmp_path, values, message):
    with pytest.raises(InputError, match=message):
        load_speech(with_preprocessor(checkpoint, tmp_path, values), torch.device("cpu"))

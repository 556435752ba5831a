"""VGGish's log mel patches against the equations written again and against transformers; what it is among encoders."""

import json

import numpy as np
import pytest
import torch
from transformers.audio_utils import mel_filter_bank, spectrogram

from pipeline_lib.encoders.load import load_speech
from pipeline_lib.encoders.vggish import LogMelPatches, VggishConfig, VggishModel
from pipeline_lib.errors import InputError
from pipeline_lib.networks.adapters import attach
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.network import AdaptationSettings, LoraSettings

CPU = torch.device("cpu")
FIRST = 400 + 160 * 95  # samples of the first patch


def sound(n: int, seed: int = 0) -> np.ndarray:
    """Return a rising tone with harmonics and a little noise."""
    t = np.arange(n) / 16_000
    tone = sum(np.sin(2 * np.pi * k * (150 * t + 60 * t**2)) / k for k in range(1, 8))
    return (0.2 * tone + 0.01 * np.random.default_rng(seed).standard_normal(n)).astype(np.float32)


def features(waveform: np.ndarray) -> np.ndarray:
    return LogMelPatches()([waveform])["input_features"].numpy()


def by_hand(waveform: np.ndarray) -> np.ndarray:
    """Return the patches by a Fourier transform that is a sum and triangles that are loops."""
    mel = lambda hertz: 1127.0 * np.log(1.0 + hertz / 700.0)  # noqa: E731
    corners = np.linspace(mel(125.0), mel(7500.0), 66)
    weights = np.zeros((257, 64))
    for bin_ in range(257):
        folder = mel(bin_ * 16_000 / 512)
        for band in range(64):
            low, centre, high = corners[band : band + 3]
            rising, falling = (folder - low) / (centre - low), (high - folder) / (high - centre)
            weights[bin_, band] = max(0.0, min(rising, falling))
    turns = np.exp(-2j * np.pi * np.outer(np.arange(400), np.arange(257)) / 512)
    window = np.array([0.5 - 0.5 * np.cos(2 * np.pi * n / 400) for n in range(400)])
    count = (1 + (len(waveform) - 400) // 160) // 96
    rows = []
    for i in range(96 * count):
        frame = waveform[160 * i : 160 * i + 400].astype(np.float64) * window
        rows.append(np.log(np.abs(frame @ turns) @ weights + 0.01))
    return np.array(rows).reshape(count, 96, 64)


def test_patches_are_the_equations_written_again():
    waveform = sound(33_000)
    expected = by_hand(waveform)
    assert expected.shape == (2, 96, 64)
    np.testing.assert_allclose(features(waveform), expected, rtol=0, atol=2e-6)


def test_patches_are_what_transformers_makes_with_these_options():
    waveform = sound(20_000, seed=1)
    filters = mel_filter_bank(
        num_frequency_bins=257,
        num_mel_filters=64,
        min_frequency=125.0,
        max_frequency=7500.0,
        sampling_rate=16_000,
        norm=None,
        mel_scale="kaldi",
        triangularize_in_mel_space=True,
    )
    window = np.hanning(401)[:-1]  # periodic
    magnitudes = spectrogram(
        waveform.astype(np.float64),
        window,
        frame_length=400,
        hop_length=160,
        fft_length=512,
        power=1.0,
        center=False,
        mel_filters=filters,
        mel_floor=0.0,
    )
    np.testing.assert_allclose(features(waveform)[0], np.log(magnitudes.T[:96] + 0.01), rtol=0, atol=1e-5)


def test_silence_is_the_logarithm_of_the_offset():
    made = features(np.zeros(16_000, np.float32))
    np.testing.assert_array_equal(made, np.full((1, 96, 64), np.log(0.01), np.float32))


def test_twice_the_amplitude_is_twice_the_magnitude_and_not_four_times():
    quiet, loud = (np.exp(features(level * sound(16_000)).astype(np.float64)) - 0.01 for level in (0.25, 0.5))
    np.testing.assert_allclose(loud, 2 * quiet, rtol=1e-3, atol=1e-5)


def test_a_tone_stands_in_the_band_around_it():
    # band b's triangle is highest at corner b + 1 of 66 between 125 and 7,500 Hz: 1 kHz is corner 21.45
    made = features(np.sin(2 * np.pi * 1000 * np.arange(16_000) / 16_000))
    mel = [1127 * np.log(1 + hertz / 700) for hertz in (125, 1000, 7500)]
    corner = 65 * (mel[1] - mel[0]) / (mel[2] - mel[0])
    assert set(made[0].argmax(axis=1)) == {round(corner) - 1}


@pytest.mark.parametrize(
    ("n", "patches"),
    [(1, 1), (8_000, 1), (FIRST - 1, 1), (FIRST, 1), (FIRST + 15_359, 1), (FIRST + 15_360, 2), (48_000, 3)],
)
def test_whole_patches_only_but_one_at_least(n, patches):
    made = LogMelPatches()([sound(n)])
    assert made["lengths"].tolist() == [patches] and made["input_features"].shape == (patches, 96, 64)


def test_a_short_recording_is_filled_with_zeros_behind_it():
    short = sound(5_000)
    np.testing.assert_array_equal(features(short), features(np.pad(short, (0, FIRST - 5_000))))


def test_patches_of_a_long_recording_are_those_of_its_parts():
    long = sound(FIRST + 9 * 15_360)  # 960 frames: two blocks of the Fourier transform
    for i, patch in enumerate(features(long)):
        np.testing.assert_allclose(patch, features(long[15_360 * i : 15_360 * i + FIRST])[0], rtol=0, atol=1e-6)


def test_the_published_sizes_have_72_141_184_parameters():
    with torch.device("meta"):
        model = VggishModel(VggishConfig())
    # a convolution has 9 weights a pair of channels, its map of 96 by 64 is 6 by 4 in the end
    pairs = [(1, 64), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512)]
    by_hand = sum(9 * a * b + b for a, b in pairs)
    by_hand += sum(a * b + b for a, b in [(6 * 4 * 512, 4096), (4096, 4096), (4096, 128)])
    assert sum(parameter.numel() for parameter in model.parameters()) == by_hand == 72_141_184


def test_it_is_an_encoder_with_one_layer_and_no_blocks(load):
    encoder = load("vggish")
    assert (encoder.width, encoder.n_layers, encoder.minimum_samples) == (32, 0, 1)
    assert encoder.frame_rate_hz == pytest.approx(1 / 0.96)
    hidden = encoder(**encoder.prepare([sound(40_000), sound(9_000), sound(16_000)]))
    assert len(hidden.layers) == 1 and hidden.layers[0].shape == (3, 2, 32)
    assert hidden.lengths.tolist() == [2, 1, 1] and hidden.mask.tolist() == [[True, True], [True, False], [True, False]]


def test_there_are_no_blocks_to_keep_and_none_to_checkpoint(load, checkpoint):
    with pytest.raises(InputError, match=f"layers_kept is 1, {checkpoint('vggish')} has 0 blocks"):
        load("vggish", layers_kept=1)
    with pytest.raises(InputError, match="no blocks to checkpoint; set gradient_checkpointing to false"):
        load("vggish").model.gradient_checkpointing_enable({"use_reentrant": False})


def test_random_weights_tell_sounds_apart(load):
    encoder = load("vggish", pretrained=False)
    made = encoder(**encoder.prepare([sound(16_000), np.zeros(16_000, np.float32)])).layers[0]
    assert made[0].std() > 0.1 and torch.linalg.norm(made[0] - made[1]) > 0.1 * torch.linalg.norm(made[0])


def test_the_last_relu_is_the_configurations(checkpoint, tmp_path):
    folder = checkpoint("vggish")
    values = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(values | {"final_relu": False}))
    (tmp_path / "model.safetensors").symlink_to(folder / "model.safetensors")
    ending, bare = (load_speech(EncoderSettings(checkpoint=str(path)), CPU) for path in (folder, tmp_path))
    inputs = ending.prepare([sound(32_000)])
    vectors = bare(**inputs).layers[0]
    assert (vectors < 0).any()
    torch.testing.assert_close(ending(**inputs).layers[0], vectors.clamp(min=0), rtol=0, atol=0)


def test_postprocessing_by_hand():
    model = VggishModel(VggishConfig(channels=[1, 1, 1, 1], fully_connected_size=1, hidden_size=2, postprocess=True))
    model.postprocessing.matrix.copy_(torch.tensor([[1.0, 1.0], [0.0, 2.0]]))
    model.postprocessing.means.copy_(torch.tensor([1.0, 0.5]))
    # (1, 0) - means = (0, -0.5) -> (-0.5, -1) -> (1.5, 1) * 63.75 = (95.6, 63.75); (9, 9) is clipped to 255
    made = model.postprocessing(torch.tensor([[1.0, 0.0], [9.0, 9.0]]))
    assert made.tolist() == [[96.0, 64.0], [255.0, 255.0]]


def test_what_no_gradient_passes_is_not_trained():
    model = VggishModel(VggishConfig(channels=[2, 2, 2, 2], fully_connected_size=4, hidden_size=3, postprocess=True))
    patches = torch.randn(1, 96, 64)
    with pytest.raises(InputError, match="no gradient passes; set adaptation.method to frozen"):
        attach(model, AdaptationSettings(method="full"))(patches)
    made = attach(model, AdaptationSettings(method="frozen"))(patches).last_hidden_state
    assert made.shape == (1, 1, 3) and torch.equal(made, made.round())


def test_adaptation_in_full_leaves_the_convolutions_and_lora_takes_the_layers_behind_them(load):
    encoder = load("vggish")
    model = attach(encoder.model, AdaptationSettings(method="full"))
    trained = {name.partition(".")[0] for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trained == {"embeddings"}
    with pytest.raises(InputError, match="target_modules is 'attention', expected layers of the encoder"):
        attach(load("vggish").model, AdaptationSettings(method="lora"))
    encoder = load("vggish")
    before = encoder(**encoder.prepare([sound(16_000)])).layers[0]
    lora = LoraSettings(r=2, target_modules="all-linear")
    encoder.model = attach(encoder.model, AdaptationSettings(method="lora", lora=lora))
    after = encoder(**encoder.prepare([sound(16_000)])).layers[0]
    torch.testing.assert_close(after, before)  # LoRA begins at zero
    after.sum().backward()
    assert any(parameter.grad is not None for name, parameter in encoder.named_parameters() if "lora_B" in name)

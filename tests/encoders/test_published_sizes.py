"""The encoders of the distilled paper and of MERSA at their published sizes, without memory, counted by hand."""

import numpy as np
import pytest
import torch
from transformers import WhisperConfig, WhisperFeatureExtractor

from benchmarks import distilled_cpu as real
from pipeline_lib.encoders.load import load_speech
from pipeline_lib.encoders.whisper import WhisperWindows
from pipeline_lib.params.encoder import EncoderSettings

META = torch.device("meta")
CONVOLUTIONS = 512 * 10 + 4 * 512 * 512 * 3 + 2 * 512 * 512 * 2  # weights of the seven
WHISPER = {"tiny": (384, 4, 6), "base": (512, 6, 8)}  # width, blocks, heads


def linear(inputs: int, outputs: int) -> int:
    return (inputs + 1) * outputs


def block(width: int, inner: int) -> int:
    return 4 * linear(width, width) + linear(width, inner) + linear(inner, width) + 2 * 2 * width


def positions(width: int) -> int:
    """Return the convolution over 128 frames in 16 groups: direction, a length a tap, bias."""
    return width * (width // 16) * 128 + 128 + width


def hubert(blocks: int, *, norm_before_projection: bool) -> int:
    """Return the group-norm architecture's, without the vector that masks frames in pretraining."""
    before = 2 * 512 if norm_before_projection else 0
    inside = blocks * block(768, 3072) + positions(768) + 2 * 768
    return CONVOLUTIONS + 2 * 512 + before + linear(512, 768) + inside


def wav2vec2_large(blocks: int) -> int:
    """Return the layer-norm architecture's; every convolution has a bias and a norm."""
    extractor = CONVOLUTIONS + 7 * (512 + 2 * 512)
    return extractor + 2 * 512 + linear(512, 1024) + positions(1024) + blocks * block(1024, 4096) + 2 * 1024


def bert(width: int, inner: int, blocks: int) -> int:
    return (30_522 + 512 + 2) * width + 2 * width + blocks * block(width, inner)


BY_HAND = {
    "DistilHuBERT": hubert(2, norm_before_projection=False),
    "HuBERT base": hubert(12, norm_before_projection=True),
    "wav2vec2-large-robust": wav2vec2_large(12),
    "TinyBERT": bert(312, 1200, 4),
    "BERT base": bert(768, 3072, 12),
    "VGGish": 72_141_184,
}


def built(name: str):
    with META:
        return real.build(name, META)


def test_the_arithmetic_gives_what_is_known_of_the_whole_models():
    # with the masking vector, or BERT's pooler: what transformers' classes hold of the published checkpoints
    assert hubert(12, norm_before_projection=True) + 768 == 94_371_712
    assert wav2vec2_large(24) + 1024 == 315_438_720
    assert bert(768, 3072, 12) + linear(768, 768) == 109_482_240
    assert bert(312, 1200, 4) + linear(312, 312) == 14_350_248


@pytest.mark.parametrize(("name", "expected"), BY_HAND.items())
def test_the_real_configurations_load_with_the_parameters_counted_by_hand(name, expected):
    encoder = built(name)
    assert real.n_parameters(encoder) == expected
    assert all(parameter.device == META for parameter in encoder.parameters())


@pytest.mark.parametrize(
    ("name", "width", "blocks", "rate"),
    [
        ("DistilHuBERT", 768, 2, 50.0),
        ("HuBERT base", 768, 12, 50.0),
        ("wav2vec2-large-robust", 1024, 12, 50.0),
        ("VGGish", 128, 0, 1 / 0.96),
        ("TinyBERT", 312, 4, None),
        ("BERT base", 768, 12, None),
    ],
)
def test_widths_blocks_and_frame_rates(name, width, blocks, rate):
    encoder = built(name)
    assert (encoder.width, encoder.n_layers) == (width, blocks)
    assert rate is None or encoder.frame_rate_hz == pytest.approx(rate)


@pytest.mark.parametrize("name", [name for name, system in real.SYSTEMS.items() if system.published])
def test_encoders_and_head_are_the_papers_millions(name):
    # table 1, rounded; the encoders of the audio rows alone would be 23, 94 and 164
    system = real.SYSTEMS[name]
    widths = [built(name).width for name in (system.speech, system.text) if name]
    total = sum(BY_HAND[name] for name in (system.speech, system.text) if name) + real.head(*widths)
    assert round(total / 1e6) == system.published


def test_the_table_narrows_the_width_of_the_head():
    def fitting(text: int, name: str, width: int, millions: int) -> set[int]:
        sizes = {h: BY_HAND[name] + text + linear(width + 312, h) + linear(h, 3) for h in range(1, 2000)}
        return {h for h, total in sizes.items() if round(total / 1e6) == millions}

    tiny, pooler = BY_HAND["TinyBERT"], linear(312, 312)
    both = fitting(tiny, "DistilHuBERT", 768, 39) & fitting(tiny, "HuBERT base", 768, 109)
    assert (min(both), max(both)) == (698, 808)
    assert 1024 in fitting(tiny, "wav2vec2-large-robust", 1024, 180)
    assert 768 not in fitting(
        tiny + pooler, "HuBERT base", 768, 109
    )  # as wide as HuBERT only without TinyBERT's pooler


def test_vggish_keeps_the_convolutions_frozen_and_distilhubert_its_seven():
    frozen = {name: built(name).model.feature_extractor for name in ("VGGish", "DistilHuBERT")}
    counts = {name: sum(parameter.numel() for parameter in part.parameters()) for name, part in frozen.items()}
    assert counts == {"VGGish": 4_499_712, "DistilHuBERT": CONVOLUTIONS + 2 * 512}


def whisper(name: str) -> WhisperConfig:
    width, blocks, heads = WHISPER[name]
    sizes = {"d_model": width, "vocab_size": 51_865}
    for part in ("encoder", "decoder"):
        sizes |= {f"{part}_layers": blocks, f"{part}_attention_heads": heads, f"{part}_ffn_dim": 4 * width}
    return WhisperConfig(**sizes)


@pytest.mark.parametrize("name", WHISPER)
def test_whisper_encoders_load_with_the_parameters_counted_by_hand(name, tmp_path):
    config = whisper(name)
    config.save_pretrained(tmp_path)
    with META:
        encoder = load_speech(EncoderSettings(checkpoint=str(tmp_path), pretrained=False), META)
    width, blocks, _ = WHISPER[name]
    convolutions = (80 * 3 + 1) * width + (width * 3 + 1) * width
    keys_without_bias = blocks * (block(width, 4 * width) - width)
    by_hand = convolutions + 1500 * width + keys_without_bias + 2 * width
    assert real.n_parameters(encoder) == by_hand
    assert (encoder.width, encoder.n_layers, encoder.frame_rate_hz) == (width, blocks, 50.0)


@pytest.fixture(scope="module")
def short_whisper(tmp_path_factory):
    """Return a Whisper encoder of one narrow block that sees the real windows of 30 s."""
    folder = tmp_path_factory.mktemp("whisper")
    sizes = {"d_model": 8, "vocab_size": 60, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    for part in ("encoder", "decoder"):
        sizes |= {f"{part}_layers": 1, f"{part}_attention_heads": 1, f"{part}_ffn_dim": 8}
    WhisperConfig(**sizes, decoder_start_token_id=1).save_pretrained(folder)
    return load_speech(EncoderSettings(checkpoint=str(folder), pretrained=False), torch.device("cpu"))


@pytest.mark.parametrize(
    ("samples", "windows", "frames"),
    [(16_000, 1, 50), (480_000, 1, 1500), (480_001, 2, 1501), (720_000, 2, 2250), (1_440_000, 3, 4500)],
)
def test_nothing_of_a_recording_above_30_s_is_lost_to_whisper(samples, windows, frames, short_whisper):
    noise = (0.1 * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
    inputs = short_whisper.prepare([noise])
    assert inputs["input_features"].shape == (windows, 80, 3000)
    with torch.inference_mode():
        hidden = short_whisper(**inputs)
    assert hidden.lengths.tolist() == [frames] and hidden.layers[-1].shape == (1, frames, 8)
    assert torch.isfinite(hidden.layers[-1]).all()


def test_whispers_windows_of_a_long_recording_are_transformers_own_of_its_parts():
    long = (0.1 * np.random.default_rng(1).standard_normal(45 * 16_000)).astype(np.float32)
    extractor = WhisperFeatureExtractor(feature_size=80)
    made = WhisperWindows(extractor, 1500)([long[:16_000], long])["input_features"]
    for window, part in zip(made, (long[:16_000], long[:480_000], long[480_000:]), strict=True):
        theirs = extractor(part, sampling_rate=16_000, return_tensors="pt")["input_features"][0]
        torch.testing.assert_close(window, theirs, rtol=0, atol=1e-6)

"""The Whisper engine on a small model with random weights and a tokenizer of bytes, both made here, offline."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    GenerationConfig,
    HubertConfig,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
    WhisperProcessor,
    WhisperTokenizer,
)

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.encoders import device
from pipeline_lib.errors import InputError
from pipeline_lib.params.transcription import WhisperSettings
from pipeline_lib.transcription.whisper import Whisper

SPECIAL = ["<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>", "<|notimestamps|>"]


def tokenizer() -> WhisperTokenizer:
    """Return a byte-level tokenizer without merges: the printable bytes stand for themselves."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [chr(byte) for byte in printable] + [chr(256 + i) for i in range(len(others))]
    made = WhisperTokenizer(vocab={letter: i for i, letter in enumerate(letters)}, merges=[])
    made.add_special_tokens({"additional_special_tokens": SPECIAL})
    return made


def checkpoint(folder: Path, multilingual: bool = True) -> Path:
    """Save a Whisper whose weights are large enough that its text follows its input."""
    words = tokenizer()
    end = words.convert_tokens_to_ids("<|endoftext|>")
    start, english, german, translate, transcribe, no_timestamps = words.convert_tokens_to_ids(SPECIAL)
    tokens = {"bos_token_id": end, "eos_token_id": end, "pad_token_id": end, "decoder_start_token_id": start}
    sizes = {f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in SIZES.items()}
    config = WhisperConfig(vocab_size=len(words), d_model=32, max_target_positions=40, **sizes, **tokens)
    torch.manual_seed(1)
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.ndim > 1 and "embed_positions" not in name:
                weight.normal_(std=0.5)
    generation = {"max_length": 24, "no_timestamps_token_id": no_timestamps, **tokens}
    generation |= {"suppress_tokens": [start, english, german, translate, transcribe, no_timestamps]}
    if multilingual:
        generation |= {"is_multilingual": True, "lang_to_id": {"<|en|>": english, "<|de|>": german}}
        generation |= {"task_to_id": {"transcribe": transcribe, "translate": translate}}
    model.generation_config = GenerationConfig(**generation)
    model.save_pretrained(folder)
    WhisperProcessor(WhisperFeatureExtractor(feature_size=80), words).save_pretrained(folder)
    return folder


SIZES = {"layers": 1, "attention_heads": 2, "ffn_dim": 64}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    return checkpoint(tmp_path_factory.mktemp("whisper"))


@pytest.fixture(scope="module")
def engine(tiny):
    return Whisper(WhisperSettings(checkpoint=str(tiny)), "cpu")


@pytest.fixture(scope="module")
def waveforms():
    random = np.random.default_rng(0)
    tones = [(1.0, 200), (3.0, 900), (0.4, 3000), (30.0, 60)]
    return [
        (0.3 * np.sin(2 * np.pi * hz * np.arange(int(s * SAMPLE_RATE)) / SAMPLE_RATE) + random.normal(0, 0.01)).astype(
            "f4"
        )
        for s, hz in tones
    ]


def test_texts_follow_the_audio_and_its_order(engine, waveforms):
    texts = engine.transcribe(waveforms)
    assert len(set(texts)) == len(waveforms) and all(texts)
    assert engine.transcribe(waveforms[::-1]) == texts[::-1]


def test_a_text_does_not_depend_on_its_neighbours(engine, waveforms):
    assert engine.transcribe(waveforms) == [engine.transcribe([waveform])[0] for waveform in waveforms]


def test_decoding_is_the_likeliest_token_after_the_likeliest_token(engine, waveforms):
    ids = engine.processor.tokenizer.convert_tokens_to_ids
    tokens = [ids(name) for name in ("<|startoftranscript|>", "<|en|>", "<|transcribe|>", "<|notimestamps|>")]
    barred = engine.model.generation_config.suppress_tokens
    features = engine.processor.feature_extractor(waveforms[0], sampling_rate=SAMPLE_RATE, return_tensors="pt")
    while len(tokens) < 27 and tokens[-1] != ids("<|endoftext|>"):
        scores = engine.model(features.input_features, decoder_input_ids=torch.tensor([tokens])).logits[0, -1]
        scores[barred] = -torch.inf
        tokens.append(int(scores.argmax()))
    text = engine.processor.tokenizer.decode(tokens, skip_special_tokens=True)
    assert engine.transcribe(waveforms[:1]) == [" ".join(text.split())]


@pytest.mark.parametrize(("half", "expected"), [(False, "float32"), (True, "float32 under bfloat16 autocast")])
def test_device_and_precision_are_those_of_the_forward_pass(tiny, monkeypatch, half, expected):
    monkeypatch.setattr(device, "half_precision", lambda _: torch.bfloat16)  # as a GPU has it
    engine = Whisper(WhisperSettings(checkpoint=str(tiny), half_precision=half), "cpu")
    assert (engine.origin.device, engine.origin.precision) == ("cpu", expected)


def test_the_language_is_part_of_the_question(tiny, engine, waveforms):
    german = Whisper(WhisperSettings(checkpoint=str(tiny), language="german"), "cpu")
    assert german.language == "de"
    assert german.transcribe(waveforms) != engine.transcribe(waveforms)


def test_a_full_gpu_is_distinguished_from_a_fault(engine, waveforms, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(engine.model, "generate", full)
    with pytest.raises(MemoryError):
        engine.transcribe(waveforms)


def test_a_null_language_is_detected(tiny, waveforms):
    detecting = Whisper(WhisperSettings(checkpoint=str(tiny), language=None), "cpu")
    assert len(detecting.transcribe(waveforms)) == len(waveforms)


def test_an_unknown_language_is_refused_with_those_that_are_known(tiny):
    with pytest.raises(
        InputError, match=r"language is 'et', which .* does not transcribe; expected one of \['de', 'en'\]"
    ):
        Whisper(WhisperSettings(checkpoint=str(tiny), language="et"), "cpu")


def test_an_english_only_checkpoint_gets_no_language(tmp_path, waveforms):
    folder = checkpoint(tmp_path / "english", multilingual=False)
    assert len(Whisper(WhisperSettings(checkpoint=str(folder)), "cpu").transcribe(waveforms[:2])) == 2
    with pytest.raises(InputError, match=r"expected one of \['en'\]"):
        Whisper(WhisperSettings(checkpoint=str(folder), language="de"), "cpu")


def test_a_checkpoint_of_another_model_is_refused(tmp_path):
    HubertConfig().save_pretrained(tmp_path)
    with pytest.raises(InputError, match="is a 'hubert' model, expected Whisper"):
        Whisper(WhisperSettings(checkpoint=str(tmp_path)), "cpu")


def test_a_checkpoint_that_cannot_be_had_is_named_with_the_remedy():
    with pytest.raises(
        InputError, match=r"^checkpoint nobody/nothing is not in the local cache and HF_HUB_OFFLINE is set"
    ):
        Whisper(WhisperSettings(checkpoint="nobody/nothing"), "cpu")


@pytest.mark.parametrize(
    ("file", "change", "expected"),
    [
        ("config.json", lambda _: [], "config.json holds a list, expected an object"),
        ("config.json", lambda v: {**v, "num_mel_bins": 0}, "has num_mel_bins 0, expected a whole number from 1"),
        ("processor_config.json", lambda _: [1], "processor_config.json holds a list, expected an object"),
        (
            "processor_config.json",
            lambda v: {**v, "feature_extractor": {**v["feature_extractor"], "hop_length": 0}},
            "hop_length is 0, expected a whole number from 1",
        ),
        (
            "processor_config.json",
            lambda v: {**v, "feature_extractor": {**v["feature_extractor"], "feature_size": 128}},
            "its preprocessor makes 128 bands x 3000 frames at 16000 Hz, expected 80 bands x 3000 frames",
        ),
        ("generation_config.json", lambda v: {**v, "lang_to_id": [1, 2]}, "lang_to_id in generation_config.json"),
        ("generation_config.json", lambda v: {**v, "lang_to_id": {"<|en|>": 10**6}}, "is no list of tokens from 0 to"),
    ],
)
def test_a_malformed_file_of_the_checkpoint_is_refused(tiny, tmp_path, file, change, expected):
    folder = shutil.copytree(tiny, tmp_path / "whisper")
    (folder / file).write_text(json.dumps(change(json.loads((folder / file).read_text()))))
    with pytest.raises(InputError) as refused:
        Whisper(WhisperSettings(checkpoint=str(folder)), "cpu")
    assert expected in str(refused.value) and "\n" not in str(refused.value)


def test_weights_that_are_not_finite_are_refused(tiny, tmp_path):
    folder = shutil.copytree(tiny, tmp_path / "whisper")
    tensors = load_file(folder / "model.safetensors")
    tensors["model.decoder.layers.0.fc1.weight"][0, 0] = torch.nan
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=r"model\.decoder\.layers\.0\.fc1\.weight holds NaN or infinity"):
        Whisper(WhisperSettings(checkpoint=str(folder)), "cpu")

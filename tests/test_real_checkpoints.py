"""Real pretrained weights, where somebody has them: REAL_CHECKPOINTS names a folder of checkpoint folders.

Of its sub-folders these are tried, each where it is there: ``whisper_base`` and ``whisper_tiny_en`` (OpenAI's Whisper
base and tiny.en), ``minilm`` (all-MiniLM-L6-v2, a BERT), ``smollm2`` (SmolLM2-135M-Instruct, a LLaMA).
"""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.conversion import hub
from pipeline_lib.demonstration import synthesis
from pipeline_lib.demonstration.prosody import Prosody
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.metrics.words import word_error_rate
from pipeline_lib.networks.adapters import attach
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.network import AdaptationSettings, LoraSettings
from tests.conversion import bins

pytestmark = pytest.mark.acceptance
CPU = torch.device("cpu")
TEXTS = ["i am so happy today", "", "what a joyful day this is", "the train to the city is late again"]
SENTENCES = ["Kids are talking by the door.", "The weather is very nice today."]


def folder(name: str) -> Path:
    """Return a checkpoint's folder; a test without one is skipped."""
    where = os.environ.get("REAL_CHECKPOINTS")
    if not where:
        pytest.skip("REAL_CHECKPOINTS is not set, expected a folder of checkpoint folders")
    if not (Path(where) / name / "config.json").is_file():
        pytest.skip(f"{Path(where) / name} is not there")
    return Path(where) / name


def spoken(text: str) -> np.ndarray:
    """Return espeak's voice, 16 kHz, with half a second of silence on either side."""
    wave = synthesis.speak(synthesis.Utterance(text, "gmw/en-US", Prosody(*[0.0] * 7, rise=False)))
    return np.pad(wave / np.float32(32768), SAMPLE_RATE // 2).astype(np.float32)


@pytest.mark.parametrize("name", ["minilm", "smollm2"])
def test_a_text_encoder_is_what_transformers_computes_and_does_not_see_its_neighbours(name):
    encoder = load_text(EncoderSettings(checkpoint=str(folder(name))), CPU)
    model = AutoModel.from_pretrained(folder(name)).eval()
    together = encoder(**encoder.prepare(TEXTS))
    for i, text in enumerate(TEXTS):
        inputs = encoder.prepare([text])
        with torch.no_grad():
            made = model(inputs["input_ids"], output_hidden_states=True).hidden_states
        n = int(together.lengths[i])
        assert n == inputs["input_ids"].shape[1]
        for layer, other in zip(together.layers, made, strict=True):
            assert torch.linalg.norm(layer[i, :n] - other[0]) <= 1e-4 * torch.linalg.norm(other[0])


def test_sentences_of_like_meaning_are_near_one_another():
    encoder = load_text(EncoderSettings(checkpoint=str(folder("minilm"))), CPU)
    with torch.no_grad():
        hidden = encoder(**encoder.prepare(TEXTS))
    mean = (hidden.layers[-1] * hidden.mask[..., None]).sum(dim=1) / hidden.lengths[:, None]
    near, far = (torch.cosine_similarity(mean[0], mean[i], dim=0) for i in (2, 3))
    assert near > far + 0.2


@pytest.mark.parametrize("name", ["whisper_base", "whisper_tiny_en"])
def test_whisper_writes_what_is_spoken_and_does_not_hear_its_neighbours(name):
    from pipeline_lib.params.transcription import WhisperSettings
    from pipeline_lib.transcription.whisper import Whisper

    engine = Whisper(WhisperSettings(checkpoint=str(folder(name)), language="en"), "cpu")
    waveforms = [spoken(text) for text in SENTENCES]
    texts = engine.transcribe(waveforms)
    assert word_error_rate(SENTENCES, texts) <= 0.5
    assert [engine.transcribe([each])[0] for each in waveforms] == texts


@pytest.mark.parametrize("name", ["whisper_base", "whisper_tiny_en"])
def test_whispers_encoder_is_what_transformers_computes(name):
    encoder = load_speech(EncoderSettings(checkpoint=str(folder(name))), CPU)
    inputs = encoder.prepare([spoken(SENTENCES[0])])
    model = AutoModel.from_pretrained(folder(name)).encoder.eval()
    with torch.no_grad():
        hidden = encoder(**inputs)
        made = model(inputs["input_features"], output_hidden_states=True).hidden_states
    for layer, other in zip(hidden.layers, made, strict=True):
        torch.testing.assert_close(layer[0], other[0, : layer.shape[1]], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("name", "loader"), [("minilm", load_text), ("smollm2", load_text)])
@pytest.mark.parametrize("method", ["lora", "full"])
def test_a_few_steps_of_fine_tuning_lower_the_loss(name, loader, method):
    encoder = loader(EncoderSettings(checkpoint=str(folder(name))), CPU)
    lora = LoraSettings(r=4, target_modules="attention", lora_dropout=0.0)
    torch.manual_seed(0)
    encoder.model = attach(encoder.model, AdaptationSettings(method=method, lora=lora))
    head = torch.nn.Linear(encoder.width, 2)
    trained = [*(each for each in encoder.parameters() if each.requires_grad), *head.parameters()]
    optimiser = torch.optim.AdamW(trained, 1e-3 if method == "lora" else 5e-5)
    inputs, truth, losses = encoder.prepare(TEXTS), torch.tensor([0, 1, 0, 1]), []
    for _ in range(6):
        hidden = encoder(**inputs)
        mean = (hidden.layers[-1] * hidden.mask[..., None]).sum(dim=1) / hidden.lengths[:, None]
        losses.append(torch.nn.functional.cross_entropy(head(mean), truth))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
    assert losses[-1].item() < 0.9 * losses[0].item()


def test_real_weights_come_back_from_a_bin_file_unchanged(tmp_path):
    place = tmp_path / "minilm"
    place.mkdir()
    tensors = load_file(folder("minilm") / "model.safetensors")
    for path in folder("minilm").iterdir():
        if path.suffix in (".json", ".txt"):
            (place / path.name).write_bytes(path.read_bytes())
    old = {f"bert.{key}".replace("LayerNorm.weight", "LayerNorm.gamma"): each for key, each in tensors.items()}
    bins.save(place, old, shards=2)
    hub.convert(str(place), tmp_path / "out")
    kept = {}
    for path in (tmp_path / "out").glob("*.safetensors"):
        kept |= load_file(path)
    assert len(kept) > 90 and all(torch.equal(kept[key], tensors[key]) for key in kept)

"""Embedding a small corpus with tiny models of the real architectures."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from pipeline_lib.audio import decoding
from pipeline_lib.embedding import shard
from pipeline_lib.embedding.pool import pool
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.errors import InputError
from pipeline_lib.experts.disk import build, save_expert
from pipeline_lib.experts.settings import ExpertBranch, ExpertSettings
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.network import AdaptationSettings, HeadSettings, PoolingSettings
from pipeline_lib.tables import embeddings
from pipeline_lib.tables.provenance import Provenance
from tests.embedding.conftest import TEXTS
from tests.embedding.runs import run

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["hubert_group", "wavlm_layer", "w2v_bert", "whisper"])
def test_every_layer_is_the_mean_of_the_utterances_own_frames(name, corpus, entry, tmp_path):
    settings = entry(name, pooling="mean_std", frames=True)
    folder = run(corpus, settings, tmp_path)
    encoder = load_speech(settings.encoder, CPU)
    info = embeddings.read_info(folder)
    assert (info.layers, info.width, info.encoder) == ((0, 1, 2, 3), 32, encoder.kind)
    for layer in info.layers:
        ids, vectors = embeddings.read_layer(folder, layer)
        frames = dict(embeddings.iter_frames(folder, layer))
        assert ids.tolist() == list(frames) == [f"u{i}" for i in range(10)]
        for i in (0, 3, 9):
            waveform = decoding.decode(tmp_path / "audio" / f"u{i}.wav")
            waveform = np.pad(waveform, (0, max(0, encoder.minimum_samples - len(waveform))))  # u3 is filled with zeros
            with torch.no_grad():
                states = encoder(**encoder.prepare([waveform])).layers[layer][0].numpy()
            expected = np.concatenate([states.mean(axis=0), states.std(axis=0)])
            np.testing.assert_allclose(frames[f"u{i}"], states, rtol=1e-3, atol=1e-3)
            np.testing.assert_allclose(vectors[i], expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("name", ["bert", "roberta", "llama"])
def test_texts_are_embedded_empty_ones_too(name, corpus, entry, tmp_path):
    settings = entry(name, layers=[1, 3])
    folder = run(corpus, settings, tmp_path)
    encoder = load_text(settings.encoder, CPU)
    assert embeddings.read_info(folder).frame_rate_hz is None
    for layer in (1, 3):
        _, vectors = embeddings.read_layer(folder, layer)
        for i, text in enumerate(TEXTS):
            with torch.no_grad():
                states = encoder(**encoder.prepare([text])).layers[layer][0].numpy()
            np.testing.assert_allclose(vectors[i], states.mean(axis=0), rtol=1e-3, atol=1e-3)
    assert {path.name for path in folder.iterdir()} == {"embedding.json", "layer_01.parquet", "layer_03.parquet"}


def test_pooling_leaves_the_padding_out():
    states = torch.tensor([[[1.0], [3.0], [99.0]], [[2.0], [2.0], [8.0]]])
    assert pool(states, torch.tensor([2, 3]), "mean").tolist() == [[2.0], [4.0]]
    # deviations of 1, 3 and of 2, 2, 8: 1 and the root of (4 + 4 + 16) / 3
    expected = torch.tensor([[2.0, 1.0], [4.0, 8.0**0.5]])
    torch.testing.assert_close(pool(states, torch.tensor([2, 3]), "mean_std"), expected)
    nan = states.clone()
    nan[0, 2] = float("nan")
    assert pool(nan, torch.tensor([2, 3]), "mean_std").isfinite().all()


def test_an_output_over_the_limit_is_refused_before_the_first_forward_pass(corpus, entry, tmp_path, monkeypatch):
    monkeypatch.setattr(shard, "embed_batch", lambda *args, **kwargs: pytest.fail("a forward pass was run"))
    # 4 layers x 32 x 2 bytes x (10 vectors + 343 frames)
    with pytest.raises(
        InputError, match="4 layers with all frames of 10 utterances would take 9.04e-05 GB, limit_gb is 5e-05"
    ):
        run(corpus, entry("hubert_group", frames=True), tmp_path, limit_gb=5e-5)
    assert not (tmp_path / "out").exists()


def test_a_layer_that_the_encoder_lacks_is_refused(corpus, entry, tmp_path):
    with pytest.raises(InputError, match="layers names 7, .* has layers 0 to 3"):
        run(corpus, entry("bert", layers=[0, 7]), tmp_path)


def test_utterances_without_audio_are_left_out_and_counted_and_change_no_other(corpus, entry, tmp_path, capsys):
    settings = entry("hubert_group", layers=[0, 3], frames=True)
    whole = run(corpus, settings, tmp_path, "whole")
    without = [None if i in (2, 7) else name for i, name in enumerate(corpus.frame["audio"])]
    corpus.frame["audio"] = pd.Series(without, dtype=object)
    corpus.frame.loc[[2, 7], "duration_s"] = np.nan
    folder = run(corpus, settings, tmp_path, "part")
    message = "2 of 10 utterances of noise have no audio, 'u2' first: they are left out of the embedding"
    assert message in capsys.readouterr().out
    info = embeddings.read_info(folder)
    assert (info.n_utterances, info.n_without) == (8, 2)
    for layer in (0, 3):
        ids, vectors = embeddings.read_layer(folder, layer)
        assert ids.tolist() == [f"u{i}" for i in range(10) if i not in (2, 7)]
        every = dict(zip(*embeddings.read_layer(whole, layer), strict=True))
        np.testing.assert_allclose(vectors, [every[name] for name in ids], atol=1e-6)


def test_a_corpus_without_audio_is_refused(corpus, entry, tmp_path):
    corpus.frame["audio"] = None
    with pytest.raises(InputError, match="none of the 10 utterances of noise has audio, which modality 'audio' embeds"):
        run(corpus, entry("hubert_group"), tmp_path)


def test_a_segment_is_embedded_as_a_file_of_its_own(corpus, entry, tmp_path):
    settings = entry("hubert_group", frames=True)
    own = run(corpus, settings, tmp_path, "own")
    sounds = [soundfile.read(tmp_path / "audio" / f"u{i}.wav", dtype="float32")[0] for i in range(10)]
    soundfile.write(tmp_path / "audio" / "all.wav", np.concatenate(sounds), 16_000, subtype="FLOAT")
    ends = np.cumsum([len(sound) for sound in sounds]) / 16_000
    corpus.frame["audio"], corpus.frame["audio_sha256"] = "all.wav", "0" * 64
    corpus.frame["start_s"], corpus.frame["end_s"] = [0.0, *ends[:-1]], ends
    part = run(corpus, settings, tmp_path, "part")
    for path in sorted(own.rglob("*.parquet")):
        assert (part / path.relative_to(own)).read_bytes() == path.read_bytes()


def test_values_beyond_float16_are_refused(corpus, entry, tmp_path, monkeypatch):
    real = shard.embed_batch

    def louder(encoder, *args, **kwargs):
        with torch.no_grad():
            encoder.model.encoder.layers[2].final_layer_norm.weight.fill_(1e6)
        return real(encoder, *args, **kwargs)

    monkeypatch.setattr(shard, "embed_batch", louder)
    with pytest.raises(InputError, match="layer 3 of 'u0' reaches .*leave layer 3 out of layers"):
        run(corpus, entry("hubert_group", batch={"size": 1}, shard_size=1), tmp_path)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_tuned_encoder_is_embedded_just_like_a_frozen_one(method, corpus, entry, checkpoint, tmp_path):
    encoder = EncoderSettings(checkpoint=str(checkpoint("w2v_bert")))
    branch = ExpertBranch(encoder=encoder, layers="last", adaptation=AdaptationSettings(method=method))
    settings = ExpertSettings(
        branches={"audio": branch},
        pooling=PoolingSettings(),
        head=HeadSettings(),
        labels=["a", "b"],
        attributes=[],
        attribute_scale=[1.0, 7.0],
        attribute_range="signed",
        seed=1,
        max_s=30.0,
        text="reference",
    )
    network = build(settings, CPU)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if parameter.requires_grad and key.startswith("encoder."):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(key))))
    record = {"fitted_on": ["train"], "chosen_on": ["dev"], "not_recorded": []} if method == "lora" else {}
    save_expert(tmp_path / "expert", network, settings.model_copy(update=record))
    folder = run(corpus, entry("w2v_bert", encoder=None, expert=str(tmp_path / "expert")), tmp_path)
    frozen = run(corpus, entry("w2v_bert"), tmp_path, "frozen")
    info, inherited = embeddings.read_info(folder), Provenance(("train",), ("dev",))
    assert info.checkpoint == str(tmp_path / "expert")
    assert info.provenance == (inherited if record else Provenance(not_recorded=("expert",)))  # of older code
    assert embeddings.read_info(frozen).provenance == Provenance()
    waveform = decoding.decode(tmp_path / "audio" / "u1.wav")
    with torch.no_grad():
        hidden = network.encoder(**network.encoder.prepare([(waveform,)]))["audio"]
    states = hidden.layers[3][0].mean(dim=0).numpy()
    tuned, untuned = (embeddings.read_layer(path, 3)[1][1] for path in (folder, frozen))
    np.testing.assert_allclose(tuned, states, rtol=1e-3, atol=1e-3)
    assert np.abs(untuned - states).max() > 0.05
    text = entry("bert", encoder=None, expert=str(tmp_path / "expert"))
    with pytest.raises(InputError, match=r"has encoders of \['audio'\], the modality is 'text'; expected one of them"):
        run(corpus, text, tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"expert": "models/x"}, "encoder and expert are both null or both set, expected one"),
        ({"encoder": None}, "encoder and expert are both null or both set, expected one"),
        ({"layers": [2, 1]}, r"layers is \[2, 1\], expected ascending"),
        ({"layers": []}, "layers"),
        ({"pooling": "max"}, "pooling is 'max', expected 'mean' or 'mean_std'"),
        (
            {"modality": "text", "batch": {"seconds": None}},
            r"batch.seconds applies only to modality 'audio' \(got 'text'\)",
        ),
        ({"text": "reference"}, r"hubert_group.text applies only to modality 'text' \(got 'audio'\): remove it"),
        ({"batch_size": 3}, "embedding.hubert_group.batch_size is now batch.size: rename it"),
        (
            {"encoder": {"checkpoint": "x", "layerdrop": 0.0}},
            "encoder.layerdrop applies only to finetuning, where an encoder is trained: remove it",
        ),
        ({"encoder": {"checkpoint": "x", "layer_kept": 3}}, "encoder.layer_kept is not a parameter"),
    ],
)
def test_wrong_parameters_are_refused_by_name(change, message, entry):
    with pytest.raises(ParameterError, match=message):
        entry("hubert_group", **change)


def test_settings_load_neither_torch_nor_transformers():
    code = "import sys, pipeline_lib.params.embedding; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

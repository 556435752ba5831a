"""Embedding a small corpus with tiny models of the real architectures."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from pipeline_lib.audio import decoding
from pipeline_lib.embedding import probe, shard
from pipeline_lib.embedding.embed import embed
from pipeline_lib.embedding.pool import pool
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.errors import InputError
from pipeline_lib.experts import ExpertSettings, build, save_expert
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.embedding import ProbeSettings
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.machine import EmbeddingMachine
from pipeline_lib.params.network import AdaptationSettings, NetworkSettings
from pipeline_lib.tables import embeddings
from tests.embedding.conftest import TEXTS

CPU = torch.device("cpu")


def digest(folder: Path) -> dict[str, str]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def run(corpus, settings, tmp_path, out="out", **how) -> Path:
    texts = TEXTS if settings.modality == "text" else None
    machine = EmbeddingMachine.parse({"device": "cpu"} | how, "embedding")
    embed(corpus, tmp_path / "audio", texts, settings, tmp_path / out, tmp_path / "work", machine)
    return tmp_path / out


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


def test_two_runs_give_the_same_bytes(corpus, entry, tmp_path):
    settings = entry("hubert_group", frames=True)
    first = digest(run(corpus, settings, tmp_path, "one"))
    (leftover,) = (tmp_path / "work").iterdir()
    for file in leftover.iterdir():
        file.unlink()
    assert digest(run(corpus, settings, tmp_path, "two")) == first


@pytest.mark.parametrize("batching", [{"batch_size": 1}, {"batch_size": 10, "shard_size": 10}, {"batch_seconds": 1.1}])
def test_vectors_do_not_depend_on_batches_and_shards(batching, corpus, entry, tmp_path):
    one, other = (run(corpus, entry("wavlm_group", **how), tmp_path, str(i)) for i, how in enumerate(({}, batching)))
    for layer in range(4):
        first, second = (embeddings.read_layer(folder, layer)[1] for folder in (one, other))
        np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-4)  # one step of float16


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(corpus, entry, tmp_path, monkeypatch):
    settings = entry("hubert_layer", frames=True)
    whole = digest(run(corpus, settings, tmp_path, "whole"))
    (shards,) = (tmp_path / "work").iterdir()
    for file in shards.iterdir():
        file.unlink()
    real, calls = shard.embed_batch, []

    def dies(*args, **kwargs):
        calls.append(args[2])
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*args, **kwargs)

    monkeypatch.setattr(shard, "embed_batch", dies)
    with pytest.raises(KeyboardInterrupt):
        run(corpus, settings, tmp_path, "cut")
    assert not (tmp_path / "cut").exists()
    done = calls.copy()
    assert digest(run(corpus, settings, tmp_path, "cut")) == whole
    again = [utterance_id for batch in calls[len(done) :] for utterance_id in batch]
    assert sorted(again) == [f"u{i}" for i in range(4, 10)]  # the first shard, u0 to u3, was not computed twice


def test_another_setting_begins_anew(corpus, entry, tmp_path):
    run(corpus, entry("bert"), tmp_path)
    run(corpus, entry("bert"), tmp_path, limit_gb=1.0, workers=2)  # changes no value
    assert len(list((tmp_path / "work").iterdir())) == 1
    run(corpus, entry("bert", pooling="mean_std"), tmp_path)
    assert len(list((tmp_path / "work").iterdir())) == 2


def test_an_output_over_the_limit_is_refused_before_the_first_forward_pass(corpus, entry, tmp_path, monkeypatch):
    monkeypatch.setattr(shard, "embed_batch", lambda *args, **kwargs: pytest.fail("a forward pass was run"))
    # 4 layers x 32 x 2 bytes x (10 vectors + 343 frames)
    with pytest.raises(
        InputError, match="4 layers with all frames of 10 utterances would take 9.04e-05 GB, limit_gb is 5e-05"
    ):
        run(corpus, entry("hubert_group", frames=True), tmp_path, limit_gb=5e-5)
    assert not (tmp_path / "out").exists()


def out_of_memory(monkeypatch, most: int) -> list[int]:
    """Let a forward pass with more than ``most`` utterances fail as CUDA's does; return the sizes that were tried."""
    real, tried = shard.embed_batch, []

    def short(encoder, inputs, ids, *args, **kwargs):
        tried.append(len(ids))
        if len(ids) > most:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return real(encoder, inputs, ids, *args, **kwargs)

    monkeypatch.setattr(shard, "embed_batch", short)
    return tried


def test_out_of_memory_halves_the_batches_once_and_says_so(corpus, entry, tmp_path, monkeypatch, capsys):
    settings = entry("hubert_group", batch_size=4, shard_size=5)
    expected = embeddings.read_layer(run(corpus, settings, tmp_path, "whole"), 3)[1]
    for file in next((tmp_path / "work").iterdir()).iterdir():
        file.unlink()
    tried = out_of_memory(monkeypatch, most=2)
    vectors = embeddings.read_layer(run(corpus, settings, tmp_path), 3)[1]
    np.testing.assert_allclose(vectors, expected, rtol=1e-3, atol=1e-4)
    assert tried == [4, 2, 2, 1, 2, 2, 1]  # the shard begins anew, the next one begins with halves
    assert "out of memory with 4 utterances a forward pass; going on with half as many" in capsys.readouterr().err


def test_out_of_memory_with_half_a_batch_stops_with_the_remedy(corpus, entry, tmp_path, monkeypatch):
    out_of_memory(monkeypatch, most=1)
    with pytest.raises(
        InputError, match="even with 2 utterances a forward pass, the longest is 'u1', 1.6 s; lower batch_size"
    ):
        run(corpus, entry("hubert_group", batch_size=4), tmp_path)


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
    said = "2 of 10 utterances of noise have no audio, 'u2' first: they are left out of the embedding"
    assert said in capsys.readouterr().out
    info = embeddings.read_info(folder)
    assert (info.n_utterances, info.n_without) == (8, 2)
    for layer in (0, 3):
        ids, vectors = embeddings.read_layer(folder, layer)
        assert ids.tolist() == [f"u{i}" for i in range(10) if i not in (2, 7)]
        every = dict(zip(*embeddings.read_layer(whole, layer), strict=True))
        np.testing.assert_allclose(vectors, [every[each] for each in ids], atol=1e-6)
    curve = probe.probe(folder, corpus, ProbeSettings())
    assert set(curve) == {0, 3}


def test_a_corpus_without_audio_is_refused(corpus, entry, tmp_path):
    corpus.frame["audio"] = None
    with pytest.raises(InputError, match="none of the 10 utterances of noise has audio; modality 'audio' embeds it"):
        run(corpus, entry("hubert_group"), tmp_path)


def test_a_segment_is_embedded_as_a_file_of_its_own(corpus, entry, tmp_path):
    settings = entry("hubert_group", frames=True)
    own = run(corpus, settings, tmp_path, "own")
    sounds = [soundfile.read(tmp_path / "audio" / f"u{i}.wav", dtype="float32")[0] for i in range(10)]
    soundfile.write(tmp_path / "audio" / "all.wav", np.concatenate(sounds), 16_000, subtype="FLOAT")
    ends = np.cumsum([len(each) for each in sounds]) / 16_000
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
        run(corpus, entry("hubert_group", batch_size=1, shard_size=1), tmp_path)


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_tuned_encoder_is_embedded_just_like_a_frozen_one(method, corpus, entry, place, tmp_path):
    settings = ExpertSettings(
        modality="audio",
        encoder=EncoderSettings(checkpoint=str(place("w2v_bert"))),
        network=NetworkSettings(adaptation=AdaptationSettings(method=method)),
        labels=["a", "b"],
        attributes=[],
        attribute_scale=[1.0, 7.0],
        attribute_range="signed",
        seed=1,
    )
    network = build(settings, CPU)
    with torch.no_grad():
        for key, parameter in network.named_parameters():
            if parameter.requires_grad and key.startswith("encoder."):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(len(key))))
    save_expert(tmp_path / "expert", network, settings)
    folder = run(corpus, entry("w2v_bert", encoder=None, expert=str(tmp_path / "expert")), tmp_path)
    frozen = run(corpus, entry("w2v_bert"), tmp_path, "frozen")
    assert embeddings.read_info(folder).checkpoint == str(tmp_path / "expert")
    waveform = decoding.decode(tmp_path / "audio" / "u1.wav")
    with torch.no_grad():
        states = network.encoder(**network.encoder.prepare([waveform])).layers[3][0].mean(dim=0).numpy()
    tuned, untuned = (embeddings.read_layer(each, 3)[1][1] for each in (folder, frozen))
    np.testing.assert_allclose(tuned, states, rtol=1e-3, atol=1e-3)
    assert np.abs(untuned - states).max() > 0.05
    text = entry("bert", encoder=None, expert=str(tmp_path / "expert"))
    with pytest.raises(InputError, match="has an encoder of the other modality, expected 'text'"):
        run(corpus, text, tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"expert": "models/x"}, "expected either encoder or expert"),
        ({"encoder": None}, "expected either encoder or expert"),
        ({"layers": [2, 1]}, r"layers is \[2, 1\], expected ascending"),
        ({"layers": []}, "layers"),
        ({"pooling": "max"}, "pooling is 'max', expected 'mean' or 'mean_std'"),
        ({"modality": "text", "batch_seconds": 3.0}, "batch_seconds is for audio"),
        ({"encoder": {"checkpoint": "x", "layer_kept": 3}}, "encoder.layer_kept is not a parameter"),
    ],
)
def test_wrong_parameters_are_refused_by_name(change, said, entry):
    with pytest.raises(ParameterError, match=said):
        entry("hubert_group", **change)


def test_settings_load_neither_torch_nor_transformers():
    code = "import sys, pipeline_lib.params.embedding; sys.exit(bool({'torch', 'transformers'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_two_workers_write_the_bytes_of_one_process(corpus, entry, tmp_path):
    alone = digest(run(corpus, entry("hubert_group", frames=True), tmp_path, "alone"))
    (leftover,) = (tmp_path / "work").iterdir()
    shards = digest(leftover)
    for file in leftover.iterdir():
        file.unlink()
    spread = run(corpus, entry("hubert_group", frames=True), tmp_path, "spread", executor={"workers": 2})
    assert digest(spread) == alone
    assert list((tmp_path / "work").iterdir()) == [leftover]
    again = digest(leftover)
    assert {k: v for k, v in again.items() if k != ".token"} == {k: v for k, v in shards.items() if k != ".token"}

"""eGeMAPS functionals as an encoder: openSMILE's own numbers, from the recording to the stored table."""

import sys
from importlib.metadata import version

import numpy as np
import opensmile
import pytest
import soundfile
import torch

from pipeline_lib.audio.decoding import decode
from pipeline_lib.embedding.embed import embed
from pipeline_lib.encoders import functionals
from pipeline_lib.encoders.load import load_frozen, load_speech
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.check import check
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.machine import EmbeddingMachine
from pipeline_lib.recipes.compose import write_yaml
from pipeline_lib.tables import embeddings
from tests.recipes.laid_down import overlaid
from tests.scoring.corpora import drawn_manifest

NAME = "functionals/eGeMAPSv02"
CPU = torch.device("cpu")


def entry(**changes):
    return EmbeddingSettings.parse(
        {"modality": "audio", "encoder": {"checkpoint": NAME}, "shard_size": 2, **changes}, "embedding.egemaps"
    )


def directly(waveform):
    extractor = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    return extractor.process_signal(waveform, 16_000).to_numpy()[0]


@pytest.fixture
def spoken(tmp_path):
    """Five recordings, of 44.1 and 16 kHz: voiced, noisy, silent, shorter than 60 ms, and beyond full scale."""
    corpus = drawn_manifest(utterances=2)
    time = np.arange(22_050) / 44_100
    sounds = [
        (0.3 * np.sign(np.sin(2 * np.pi * 130 * time)) * np.sin(2 * np.pi * 3 * time) ** 2, 44_100),
        (0.1 * np.random.default_rng(1).normal(size=9_000), 16_000),
        (np.zeros(4_000), 16_000),
        (0.1 * np.random.default_rng(2).normal(size=700), 16_000),
        (1.3 * np.sin(2 * np.pi * 200 * np.arange(6_000) / 16_000), 16_000),
    ]
    for i, (wave, rate) in enumerate(sounds):
        soundfile.write(tmp_path / f"{i}.wav", wave, rate, subtype="FLOAT")
    frame = corpus.frame.iloc[:5].reset_index(drop=True)
    names = [f"{i}.wav" for i in range(5)]
    durations = [len(wave) / rate for wave, rate in sounds]
    frame = frame.assign(audio=names, audio_sha256=[f"{i:064d}" for i in range(5)], duration_s=durations)
    return type(corpus)(frame, "sounds", corpus.labels)


def test_a_stored_layer_is_what_opensmile_computes_and_what_it_cannot_take_is_counted(spoken, tmp_path, capsys):
    machine = EmbeddingMachine.parse({"device": "cpu"}, "embedding")
    embed(spoken, tmp_path, None, entry(), tmp_path / "out", tmp_path / "work", machine)
    ids, stored = embeddings.read_layer(tmp_path / "out", 0)
    assert ids.tolist() == spoken.ids.tolist() and stored.dtype == np.float32
    waves = [decode(tmp_path / f"{i}.wav") for i in range(5)]
    for row in (0, 1, 2):
        np.testing.assert_array_equal(stored[row], directly(waves[row]).astype(np.float32))
        np.testing.assert_allclose(stored[row], directly(waves[row]), rtol=1e-6)
    np.testing.assert_array_equal(stored[3], directly(np.pad(waves[3], (0, 260))).astype(np.float32))
    np.testing.assert_array_equal(stored[4], directly(np.clip(waves[4], -1, 32767 / 32768)).astype(np.float32))
    assert (waves[4].max() == 1) and not np.allclose(stored[4], directly(waves[4]))  # wraps around
    assert np.isfinite(stored).all() and np.abs(stored).max() > 100
    printed = capsys.readouterr().out
    assert f"1 of 5 recordings of sounds are shorter than the 0.06 s that the encoder needs, {ids[3]!r}" in printed
    info = embeddings.read_info(tmp_path / "out")
    known = f"eGeMAPSv02 of opensmile-{version('opensmile')}"
    assert (info.encoder, info.checkpoint, info.dtype, info.layers, info.width) == (known, NAME, "float32", (0,), 88)
    assert (info.device, info.precision, info.frame_rate_hz) == ("cpu", "float32", None)


def test_a_vector_does_not_depend_on_its_batch_and_half_precision_would_lose_it(spoken, tmp_path):
    encoder = load_frozen(EncoderSettings(checkpoint=NAME), "audio", CPU)
    waves = [decode(tmp_path / f"{i}.wav") for i in (0, 1, 4)]
    together = encoder(**encoder.prepare(waves))
    alone = [encoder(**encoder.prepare([wave])).layers[0][0] for wave in waves]
    assert together.layers[0].shape == (3, 1, 88) and together.lengths.tolist() == [1, 1, 1]
    assert torch.equal(together.layers[0], torch.stack(alone))
    values = together.layers[0].numpy()
    values = values[values != 0]
    assert np.abs(values.astype(np.float16) / values - 1).max() > 1e-4  # float32: 0
    with pytest.raises(ValueError, match="a waveform has 959 samples, expected at least 960"):
        encoder.prepare([np.zeros(959, np.float32)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": True}, r"frames is True and encoder.checkpoint 'functionals/eGeMAPSv02', .* expected False"),
        ({"pooling": "mean_std"}, "pooling is 'mean_std' and .* one vector a recording; expected 'mean'"),
        ({"layers": [0, 1]}, r"layers is \[0, 1\] and .* expected 'all' or \[0\]"),
        ({"modality": "text"}, "modality is 'text' and .* expected 'audio'"),
        (
            {"encoder": {"checkpoint": "functionals/egemaps"}},
            r"expected a checkpoint or one of \['functionals/eGeMAPSv02",
        ),
        (
            {"encoder": {"checkpoint": NAME, "layers_kept": 2}},
            "layers_kept is 2, which .* set it to null",
        ),
        ({"encoder": {"checkpoint": NAME, "pretrained": False}}, "pretrained is False, which .* set it to True"),
    ],
)
def test_what_functionals_do_not_have_is_refused_by_name(changes, message):
    with pytest.raises(ParameterError, match=message):
        entry(**changes)
    assert entry(layers=[0]).encoder.is_functionals


def test_no_expert_is_trained_on_functionals():
    audio = overlaid("finetuning: {audio: {encoder: {checkpoint: functionals/eGeMAPSv02}}}")["finetuning"]["audio"]
    with pytest.raises(ParameterError, match="encoder.checkpoint is .*, one vector a recording, which no expert is"):
        FinetuningSettings.parse(audio, "finetuning.audio")
    with pytest.raises(InputError, match="is no checkpoint; expected one: functionals are for an embedding"):
        load_speech(EncoderSettings(checkpoint=NAME), CPU)


def test_without_opensmile_the_first_stage_says_what_to_install_under_which_licence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "opensmile", None)  # as if it were not installed
    real = functionals.find_spec
    for module in ("pipeline_lib.encoders.functionals", "pipeline_lib.params.inputs"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None if name == "opensmile" else real(name))
    licence = (
        r"opensmile is not installed: pip install .*\[egemaps\]' \(audEERING's research licence, no commercial use\)"
    )
    with pytest.raises(InputError, match=licence):
        load_frozen(EncoderSettings(checkpoint=NAME), "audio", CPU)
    params = overlaid(
        "embedding: {audio: {}, text: {}, egemaps: {like: audio, encoder: {checkpoint: functionals/eGeMAPSv02}}}"
    )
    params["embedding"]["egemaps"]["reads"]["encoder"] = "data/manifest.parquet"
    path = tmp_path / "params.yaml"
    path.write_text(write_yaml(params))
    with pytest.raises(ParameterError, match=r"embedding.egemaps.encoder.checkpoint is .*, and " + licence):
        check(path)

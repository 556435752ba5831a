"""Experts of several branches on disk: encoders that are taken, and checkpoints found from another folder."""

import shutil

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk
from pipeline_lib.experts.checkpoints import digest_of, with_digests
from pipeline_lib.experts.settings import ExpertBranch, ExpertSettings
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.network import AdaptationSettings, HeadSettings, LoraSettings, MixerSettings, PoolingSettings
from tests.encoders import checkpoints

CPU = torch.device("cpu")
UTTERANCES = [
    ((0.1 * np.random.default_rng(0).standard_normal(6_000)).astype(np.float32), "i am so happy"),
    (None, "the"),
    ((0.1 * np.random.default_rng(1).standard_normal(9_000)).astype(np.float32), None),
]


def branch(checkpoint=None, method="frozen", **values):
    encoder = None if checkpoint is None else EncoderSettings(checkpoint=checkpoint)
    adaptation = AdaptationSettings(method=method, lora=LoraSettings(r=2))
    return ExpertBranch(**{"encoder": encoder, "layers": "last", "adaptation": adaptation, **values})


def settings(branches, **values):
    join = {"mixer": MixerSettings(kind="concatenation")} if len(branches) > 1 else {"pooling": PoolingSettings()}
    fixed = {
        "labels": ["a", "b"],
        "attributes": [],
        "attribute_scale": [1.0, 5.0],
        "attribute_range": "unit",
        "seed": 3,
    }
    read = {"max_s": 10.0, "text": "transcripts", "head": HeadSettings(width=4)}
    return ExpertSettings(**{"branches": branches, **join, **fixed, **read, **values})


def outputs(network, utterances=UTTERANCES):
    with torch.inference_mode():
        return network.views(network.encoder.prepare(utterances))


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with two checkpoints, from whose folder paths are relative."""
    folder = tmp_path / "project"
    (folder / "data").mkdir(parents=True)
    for name in ("w2v_bert", "bert"):
        checkpoints.write(folder / "data", name)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def joint(project):
    """An expert whose audio encoder is an audio expert's, tuned, and its settings and outputs."""
    audio = settings({"audio": branch("data/w2v_bert", "lora")})
    network = disk.build(audio, CPU)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
    disk.save_expert(project / "models" / "audio", network, audio)
    config = settings({"text": branch("data/bert", layers="weighted"), "audio": branch(expert="models/audio")})
    network = disk.build(config, CPU)
    disk.save_expert(project / "models" / "joint", network, config)
    return config, outputs(network)


def test_branches_are_in_the_order_of_the_modalities(joint, project):
    config, before = joint
    saved = disk.read_settings(project / "models" / "joint")
    assert config.modalities == saved.modalities == ("audio", "text")
    assert saved == with_digests(config)
    assert {"logits", "audio.logits", "text.logits"} <= before.keys()
    names = load_file(project / "models" / "joint" / "head.safetensors").keys()
    assert {name.split(".")[0] for name in names} == {"layer_weights", "heads"}
    assert "layer_weights.text.scores" in names


def test_it_is_loaded_where_the_expert_it_was_taken_from_is_gone(joint, project):
    _, before = joint
    shutil.rmtree(project / "models" / "audio")
    after = outputs(disk.load(project / "models" / "joint", CPU))
    assert all(torch.equal(before[name].nan_to_num(), after[name].nan_to_num()) for name in before)


def test_it_is_loaded_from_another_folder_and_in_a_copy_of_the_project(joint, project, tmp_path, monkeypatch):
    _, before = joint
    copy = shutil.copytree(project, tmp_path / "copy")
    for folder in (project, copy):
        monkeypatch.chdir(tmp_path)
        after = outputs(disk.load(folder / "models" / "joint", CPU))
        assert all(torch.equal(before[name].nan_to_num(), after[name].nan_to_num()) for name in before)
        network = disk.load(folder / "models" / "joint", CPU)
        assert network.encoder.branches["text"].checkpoint == str(folder / "data" / "bert")


def test_a_checkpoint_that_is_nowhere_is_named_with_both_folders(joint, project, tmp_path, monkeypatch):
    shutil.move(project / "data" / "bert", tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    message = r"'data/bert' of branches.text is neither in the current folder nor in .*project; copy it there"
    with pytest.raises(InputError, match=message):
        disk.load(project / "models" / "joint", CPU)


def test_a_checkpoint_of_other_content_is_refused_and_the_projects_own_is_preferred(
    joint, project, tmp_path, monkeypatch
):
    other = tmp_path / "other"
    (other / "data").mkdir(parents=True)
    changed = shutil.copytree(project / "data" / "bert", other / "data" / "bert") / "config.json"
    changed.write_text(changed.read_text() + "\n")
    monkeypatch.chdir(other)
    network = disk.load(project / "models" / "joint", CPU)
    assert network.encoder.branches["text"].checkpoint == str(project / "data" / "bert")
    shutil.copy(changed, project / "data" / "bert" / "config.json")
    with pytest.raises(InputError, match=r"branches.text has other files than the one .* train the expert again"):
        disk.load(project / "models" / "joint", CPU)


def test_a_digest_is_of_what_is_loaded_and_of_nothing_else(project):
    before = digest_of(project / "data" / "bert")
    (project / "data" / "bert" / ".DS_Store").write_bytes(b"\0")
    assert digest_of(project / "data" / "bert") == before
    config = project / "data" / "bert" / "config.json"
    config.write_text(config.read_text() + " ")
    assert digest_of(project / "data" / "bert") != before


def test_an_encoder_is_taken_of_the_modality_that_is_named(joint, project):
    folder = project / "models" / "joint"
    assert disk.load_encoder(folder, CPU, "text").kind == "bert"
    assert disk.load_encoder(project / "models" / "audio", CPU).kind == "wav2vec2-bert"
    for modality in (None, "face"):
        with pytest.raises(InputError, match=r"has encoders of \['audio', 'text'\], the modality is"):
            disk.load_encoder(folder, CPU, modality)


def test_a_branch_takes_the_encoder_of_an_expert_of_its_modality_alone(joint, project):
    for expert, read in (("models/audio", "audio"), ("models/joint", "audio and text")):
        config = settings({"audio": branch("data/w2v_bert"), "text": branch(expert=expert)})
        with pytest.raises(
            InputError, match=f"branches.text.expert is {expert}, which reads {read}; expected one of text"
        ):
            disk.build(config, CPU)


def test_frozen_branches_of_several_or_of_cached_embeddings_are_rounded(project):
    audio, text = branch("data/w2v_bert"), branch("data/bert", "lora")
    assert settings({"audio": audio}).rounded == ()
    assert settings({"audio": audio}, cache_embeddings=True).rounded == ("audio",)
    assert settings({"text": text}, cache_embeddings=True).rounded == ()
    assert settings({"audio": audio, "text": text}).rounded == ("audio",)
    frames = disk.build(settings({"audio": audio}, cache_embeddings=True), CPU)
    values = frames.frames(frames.encoder.prepare([(UTTERANCES[0][0],)]))["audio"].values
    assert torch.equal(values, values.half().float())


def test_separate_heads_are_one_a_combination(project):
    config = settings({"audio": branch("data/w2v_bert"), "text": branch("data/bert")}, heads="separate")
    assert list(disk.build(config, CPU).heads) == ["audio", "text", "both"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pooling": None}, "expected a pooling and no mixer"),
        ({"mixer": MixerSettings()}, "expected a pooling and no mixer"),
        ({"heads": "separate"}, "heads is 'separate'"),
        ({"prior": [1.0]}, r"prior has 1 values, expected one for each label of \['a', 'b'\]"),
        ({"branches": {}}, "at least 1 item"),
        ({"branches": {"face": branch("x")}}, "'face' is no modality"),
        (
            {"cache_embeddings": True, "head": HeadSettings(kind="sequence_classification")},
            "runs the text model itself",
        ),
    ],
)
def test_what_contradicts_itself_is_refused(values, message):
    with pytest.raises(ValidationError, match=message):
        settings(**{"branches": {"audio": branch("x")}, **values})


def test_a_branch_has_an_encoder_or_an_expert():
    with pytest.raises(ValidationError, match="expected either encoder or expert"):
        branch("x", expert="models/audio")
    with pytest.raises(ValidationError, match="expected either encoder or expert"):
        branch()

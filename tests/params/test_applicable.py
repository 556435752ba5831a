"""Keys that apply to some modalities only: refused elsewhere, all at once, and never written."""

import time

import pytest
from ruamel.yaml import YAML

from pipeline_lib import modalities
from pipeline_lib.modalities import Modality
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.check import check, read_all
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.finetuning import FinetuningSettings, JointEntry, SingleEntry, read_entry
from tests.recipes.laid_down import YAML12, text

ENCODER = {"checkpoint": "models/x"}
PHASES = {"main": {"epochs": 1}}
EARLIER = {  # what params.yaml held of other kinds when every entry had every key
    "finetuning.audio": {
        "text": "transcripts",
        "context": 0,
        **dict.fromkeys(("branches", "mixer", "passes")),
        "heads": "shared",
        "modality_dropout": 0.0,
    },
    "finetuning.text": {
        **dict.fromkeys(("branches", "mixer", "passes")),
        "heads": "shared",
        "modality_dropout": 0.0,
        "encoder.spec_augment": None,
        "encoder.layerdrop": 0.0,
        "encoder.whisper_length": "padded_30s",
        "adaptation.freeze_feature_encoder": True,
        "phases.main.chunk_s": None,
        "augmentation": {"speed": {"share": 0.0}},
        "predict.max_s": 30.0,
    },
    "embedding.audio": {"text": "transcripts", "context": 2, "encoder.spec_augment": None, "encoder.layerdrop": 0.0},
    "embedding.text": {"encoder.whisper_length": "padded_30s", "batch.seconds": None},
}


def put(values, dotted, value):
    *path, last = dotted.split(".")
    for part in path:
        values = values[part]
    values[last] = value


def parsed(**values):
    return FinetuningSettings.parse({"phases": PHASES} | values, "finetuning.x")


@pytest.fixture
def smell(monkeypatch):
    monkeypatch.setitem(modalities.MODALITIES, "smell", Modality("smell", "smell", "seconds", "video"))


def test_every_key_of_another_kind_is_refused_at_once_beside_every_other_mistake(tmp_path):
    values = YAML12.load(text("default"))
    expected = set()
    for entry, keys in EARLIER.items():
        for key, value in keys.items():
            put(values, f"{entry}.{key}", value)
            expected.add(f"{entry}.{key}")
    put(values, "finetuning.text.seed", -1)
    put(values, "finetuning.text.heed", 1)
    path = tmp_path / "params.yaml"
    with path.open("w") as file:
        YAML().dump(values, file)
    began = time.process_time()
    with pytest.raises(ParameterError) as caught:
        check(path)
    assert time.process_time() - began < 2
    lines = [line.removeprefix(f"{path}: ") for line in str(caught.value).splitlines()]
    assert {line.split(" ")[0] for line in lines if " applies only to " in line} == expected
    others = {line.split(" ")[0] for line in lines if " applies only to " not in line}
    assert others == {"finetuning.text.seed", "finetuning.text.heed"}
    assert len(lines) == len(expected) + 2
    assert "finetuning.audio.branches applies only to modality 'joint' (got 'audio'): remove it" in lines
    assert "finetuning.text.predict.max_s applies only to modality 'audio' or 'joint' (got 'text'): remove it" in lines
    assert "embedding.text.batch.seconds applies only to modality 'audio' (got 'text'): remove it" in lines


@pytest.mark.parametrize(
    ("branch", "key"),
    [({"encoder": ENCODER | {"layerdrop": 0.0}}, "encoder.layerdrop")]
    + [({"encoder": ENCODER, "adaptation": {"freeze_feature_encoder": True}}, "adaptation.freeze_feature_encoder")],
)
def test_a_key_of_another_branch_is_refused_in_its_branch(branch, key):
    message = rf"x.branches.text.{key} applies only to a branch of 'audio' \(got 'text'\): remove it$"
    with pytest.raises(ParameterError, match=message):
        parsed(modality="joint", branches={"audio": {"encoder": ENCODER}, "text": branch})


def test_no_entry_of_params_yaml_holds_a_null_of_another_kind():
    params = read_all(YAML12.load(text("default")))
    single = {"encoder", "embedding", "layers", "adaptation", "pooling"}
    joint = {"branches", "mixer", "passes", "heads", "modality_dropout"}
    audio, spoken = (set(params.finetuning[name].model_dump()) for name in ("audio", "text"))
    assert not (audio | spoken) & joint
    assert single <= audio & spoken
    assert (audio - spoken, spoken - audio) == ({"augmentation"}, {"text", "context"})


@pytest.mark.parametrize("modality", ["video", None, ["audio"], 3])
def test_a_modality_that_there_is_not_is_refused_as_such_alone(modality):
    with pytest.raises(ParameterError) as caught:
        parsed(modality=modality, encoder=ENCODER, text="reference")
    assert str(caught.value).startswith("params.yaml: finetuning.x.modality is ")
    assert len(str(caught.value).splitlines()) == 1
    if modality == "video":
        assert str(caught.value).partition(" (")[0].endswith("is 'video', expected 'audio', 'text' or 'joint'")


@pytest.mark.parametrize("values", [None, 3, [], "audio", {}])
def test_what_is_no_entry_is_refused(values):
    with pytest.raises(ParameterError, match=r"finetuning\.x"):
        FinetuningSettings.parse(values, "finetuning.x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"embedding": "data/embeddings/a"}, None),
        ({"embedding": "data/embeddings/a", "cache_embeddings": False}, "and cache_embeddings false; set cache_embed"),
        ({"adaptation": {"method": "lora"}}, "cache_embeddings is true and adaptation.method 'lora', which changes"),
        (
            {"adaptation": {"method": "lora"}, "embedding": "data/embeddings/a"},
            "embedding is 'data/embeddings/a' and adaptation.method 'lora', which changes the encoder",
        ),
        (
            {"phases": {"main": {"chunk_s": [1.0, 2.0]}}},
            "cache_embeddings is true and phases.main.chunk_s draws chunks; set chunk_s to null",
        ),
        (
            {"augmentation": {"speed": {"share": 0.5}}, "embedding": "data/embeddings/a"},
            "embedding is 'data/embeddings/a', .* and augmentation is on; set its .*, or embedding to null",
        ),
        (
            {"modality": "text", "head": {"kind": "sequence_classification"}},
            "cache_embeddings is set and head.kind 'sequence_classification', which runs the text model whole",
        ),
    ],
)
def test_frames_of_one_modality_are_cached_where_they_stay_the_same(changes, message):
    entry = {"modality": "audio", "encoder": ENCODER, "adaptation": {"method": "frozen"}, "cache_embeddings": True}
    if message is None:
        assert parsed(**entry | changes).branches["audio"].embedding == changes.get("embedding")
    else:
        with pytest.raises(ParameterError, match=message):
            parsed(**entry | changes)


def test_an_entry_is_read_by_the_class_of_its_kind(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(text("shared_transformer_baselines"))
    assert isinstance(read_entry("finetuning.late", path), JointEntry)
    path.write_text(text("default"))
    assert isinstance(read_entry("finetuning.text", path), SingleEntry)
    with pytest.raises(ParameterError, match=r"has no section 'finetuning.late'"):
        read_entry("finetuning.late", path)


def test_a_further_modality_is_a_row_of_the_table(smell):
    assert EmbeddingSettings.parse({"modality": "smell", "encoder": ENCODER}, "embedding.x").modality == "smell"
    single = parsed(modality="smell", encoder=ENCODER)
    assert [*single.branches] == ["smell"]
    branches = {name: {"encoder": ENCODER} for name in ("smell", "text", "audio")}
    joint = parsed(modality="joint", branches=branches)
    assert [*joint.branches] == ["audio", "text", "smell"]
    assert joint.passes == ["audio", "text", "smell", "audio+text", "audio+smell", "text+smell", "both"]
    assert parsed(modality="joint", branches=branches, passes=["text+smell"]).passes == ["text+smell"]
    assert FinetuningSettings.parse(joint.model_dump(), "finetuning.x") == joint
    del branches["audio"]
    message = r"x.augmentation applies only to modality 'joint' with a branch of 'audio' \(got branches \['"
    with pytest.raises(ParameterError, match=message):
        parsed(modality="joint", branches=branches, augmentation={})
    with pytest.raises(ParameterError, match=r"combination is 'audio', expected 'both', or some of"):
        parsed(modality="joint", branches=branches, passes=["audio"])
    with pytest.raises(ParameterError, match="modality is 'taste', expected 'audio', 'text', 'smell' or 'joint'"):
        parsed(modality="taste", encoder=ENCODER)

"""Every recipe against the real settings, and params.yaml against its recipe."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline_lib.recipes import apply, schema
from pipeline_lib.recipes.check import check, read_all
from pipeline_lib.recipes.inputs import slots_idle, slots_missing
from pipeline_lib.settings import ParameterError

YAML12 = YAML(typ="safe", pure=True)


@pytest.fixture(params=apply.names())
def recipe(request):
    return YAML12.load(apply.compose(request.param))


def test_a_recipe_is_read_by_every_rooms_settings(recipe):
    read_all(recipe)


def test_after_names_exactly_what_each_entry_reads(recipe):
    params = read_all(recipe)
    assert slots_missing(params) == []
    assert slots_idle(params) == []


def test_a_recipe_is_written_out_whole(recipe):
    # every knob stands in params.yaml, so that -S finds it; what a method does not use may be left to its default
    params = read_all(recipe)
    for section in ("corpus", "transcription", "fusion", "scoring"):
        missing = set(type(getattr(params, section)).model_fields) - set(recipe[section])
        assert not missing, f"{section} lacks {missing}"
    for section in ("demonstration", "embedding", "finetuning", "rebalancing"):
        for name, entry in getattr(params, section).items():
            missing = set(type(entry).model_fields) - set(recipe[section][name])
            assert not missing, f"{section}.{name} lacks {missing}"


def test_the_default_can_be_run_as_it_is(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(apply.compose("default"))
    check(path)


def test_the_schema_file_is_up_to_date():
    assert schema.SCHEMA.read_text() == schema.text(), "run python -m pipeline_lib.recipes.schema"


def test_a_recipe_keeps_the_comments_of_the_default():
    assert apply.compose("taltech").startswith(
        "# yaml-language-server: $schema=pipeline_lib/recipes/params.schema.json"
    )


def test_an_unknown_recipe_is_refused_with_the_known():
    with pytest.raises(ParameterError, match=r"no recipe 'taltec', wanted one of \['default'"):
        apply.compose("taltec")


def test_outputs_that_no_entry_names_are_stale_and_the_demonstration_checkpoints_never_are(tmp_path):
    params = read_all(YAML12.load(apply.compose("default")))
    for name in ("models/audio", "models/old", "models/demo", "models/fusion", "data/embeddings/old"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("data/predictions/audio.parquet", "data/predictions/old.parquet", "data/rebalanced/.gitignore"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = {str(path.relative_to(tmp_path)) for path in apply.stale_outputs(params, tmp_path)}
    assert found == {"models/old", "data/embeddings/old", "data/predictions/old.parquet"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("fusion", "experts", ["audio", "vision"]), r"fusion.experts names 'vision', which is not among"),
        (
            ("scoring", "tables", {"fused": "data/fussed.parquet"}),
            r"scoring.tables.fused is 'data/fussed.parquet', which no",
        ),
        (("rebalancing", "vision", None), r"rebalancing.vision"),
        (("corpus", "root", "data/demonstration/french"), r"data/demonstration/french"),
        (("surprise", "x", 1), r"'surprise' is not a section, wanted one of"),
    ],
)
def test_what_one_section_names_and_no_other_makes_is_refused(tmp_path, change, message):
    section, key, value = change
    values = YAML12.load(apply.compose("default"))
    if section == "rebalancing":
        value = values["rebalancing"]["audio"]
    if isinstance(value, dict) and section == "scoring":
        value = values["scoring"]["tables"] | value
    values.setdefault(section, {})[key] = value
    path = tmp_path / "params.yaml"
    YAML12.dump(values, path)
    with pytest.raises(ParameterError, match=message):
        check(path)


def test_a_checkpoint_outside_its_slots_is_refused(tmp_path):
    values = YAML12.load(apply.compose("default"))
    values["finetuning"]["audio"]["after"] = dict.fromkeys("abc", "data/manifest.parquet")
    path = tmp_path / "params.yaml"
    YAML12.dump(values, path)
    with pytest.raises(ParameterError, match=r"finetuning.audio reads 'models/demo/w2v_bert', which stands in none of"):
        check(path)


def test_applying_writes_params_whole_and_leaves_no_draft(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(Path(apply.__file__).parents[2] / "models")
    apply.main("default", tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").read_text() == apply.compose("default")
    assert [path.name for path in tmp_path.glob(".*")] == []
    assert "is now the recipe default" in capsys.readouterr().out

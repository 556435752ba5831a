"""Every recipe against the real settings, and params.yaml against its recipe."""

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from pipeline_lib.params import outputs, schema
from pipeline_lib.params.base import FILLER, ParameterError
from pipeline_lib.params.check import check, read_all
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.inputs import entries_with_slots, parts_with_encoder, wrong_slots
from pipeline_lib.params.scoring import leave_out_fusion
from pipeline_lib.recipes import apply
from pipeline_lib.recipes.compose import FOLDER, NAMED, compose, names, write_yaml
from pipeline_lib.recipes.small import SIZE_KEYS, shrink
from tests.recipes.laid_down import YAML12, filled, overlaid, text


@pytest.fixture(params=[(name, small) for name in names() for small in (False, True)])
def recipe(request):
    return YAML12.load(text(*request.param))


def test_a_recipe_is_read_by_every_sections_settings_and_by_the_schema_of_editors(recipe):
    read_all(recipe)
    by_schema = Draft202012Validator(json.loads(schema.SCHEMA.read_text()))
    assert [error.message for error in by_schema.iter_errors(recipe)] == []
    for entry in recipe["finetuning"].values():  # a key of another kind
        entry["encoder" if "branches" in entry else "branches"] = None
    assert len(list(by_schema.iter_errors(recipe))) == len(recipe["finetuning"])


def test_every_slot_names_what_its_entry_reads(recipe):
    params = read_all(recipe)
    assert wrong_slots(params) == []
    for _, slots, reads in entries_with_slots(params):
        assert slots.model_dump() == reads
    for entry in (*params.embedding.values(), *params.finetuning.values()):  # what there is no reader of yet
        assert {getattr(entry.reads, role, FILLER) for role in ("faces", "video", "teacher")} == {FILLER}


def test_the_slots_of_an_entry_are_the_paths_that_stand_in_it(recipe):
    """Every local path of an entry of finetuning stands in its slots, and nothing else: read off the YAML."""
    for entry in recipe["finetuning"].values():
        expected = set()
        for part in entry.get("branches", {"only": entry}).values():
            named = part.get("embedding") or part.get("expert") or part["encoder"]["checkpoint"]
            expected |= {named} if named.startswith(("models/", "data/", "/")) else set()
        augmentation = entry.get("augmentation", {"speed": {}})
        for sounds in (part for part in augmentation.values() if "root" in part):
            expected |= {sounds["root"]} if sounds["probability"] and sounds["root"] else set()
        if entry.get("text") == "transcripts":
            expected.add("data/transcripts.parquet")
        assert {*entry["reads"].values()} - {FILLER} == expected


def test_a_recipe_is_written_out_whole(recipe):
    # every knob stands in params.yaml, so that -S finds it; what a method does not use may be left to its default
    params = read_all(recipe)
    for section in ("corpus", "transcription", "fusion", "scoring"):
        missing = set(type(getattr(params, section)).model_fields) - set(recipe[section])
        assert not missing, f"{section} lacks {missing}"
    for section in ("demonstration", "embedding", "finetuning", "rebalancing"):
        for name, entry in getattr(params, section).items():
            missing = set(entry.model_dump()) - set(recipe[section][name])
            assert not missing, f"{section}.{name} lacks {missing}"


def test_the_default_is_written_as_it_stands_in_its_file():
    assert text("default") == (FOLDER / "default.yaml").read_text()


def test_the_default_can_be_run_as_it_is(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(text("default"))
    check(path)


def test_the_schema_file_is_up_to_date():
    assert schema.SCHEMA.read_text() == schema.text(), "run ser schema"


def test_a_recipe_keeps_the_comments_of_the_default():
    assert text("taltech").startswith("# yaml-language-server: $schema=pipeline_lib/params/params.schema.json")


def test_an_unknown_recipe_is_refused_with_the_known():
    with pytest.raises(ParameterError, match=r"no recipe 'taltec', expected one of \['beyond', 'default'"):
        compose("taltec")


def test_outputs_that_no_entry_names_are_stale_and_the_demonstration_checkpoints_never_are(tmp_path):
    params = read_all(YAML12.load(text("default")))
    folders = ("audio", "old", "demo", "fusion", "rebalancing/audio", "rebalancing/old")
    for name in (*(f"models/{folder}" for folder in folders), "data/embeddings/old"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("data/predictions/audio.parquet", "data/predictions/old.parquet", "data/rebalanced/.gitignore"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in ("models/audio", "models/old"):
        (tmp_path / name / "settings.json").touch()
    found = {str(path.relative_to(tmp_path)) for path in outputs.stale_outputs(params, tmp_path)}
    assert found == {"models/old", "data/embeddings/old", "data/predictions/old.parquet", "models/rebalancing/old"}


def test_applying_writes_params_whole_and_leaves_no_draft(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(Path(apply.__file__).parents[2] / "models")
    apply.apply("default", out=tmp_path / "params.yaml")
    assert (tmp_path / "params.yaml").read_text() == text("default")
    assert [path.name for path in tmp_path.glob(".*")] == []
    assert "is now the recipe default" in capsys.readouterr().out


def test_with_one_expert_the_fused_rows_are_left_out_and_nothing_is_compared_with_itself(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").symlink_to(Path(apply.__file__).parents[2] / "models")
    apply.apply("default", sets=["fusion.experts=[audio]"], out=tmp_path / "params.yaml")
    params = check(tmp_path / "params.yaml", present=False).scoring
    names = ["audio_raw", "audio", "text_raw", "text", "audio_layers", "text_layers"]
    assert [*params.tables] == names
    assert (params.comparison.system, params.comparison.against) == ("audio", [])
    assert "since fusion has one expert: fused, fused_crossfitted" in capsys.readouterr().out


@pytest.mark.parametrize("name", names())
def test_no_recipe_scores_the_fusion_of_one_expert(name):
    values = compose(name)
    assert leave_out_fusion(values) == []


def test_settings_are_merged_and_named_entries_are_those_of_the_overlay():
    params = overlaid("finetuning: {audio: {seed: 7, phases: {main: {epochs: 3}}}}")
    assert list(params["finetuning"]) == ["audio"]
    assert params["finetuning"]["audio"]["seed"] == 7
    assert params["finetuning"]["audio"]["phases"]["main"]["epochs"] == 3
    assert params["finetuning"]["audio"]["phases"]["main"]["chunk_s"] == [1.5, 2.5]


def test_an_entry_like_another_begins_as_the_overlay_has_it_and_stays_its_own():
    params = overlaid("finetuning: {audio: {seed: 7}, second: {like: audio, targets: {gender: true}}}")
    assert params["finetuning"]["second"]["seed"] == 7
    assert params["finetuning"]["second"]["targets"]["gender"] is True
    assert params["finetuning"]["audio"]["targets"]["gender"] is False
    assert "like" not in params["finetuning"]["second"]


def test_an_entry_like_nothing_is_refused_with_the_known():
    with pytest.raises(
        ParameterError, match=r"finetuning.second is to be like 'audoi', .* \['audio', 'joint', 'text'\]"
    ):
        overlaid("finetuning: {second: {like: audoi}}")


def test_an_entry_like_joint_holds_every_knob_of_a_joint_expert():
    params = overlaid("finetuning: {both: {like: joint, mixer: {kind: late}, heads: separate}}")
    entry = YAML12.load(write_yaml(params))["finetuning"]["both"]
    read = FinetuningSettings.parse(entry, "finetuning.both")
    assert (read.modality, read.mixer.kind, read.mixer.pooling) == ("joint", "late", "mean")
    branch = (read.branches["audio"], entry["branches"]["audio"])
    for part, written in ((read, entry), (read.mixer, entry["mixer"]), branch):
        assert set(type(part).model_fields) == set(written)
    apply.change(params, "finetuning.both.mixer.kind=cross_attention")
    assert params["finetuning"]["both"]["mixer"]["kind"] == "cross_attention"


def test_on_stand_ins_a_joint_entry_has_a_small_checkpoint_a_branch():
    params = overlaid(
        "finetuning: {both: {like: joint, branches: {text: {encoder: {checkpoint: FacebookAI/roberta-large}}}}}"
    )
    shrink(params)
    entry = params["finetuning"]["both"]
    for section in ("rebalancing", "scoring"):
        params[section] = compose("default")[section]
    reads = filled(params)["finetuning"]["both"]["reads"]
    assert reads["transcripts"] == "data/transcripts.parquet"
    checkpoints = {name: branch["encoder"]["checkpoint"] for name, branch in entry["branches"].items()}
    assert checkpoints == {name: reads[name] for name in ("audio", "text")}


def test_mappings_with_names_of_ones_own_are_known_by_the_schema():
    def named(node):
        for key, each in node.get("properties", {}).items():
            kinds = [kind for kind in (each, *each.get("anyOf", [])) if "enum" not in kind.get("propertyNames", {})]
            if any(isinstance(kind.get("additionalProperties"), dict) for kind in kinds):
                yield key

    known = schema.schema()
    nodes = [known, *known["$defs"].values()]
    assert {key for node in nodes for key in named(node)} | {"shares"} == {*NAMED, "merge"} | {"shares"}


def test_on_stand_ins_a_recipe_keeps_what_makes_it_and_takes_the_sizes_of_the_default():
    whole, small = compose("taltech_attributes"), compose("taltech_attributes")
    shrink(small)
    default = compose("default")["finetuning"]["audio"]["phases"]["main"]
    assert list(small["finetuning"]) == list(whole["finetuning"])
    for name, phase in small["finetuning"]["audio"]["phases"].items():
        assert {key: phase[key] for key in SIZE_KEYS} == {key: default[key] for key in SIZE_KEYS}
        published = whole["finetuning"]["audio"]["phases"][name]
        assert {k: v for k, v in phase.items() if k not in SIZE_KEYS} == {
            k: v for k, v in published.items() if k not in SIZE_KEYS
        }
    assert small["rebalancing"] == whole["rebalancing"]
    assert small["fusion"] == whole["fusion"]


def test_what_stands_in_for_a_checkpoint_in_4_bit_is_128_wide_or_more_and_64_divides_its_widths():
    found = []
    for name in (name for name in names() if "weights: nf4" in text(name, small=True)):
        params = read_all(YAML12.load(text(name, small=True)))
        encoders = [part.encoder for _, _, part in parts_with_encoder(params) if part.encoder is not None]
        found += [each.checkpoint for each in encoders if each.weights == "nf4"]
    assert found  # taltech_postevaluation's Llama
    for checkpoint in set(found):
        config = json.loads((Path(checkpoint) / "config.json").read_text())
        widths = [config[name] for name in ("hidden_size", "intermediate_size")]
        assert min(widths) >= 128 and not any(width % 64 for width in widths)


def test_a_checkpoint_without_stand_in_is_refused_by_name():
    params = overlaid("finetuning: {audio: {encoder: {checkpoint: someone/model}}}")
    with pytest.raises(ParameterError, match=r"no stand-in for 'someone/model', only for \['FacebookAI"):
        shrink(params)


@pytest.mark.parametrize("assignment", ["fusion.metod=plda", "fusion", "nothing.at.all=1", "fusion.method.x=1"])
def test_setting_a_key_that_is_not_there_is_refused(assignment):
    with pytest.raises(ParameterError, match="expected key=value with a key of the recipe"):
        apply.change(compose("default"), assignment)


def test_applying_can_set_keys_and_says_what_is_not_there_yet(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    apply.apply("taltech", sets=["corpus.root=/nowhere/MSP", "fusion.interpolation.step=0.1"], out=Path("params.yaml"))
    written = YAML12.load(Path("params.yaml"))
    assert (written["corpus"]["root"], written["fusion"]["interpolation"]["step"]) == ("/nowhere/MSP", 0.1)
    said = capsys.readouterr().out
    assert "corpus.root '/nowhere/MSP' does not exist" in said
    assert "finetuning.audio.augmentation.noise.root is '/data/musan'" in said


def test_a_checkpoint_that_a_user_keeps_among_the_models_is_never_stale(tmp_path):
    params = read_all(YAML12.load(text("default")))
    (tmp_path / "models/sonar_eng").mkdir(parents=True)
    (tmp_path / "models/sonar_eng/config.json").touch()
    assert outputs.stale_outputs(params, tmp_path) == []


def test_a_path_is_replaced_wherever_it_stands():
    params = compose("beyond")
    apply.replace_path(params, "/data/musan=/mnt/musan")
    filled(params)
    for name in ("audio", "audio_2", "audio_3"):
        assert params["finetuning"][name]["augmentation"]["noise"]["root"] == "/mnt/musan"
        assert params["finetuning"][name]["reads"]["noise"] == "/mnt/musan"
    assert "/data/musan" not in write_yaml(params)


@pytest.mark.parametrize("assignment", ["/data/muzan=/mnt/musan", "/data/musan", "=/mnt", "/data/musan="])
def test_a_path_that_the_recipe_does_not_name_is_refused(assignment):
    with pytest.raises(ParameterError, match="expected OLD=NEW with a path OLD that the recipe names"):
        apply.replace_path(compose("taltech"), assignment)

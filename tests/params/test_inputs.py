"""What entries name of one another, and what each reads, held against its slots."""

import json

import pytest

from pipeline_lib.params.base import FILLER, ParameterError
from pipeline_lib.params.check import check, read_all
from pipeline_lib.params.inputs import entries_with_slots, missing_checkpoints, unsupported_language, wrong_slots
from pipeline_lib.recipes.compose import compose, write_yaml
from tests.finetuning.corpora import merged
from tests.recipes.laid_down import YAML12, filled, overlaid, text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("fusion", "experts", ["audio", "vision"]), r"fusion.experts names 'vision', which is not among"),
        (
            ("scoring", "tables", {"fused": "data/fussed.parquet"}),
            r"scoring.tables.fused is 'data/fussed.parquet', which no",
        ),
        (("rebalancing", "vision", "audio"), r"vision.reads.source is 'data/manifest.parquet', which is no"),
        (
            ("rebalancing", "audio", {"reads": {"source": "data/predictions/vision.parquet"}}),
            r"audio.reads.source is 'data/predictions/vision.parquet', .* expected one of \['data/embeddings/audio'",
        ),
        (
            ("rebalancing", "audio_layers", {"reads": {"source": "data/embeddings/vision"}}),
            r"'data/embeddings/vision', which is no table of predictions and no embedding that an entry makes",
        ),
        (("corpus", "root", "data/demonstration/french"), r"data/demonstration/french"),
        (("surprise", "x", 1), r"'surprise' is not a section, expected one of"),
    ],
)
def test_what_one_section_names_and_no_other_makes_is_refused(tmp_path, change, message):
    section, key, value = change
    values = YAML12.load(text("default"))
    if value == "audio":
        value = {**values["rebalancing"]["audio"], "reads": {}}
    elif section == "rebalancing":
        value = values["rebalancing"][key] | value
    if isinstance(value, dict) and section == "scoring":
        value = values["scoring"]["tables"] | value
    values.setdefault(section, {})[key] = value
    path = tmp_path / "params.yaml"
    YAML12.dump(values, path)
    with pytest.raises(ParameterError, match=message):
        check(path)


def read_of(params):
    for section in ("rebalancing", "scoring"):
        params[section] = compose("default")[section]
    return read_all(YAML12.load(write_yaml(params)))


@pytest.mark.parametrize(
    ("slot", "value", "line"),
    [
        ("finetuning.audio.reads.audio", FILLER, "finetuning.audio.reads.audio: models/demo/w2v_bert"),
        ("finetuning.text.reads.transcripts", FILLER, "finetuning.text.reads.transcripts: data/transcripts.parquet"),
        ("finetuning.audio.reads.teacher", "models/text", f"finetuning.audio.reads.teacher: {FILLER}"),
        ("embedding.text.reads.encoder", "models/demo", "embedding.text.reads.encoder: models/demo/llama"),
        ("transcription.reads.checkpoint", FILLER, "transcription.reads.checkpoint: models/demo/canary.nemo"),
        ("rebalancing.text.reads.source", FILLER, "rebalancing.text.reads.source: data/predictions/text.parquet"),
    ],
)
def test_a_slot_that_is_not_what_the_entry_reads_is_refused_with_the_right_line(tmp_path, slot, value, line):
    values = YAML12.load(text("default"))
    *path, last = slot.split(".")
    entry = values
    for part in path:
        entry = entry[part]
    entry[last] = value
    path = tmp_path / "params.yaml"
    YAML12.dump(values, path)
    with pytest.raises(ParameterError) as error:
        check(path)
    assert str(error.value) == (
        f"{path}: {slot} is {value!r}, which is not what the entry reads; expected {line} (the entry was changed, and"
        " its slot was not?); write that line"
    )


def test_several_entries_may_read_one_expert_and_their_slot_is_what_they_name(tmp_path):
    values = YAML12.load(text("default"))
    values["rebalancing"]["louder"] = values["rebalancing"]["audio"] | {"prior": "none"}
    path = tmp_path / "params.yaml"
    YAML12.dump(values, path)
    params = check(path)
    reads = {where: reads["source"] for where, _, reads in entries_with_slots(params) if "rebalancing" in where}
    assert reads["rebalancing.louder"] == reads["rebalancing.audio"] == "data/predictions/audio.parquet"
    assert reads["rebalancing.audio_layers"] == "data/embeddings/audio"


def test_layers_that_the_embedding_does_not_keep_are_refused(tmp_path):
    values = YAML12.load(text("default"))
    values["embedding"]["audio"]["layers"] = [0, 2]
    values["rebalancing"]["audio_layers"]["source"]["layers"] = [2, 3]
    path = tmp_path / "params.yaml"
    YAML12.dump(values, path)
    message = r"audio_layers.source.layers is \[2, 3\], and data/embeddings/audio keeps \[0, 2\]"
    with pytest.raises(ParameterError, match=message):
        check(path)


def test_an_entry_like_another_reads_its_own_experts_predictions():
    overlay = """finetuning: {audio: {}, second: {like: audio}}
rebalancing:
  audio: {method: plda}
  second: {like: audio}
  again: {like: audio, reads: {source: data/predictions/audio.parquet}}"""
    params = filled(overlaid(overlay))
    sources = {name: entry["reads"]["source"] for name, entry in params["rebalancing"].items()}
    assert sources == {
        "audio": "data/predictions/audio.parquet",
        "second": "data/predictions/second.parquet",
        "again": "data/predictions/audio.parquet",
    }


def test_the_slots_of_earlier_versions_are_refused_with_the_new_name(tmp_path):
    values = YAML12.load(text("default"))
    for entry in (values["transcription"], values["embedding"]["audio"], values["finetuning"]["text"]):
        entry["after"] = dict.fromkeys("abc", FILLER)
    path = tmp_path / "params.yaml"
    YAML12.dump(values, path)
    with pytest.raises(ParameterError) as error:
        check(path)
    assert [line.removeprefix(f"{path}: ") for line in str(error.value).splitlines()] == [
        f"{where}.after is now reads, with one slot a role: apply the recipe again"
        for where in ("transcription", "embedding.audio", "finetuning.text")
    ]


def test_a_joint_entry_reads_its_checkpoints_its_experts_and_the_transcripts():
    params = read_of(
        overlaid("""finetuning:
  audio: {}
  both: {like: joint, branches: {audio: {encoder: null, expert: models/audio}}}""")
    )
    reads = {where: reads for where, _, reads in entries_with_slots(params)}["finetuning.both"]
    assert {role: path for role, path in reads.items() if path != FILLER} == {
        "audio": "models/audio",
        "text": "models/demo/llama",
        "transcripts": "data/transcripts.parquet",
    }
    (wrong,) = [line for line in wrong_slots(params) if line.startswith("finetuning.both")]
    assert "expected finetuning.both.reads.audio: models/audio (" in wrong


def test_noise_and_rooms_have_a_slot_each_and_an_embedding_stands_for_the_encoder_behind_it():
    params = overlaid("""finetuning:
  both: {like: joint, cache_embeddings: true, branches: {text: {embedding: data/embeddings/text}}}""")
    sounds = params["finetuning"]["both"]["augmentation"]
    sounds["noise"] |= {"probability": 0.5, "root": "/data/sounds/musan"}
    sounds["reverberation"] |= {"probability": 0.5, "root": "/data/sounds/rirs"}
    params["finetuning"]["both"]["branches"]["audio"]["encoder"]["checkpoint"] = "facebook/w2v-bert-2.0"
    reads = {where: reads for where, _, reads in entries_with_slots(read_of(params))}["finetuning.both"]
    assert reads == {
        "audio": FILLER,  # on the hub
        "text": "data/embeddings/text",
        "video": FILLER,
        "transcripts": "data/transcripts.parquet",
        "noise": "/data/sounds/musan",
        "rooms": "/data/sounds/rirs",
        "teacher": FILLER,
    }
    params["finetuning"]["both"]["branches"]["audio"] |= {"encoder": None, "expert": "models/nobody"}
    (missing,) = missing_checkpoints(read_of(params))
    assert missing.startswith("finetuning.both reads 'models/nobody', which does not exist")


@pytest.mark.parametrize(
    ("known", "language", "allowed"),
    [
        (["en", "pl"], "xx", "['en', 'pl']"),
        (["en", "pl"], "pl", None),
        (["en", "pl"], "Polish", None),  # a name is the stage's to look up
        (["en", "pl"], None, None),
        ([], "pl", "['en']"),
        ([], "polish", "['en']"),
        ([], "English", None),
        ("[1, 2]", "xx", None),  # malformed
    ],
)
def test_a_language_that_a_local_whisper_does_not_transcribe_is_refused_in_check(tmp_path, known, language, allowed):
    params = overlaid("transcription: {engine: whisper}")
    params["transcription"]["whisper"] |= {"checkpoint": str(tmp_path), "language": language}
    tokens = {"lang_to_id": {f"<|{code}|>": number for number, code in enumerate(known)}} if known else {}
    content = known if isinstance(known, str) else json.dumps(tokens)
    (tmp_path / "generation_config.json").write_text(content)
    found = unsupported_language(read_all(YAML12.load(write_yaml(params))))
    where = f"transcription.whisper.language is {language!r}, which {tmp_path} does not transcribe"
    assert found == ([] if allowed is None else [f"{where}; expected one of {allowed}"])


def test_a_branch_takes_no_encoder_from_an_expert_of_another_modality(tmp_path):
    params = overlaid("""finetuning:
  audio: {}
  text: {}
  both: {like: joint, branches: {audio: {encoder: null, expert: models/text}}}""")
    path = tmp_path / "params.yaml"
    path.write_text(write_yaml(filled(params)))
    with pytest.raises(ParameterError, match=r"both.branches.audio.expert is 'models/text', whose modality is 'text'"):
        check(path, present=False)


@pytest.mark.parametrize(
    ("branch", "entry", "message"),
    [
        (
            {"embedding": "data/embeddings/other"},
            {},
            r"which no entry of embedding makes, expected data/embeddings/<one",
        ),
        (
            {"embedding": "data/embeddings/text"},
            {},
            "whose modality is 'text', expected an embedding of modality",
        ),
        (
            {},
            {"encoder": {"seed": 2}},
            "whose encoder is not that of finetuning.both.branches.audio; set the same encoder in both",
        ),
        ({}, {"frames": False}, "whose frames is false; set it to true"),
        (
            {},
            {"layers": [0, 4]},
            r"whose layers is \[0, 4\], and finetuning.both.branches.audio.layers 'weighted' joins all of them; set it",
        ),
        ({"layers": "last"}, {"layers": [0, 4]}, None),
        ({}, {}, None),
    ],
)
def test_frames_are_read_from_an_embedding_of_the_branchs_own_encoder(tmp_path, branch, entry, message):
    params = overlaid("""finetuning:
  audio: {}
  text: {}
  both: {like: joint, cache_embeddings: true, branches: {audio: {embedding: data/embeddings/audio}}}""")
    both = params["finetuning"]["both"]
    params["embedding"]["audio"] = merged(params["embedding"]["audio"], {"frames": True} | entry)
    both["branches"]["audio"] |= branch
    both["branches"]["text"]["encoder"]["checkpoint"] = "FacebookAI/roberta-large"
    path = tmp_path / "params.yaml"
    path.write_text(write_yaml(filled(params)))
    if message is None:
        check(path, present=False)
    else:
        with pytest.raises(ParameterError, match=message):
            check(path, present=False)


def test_a_table_of_another_systems_probabilities_is_an_entrys_source_where_it_is_there(tmp_path, monkeypatch):
    overlay = """rebalancing:
  audio: {}
  text: {}
  audio_layers: {}
  text_layers: {}
  other: {like: text, reads: {source: posteriors/x.csv}, posteriors: {training_prior: uniform, fitted_on: [dev_fit]}}"""
    params = filled(overlaid(overlay))
    assert params["rebalancing"]["other"]["reads"]["source"] == "posteriors/x.csv"
    path = tmp_path / "params.yaml"
    path.write_text(json.dumps(params))
    checked = check(path, present=False)
    assert checked.rebalancing["other"].posteriors.training_prior == "uniform"
    with pytest.raises(ParameterError) as error:
        check(path)
    assert "'posteriors/x.csv' does not exist; posteriors/ holds no .csv and no .parquet" in str(error.value)
    assert "other.posteriors.fitted_on names 'dev_fit', which is no split and no subset" in str(error.value)

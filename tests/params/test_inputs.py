"""What entries name of one another, and what each reads, held against its slots."""

import json

import pytest

from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.check import check, read_all
from pipeline_lib.params.inputs import missing_checkpoints, slots_idle, slots_missing, unsupported_language
from pipeline_lib.recipes.compose import compose, write_yaml
from tests.finetuning.corpora import merged
from tests.recipes.laid_down import YAML12, overlaid, text


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
        (("surprise", "x", 1), r"'surprise' is not a section, expected one of"),
    ],
)
def test_what_one_section_names_and_no_other_makes_is_refused(tmp_path, change, message):
    section, key, value = change
    values = YAML12.load(text("default"))
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
    values = YAML12.load(text("default"))
    values["finetuning"]["audio"]["after"] = dict.fromkeys("abc", "data/manifest.parquet")
    path = tmp_path / "params.yaml"
    YAML12.dump(values, path)
    with pytest.raises(ParameterError, match=r"finetuning.audio reads 'models/demo/w2v_bert', which stands in none of"):
        check(path)


def test_a_joint_entry_is_held_to_its_checkpoints_its_experts_and_the_transcripts():
    params = overlaid("""finetuning:
  audio: {}
  both: {like: joint, branches: {audio: {encoder: null, expert: models/audio}}}""")
    params["finetuning"]["both"]["after"] |= {"a": "data/manifest.parquet", "c": "data/manifest.parquet"}
    for section in ("rebalancing", "scoring"):
        params[section] = compose("default")[section]
    read = read_all(YAML12.load(write_yaml(params)))
    mistakes = [line.split(", which")[0] for line in slots_missing(read)]
    assert mistakes == ["finetuning.both reads 'data/transcripts.parquet'", "finetuning.both reads 'models/audio'"]


def test_a_folder_in_a_slot_stands_for_what_lies_in_it():
    params = overlaid("""finetuning:
  both: {like: joint}""")
    sounds = params["finetuning"]["both"]["augmentation"]
    sounds["noise"] |= {"probability": 0.5, "root": "/data/sounds/musan"}
    sounds["reverberation"] |= {"probability": 0.5, "root": "/data/sounds/rirs"}
    for section in ("rebalancing", "scoring"):
        params[section] = compose("default")[section]
    both = params["finetuning"]["both"]
    both["branches"]["audio"]["encoder"]["checkpoint"] = "facebook/w2v-bert-2.0"

    def mistakes(first: str) -> list[str]:
        both["after"]["a"] = first
        return slots_missing(read_all(YAML12.load(write_yaml(params))))

    assert mistakes("/data/sounds") == []
    (other,) = mistakes("/data/sounds/musan")
    assert "'/data/sounds/rirs'" in other and "all are taken: name a folder that holds two" in other
    assert len(mistakes("/data/sound")) == 2
    read = read_all(YAML12.load(write_yaml(params)))
    assert slots_idle(read) == ["finetuning.both does not read '/data/sound'"]
    both["after"] |= {"a": "data/embeddings", "b": "data/embedding"}  # stages will write into the first
    (missing,) = missing_checkpoints(read_all(YAML12.load(write_yaml(params))))
    assert missing.startswith("finetuning.both reads 'data/embedding', which does not exist")


@pytest.mark.parametrize(
    ("known", "language", "wanted"),
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
def test_a_language_that_a_local_whisper_does_not_hear_is_refused_before_any_stage(tmp_path, known, language, wanted):
    params = overlaid("transcription: {engine: whisper}")
    params["transcription"]["whisper"] |= {"checkpoint": str(tmp_path), "language": language}
    tokens = {"lang_to_id": {f"<|{code}|>": number for number, code in enumerate(known)}} if known else {}
    content = known if isinstance(known, str) else json.dumps(tokens)
    (tmp_path / "generation_config.json").write_text(content)
    found = unsupported_language(read_all(YAML12.load(write_yaml(params))))
    where = f"transcription.whisper.language is {language!r}, which {tmp_path} does not transcribe"
    assert found == ([] if wanted is None else [f"{where}; expected one of {wanted}"])


def test_a_branch_takes_no_encoder_from_an_expert_of_another_modality(tmp_path):
    params = overlaid("""finetuning:
  audio: {}
  text: {}
  both: {like: joint, branches: {audio: {encoder: null, expert: models/text}}}""")
    params["finetuning"]["both"]["after"]["a"] = "models/text"
    path = tmp_path / "params.yaml"
    path.write_text(write_yaml(params))
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
        ({"embedding": "data/embeddings/text"}, {}, "whose modality, encoder or expert is not the branch's"),
        ({}, {"encoder": {"seed": 2}}, "whose modality, encoder or expert is not the branch's"),
        ({}, {"frames": False}, "whose frames is false; expected true"),
        ({}, {"layers": [0, 4]}, r"whose layers is \[0, 4\], and the branch joins all; expected 'all'"),
        ({"layers": "last"}, {"layers": [0, 4]}, None),
        ({}, {}, None),
    ],
)
def test_frames_are_read_from_an_embedding_of_the_branchs_own_encoder(tmp_path, branch, entry, message):
    params = overlaid("""finetuning:
  audio: {}
  text: {}
  both: {like: joint, cache_embeddings_gb: 1.0, branches: {audio: {embedding: data/embeddings/audio}}}""")
    both = params["finetuning"]["both"]
    params["embedding"]["audio"] = merged(params["embedding"]["audio"], {"frames": True} | entry)
    both["branches"]["audio"] |= branch
    both["branches"]["text"]["encoder"]["checkpoint"] = "FacebookAI/roberta-large"
    both["after"] |= {"a": both["branches"]["audio"]["embedding"], "b": "models/demo/w2v_bert"}
    path = tmp_path / "params.yaml"
    path.write_text(write_yaml(params))
    if message is None:
        check(path, present=False)
    else:
        with pytest.raises(ParameterError, match=message):
            check(path, present=False)

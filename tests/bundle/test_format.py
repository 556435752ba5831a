"""What a bundle holds, and that no damaged, incomplete, newer or foreign one is opened."""

import json
import re
import shutil
from dataclasses import replace

import pytest

from pipeline_lib.bundle import format
from pipeline_lib.bundle.opened import Bundle
from pipeline_lib.errors import InputError
from pipeline_lib.inference.pipeline import Pipeline
from pipeline_lib.rebalancing import model as rebalancing
from pipeline_lib.storage import checksummed_json

ABSOLUTE = re.compile(r"(/|~|[A-Za-z]:\\).*")


@pytest.fixture
def copy(plain, tmp_path):
    return shutil.copytree(plain.bundle, tmp_path / "bundle")


def texts_in(value):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield key
            yield from texts_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_in(inner)
    elif isinstance(value, str):
        yield value


def rewritten(folder, **changes):
    """Write the record again, with its checksum, and other values."""
    record, digests = checksummed_json.read(folder / format.RECORD)
    text = checksummed_json.dumps_of(record | changes.pop("record", {}), digests | changes.pop("digests", {}))
    (folder / format.RECORD).write_text(text)


@pytest.mark.parametrize("kind", ["plain", "folded"])
def test_nothing_but_json_and_safetensors_and_no_path_of_the_machine(kind, request):
    made = request.getfixturevalue(kind)
    files = [file for file in made.bundle.rglob("*") if file.is_file()]
    assert {file.suffix for file in files} == {".json", ".safetensors"}
    for file in files:
        if file.suffix == ".json" and file.name != "tokenizer.json":  # whose words are tokens, "/" among them
            odd = [text for text in texts_in(json.loads(file.read_text())) if ABSOLUTE.fullmatch(text)]
            assert odd == [], file
    assert not any(str(made.root).encode() in file.read_bytes() for file in files)
    assert b"pickle" not in b"".join(file.read_bytes() for file in files)


def test_the_record_says_what_is_predicted_from_what(plain, folded):
    record, digests = checksummed_json.read(plain.bundle / format.RECORD)
    assert record["format_version"] == format.VERSION == 1
    assert {*digests} == {*format.files_of(plain.bundle)} - {format.RECORD}
    assert record["system"]["fusion"]["experts"] == ["expert", "frozen", "texts"]
    assert record["longest_audio_s"] == 30.0 and record["system"]["n_folds"] == 0
    assert {*record["encoders"]} == {"w2v_bert", "llama"}
    assert all(len(each["digest"]) == 16 and each["copied"] for each in record["encoders"].values())
    assert record["priors"]["expert"]["estimated_on"] == "dev"
    assert record["priors"]["expert"]["target"] != record["priors"]["expert"]["training"]
    assert {"speech-emotion-pipeline", "torch", "python"} <= {*record["versions"]}
    assert folded.record["system"]["n_folds"] == 3
    assert (folded.bundle / "models/tones/fold2/head.safetensors").is_file()
    members = [json.loads((folded.bundle / f"models/tones/fold{k}/settings.json").read_text()) for k in range(3)]
    every = sorted({name for member in members for name in member["fitted_on"]})
    assert folded.record["provenance"]["tones"]["fitted_on"] == every != members[0]["fitted_on"]
    entries = ["rebalancing@expert", "rebalancing@frozen", "rebalancing@texts", "fusion"]
    assert plain.stages == ["corpus", "embedding@frozen", "embedding@texts", "finetuning@tones", *entries]


@pytest.mark.parametrize(
    "name",
    [
        "models/tones/head.safetensors",
        "models/tones/settings.json",
        "models/fusion/fusion.json",
        "models/rebalancing/frozen/back_ends.safetensors",
        "encoders/w2v_bert/model.safetensors",
        "encoders/w2v_bert/config.json",
    ],
)
def test_a_damaged_or_missing_file_is_refused_by_its_name(copy, name):
    path = copy / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"{name} is damaged: it does not match the checksum in bundle.json"):
        Pipeline.load(copy)
    path.unlink()
    with pytest.raises(InputError, match=f"is incomplete: {name} is missing"):
        Pipeline.load(copy)


def test_a_damaged_record_is_refused(copy):
    path = copy / format.RECORD
    path.write_text(path.read_text().replace('"n_folds": 0', '"n_folds": 1'))
    with pytest.raises(InputError, match=r"bundle.json does not match its checksum .*; pack or pull the bundle again"):
        Bundle.open(copy)
    path.write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        Bundle.open(copy)
    path.unlink()
    with pytest.raises(InputError, match=r"has no bundle\.json, expected the folder that ser bundle wrote"):
        Bundle.open(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format version 2, this code reads up to 1: upgrade speech-emotion-pipeline"),
        ({"format_version": 0}, "format version 0, which this code does not convert"),
        ({"format_version": "1"}, 'format version "1", expected a whole number'),
        ({"format": "other"}, "is of format 'other', expected 'speech-emotion-bundle'"),
        ({"system": {}}, "has no system.fusion"),
    ],
)
def test_a_newer_older_or_foreign_record_is_refused(copy, changes, message):
    rewritten(copy, record=changes)
    with pytest.raises(InputError, match=re.escape(message)):
        Bundle.open(copy).fusion  # noqa: B018


def test_an_older_record_is_converted_version_by_version(copy, monkeypatch):
    record, _ = checksummed_json.read(copy / format.RECORD)
    old = {"format_version": -1, "called": record["name"]}
    rewritten(copy, record=old)
    monkeypatch.setitem(format.CONVERSIONS, -1, lambda known: known | {"name_": known["called"]})
    with pytest.raises(InputError, match="format version -1, which this code does not convert"):
        Bundle.open(copy)
    monkeypatch.setitem(format.CONVERSIONS, 0, lambda known: known | {"name": f"{known['name_']}!"})
    assert Bundle.open(copy).record["name"] == f"{record['name']}!"


@pytest.mark.parametrize("name", ["../out.json", "/etc/out.json", "models/code.py", "models/w.pkl", "else/a.json"])
def test_a_record_that_names_other_files_than_a_bundles_is_refused(copy, name):
    rewritten(copy, digests={name: "0" * 64})
    with pytest.raises(InputError, match=f"names {re.escape(repr(name))}, expected files of models"):
        Bundle.open(copy)


def test_files_that_the_record_does_not_name_and_links_are_refused(copy, tmp_path):
    (copy / "README.md").write_text("a card")
    (copy / ".gitattributes").write_text("")
    Bundle.open(copy)
    (copy / "encoders/w2v_bert/adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match=r"'encoders/w2v_bert/adapter_config.json', which bundle.json does not name"):
        Bundle.open(copy)
    (copy / "encoders/w2v_bert/adapter_config.json").unlink()
    shutil.move(copy / "models/fusion/fusion.json", tmp_path / "fusion.json")
    (copy / "models/fusion/fusion.json").symlink_to(tmp_path / "fusion.json")
    with pytest.raises(InputError, match="fusion.json is a link, expected a file of the bundle"):
        Bundle.open(copy)


def test_encoders_elsewhere_are_taken_by_name_where_they_are_the_same(plain, tmp_path, monkeypatch):
    from pipeline_lib.bundle import pack as packing

    monkeypatch.setattr(packing, "refuse_stale", lambda *_: None)
    record = packing.pack(plain.project, tmp_path / "small", with_encoders=False)
    assert not (tmp_path / "small/encoders").exists()
    assert not any(each["copied"] for each in record["encoders"].values())
    with pytest.raises(InputError, match=r"checkpoint .*w2v_bert.* (is neither|is no part of)"):
        Pipeline.load(tmp_path / "small")
    (tmp_path / "here").mkdir()
    for name in ("w2v_bert", "llama"):
        shutil.copytree(plain.bundle / "encoders" / name, tmp_path / "here" / name)
    pipeline = Pipeline.load(tmp_path / "small", encoders=tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "small/encoders")
    Bundle.open(tmp_path / "small").embedding("frozen")
    assert pipeline.predict(None, "oh").posterior == Pipeline.load(plain.bundle).predict(None, "oh").posterior
    config = tmp_path / "here/llama/config.json"
    config.write_text(config.read_text() + " ")
    with pytest.raises(InputError, match="has other content than the checkpoint 'llama'"):
        Pipeline.load(tmp_path / "small", encoders=tmp_path / "here")


def test_another_folder_is_not_written_over(plain, tmp_path):
    from pipeline_lib.bundle.pack import pack

    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is no bundle, expected another --out"):
        pack(plain.project, tmp_path, with_encoders=False)


def test_the_command_says_what_was_packed_and_what_is_no_part_of_it(plain, tmp_path, monkeypatch, capsys):
    from pipeline_lib.bundle import command
    from pipeline_lib.bundle import pack as packing

    with pytest.raises(InputError, match=r"has no dvc\.lock, expected a project whose stages have run"):
        command.bundle(tmp_path / "out", False, plain.project)
    assert not (tmp_path / "out").exists()
    monkeypatch.setattr(packing, "refuse_stale", lambda *_: None)
    command.bundle(tmp_path / "out", False, plain.project)
    first, *others = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r".*/out: version 1, 0\.\d MB, predicts anger, happiness, sadness", first)
    assert [line.split(" is no part of it: ")[0] for line in others] == ["w2v_bert", "llama"]
    monkeypatch.setattr(packing, "_record", lambda *_: {}["killed"])
    before = (tmp_path / "out/bundle.json").read_bytes()
    with pytest.raises(KeyError):
        command.bundle(tmp_path / "out", True, plain.project)
    assert (tmp_path / "out/bundle.json").read_bytes() == before  # a pack that ends early leaves the earlier bundle


def test_a_system_that_normalises_by_speaker_predicts_no_single_recording(plain):
    from pipeline_lib.inference import loaded

    model = rebalancing.read(plain.bundle / "models/rebalancing/texts")
    loaded._refuse_by_speaker([model])
    source = model.settings.source.model_copy(update={"normalise": "speaker"})
    for changed in ({"source": source}, {"normalise": "speaker"}):
        by_speaker = replace(model, settings=model.settings.model_copy(update=changed))
        with pytest.raises(InputError, match=r"^rebalancing\.texts normalises by speaker, .* no single recording"):
            loaded._refuse_by_speaker([by_speaker])

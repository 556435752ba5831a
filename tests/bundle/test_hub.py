"""Bundles pushed to a hub of the test and pulled again, by the real client: private, retried, gone on with, refused."""

import json
import shutil

import pytest
from huggingface_hub import HfApi, constants

from pipeline_lib.bundle import format, hub
from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk
from tests.bundle.hub_server import Hub, sha
from tests.encoders import checkpoints
from tests.experts.test_disk import CPU, disturbed, settings

REPO = "me/emotion"


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """Return the folder of a bundle of one expert with LoRA."""
    folder = tmp_path_factory.mktemp("packed")
    encoder = checkpoints.write(folder, "w2v_bert")
    config = settings({"w2v_bert": encoder}, "w2v_bert")
    bundle = folder / "bundle"
    disk.save_expert(bundle / "models" / "audio", disturbed(disk.build(config, CPU)), config)
    (bundle / "scores").mkdir()
    row = {"n": 40, "n_speakers": 8, "macro_f1": 0.5, "macro_f1_lo": 0.41, "macro_f1_hi": 0.58, "ccc_valence": 0.3}
    details = {"test": {"fused": row, "fused_minus_best": {"macro_f1": 0.1}}}
    (bundle / format.SCORES).write_text(json.dumps(details))
    format.write(bundle, record())
    return bundle


def record():
    """Return the record of a bundle, as far as the card reads it."""
    return {
        "labels": ["angry", "calm"],
        "attribute_scale": [1.0, 7.0],
        "corpus": {
            "name": "ravdess",
            "notice": "",
            "utterances": {"test": 40, "train": 80},
            "speakers": 24,
            "genders": {"female": 60, "male": 60},
        },
        "longest_audio_s": 30.0,
        "encoders": {"w2v_bert": {"source": "folder", "copied": False, "licence": "mit"}},
        "priors": {"audio": {"prior": "uniform", "training": {"angry": 0.3, "calm": 0.7}, "target": None}},
        "scored_on": "test",
        "versions": {"torch": "2.13.0"},
    }


@pytest.fixture
def there(tmp_path, monkeypatch):
    """Yield a hub, and let the client talk to it and keep its cache to the test."""
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    served = Hub()
    yield served
    served.close()


@pytest.fixture
def api(there):
    return HfApi(endpoint=there.endpoint, token="hf_test")


def test_what_is_pulled_is_what_was_pushed(packed, tmp_path, there, api):
    pushed = hub.push(packed, REPO, api=api)
    assert there.private[REPO] is True
    assert (pushed.url, pushed.commit) == (f"{there.endpoint}/{REPO}", sha(REPO, 1))
    assert len(there.commits[REPO]) == 2  # empty, and one commit
    read = hub.pull(REPO, tmp_path / "pulled", api=api)
    assert read["labels"] == ["angry", "calm"]
    names = [name for name in format.files_of(packed) if name != "README.md"]
    assert sorted(format.files_of(tmp_path / "pulled")) == sorted([*names, "README.md"])
    assert all((tmp_path / "pulled" / name).read_bytes() == (packed / name).read_bytes() for name in names)
    assert not any(path.is_symlink() for path in (tmp_path / "pulled").rglob("*"))


def test_the_card_has_scores_licence_groups_misuse_and_adapters(packed, there, api):
    hub.push(packed, REPO, api=api)
    card = there.files(REPO)["README.md"].decode()
    head, _, body = card.removeprefix("---\n").partition("---\n")
    assert 'license: "cc-by-nc-sa-4.0"' in head and '"peft"' in head
    assert "| fused | 40 | 8 | 0.500 [0.410, 0.580] | 0.300 |" in body and "fused_minus_best" not in body
    assert "Speakers: 24. Gender: 60 utterances female, 60 utterances male." in body
    assert "trained under the prior angry 0.300, calm 0.700" in body
    law = (
        "the placing on the market, the putting into service for this specific purpose, or the use of AI systems to"
        " infer emotions of a natural person in the areas of workplace and education institutions, except where the use"
        " of the AI system is intended to be put in place or into the market for medical or safety reasons"
    )
    assert "Regulation (EU) 2024/1689 (AI Act), Article 5(1)(f)" in body and law in body
    folder = "adapters/audio/audio"
    assert {f"{folder}/adapter_config.json", f"{folder}/adapter_model.safetensors"} <= there.files(REPO).keys()
    assert f'subfolder="{folder}"' in body


def test_an_interrupted_upload_is_gone_on_with(packed, there, api):
    there.fail = [("PUT", "/objects/", 400)]
    with pytest.raises(InputError, match="status 400"):
        hub.push(packed, REPO, api=api)
    assert there.files(REPO) == {}  # nobody sees half a bundle
    before = {*there.objects}
    assert len(before) >= 1
    there.requests.clear()
    hub.push(packed, REPO, api=api)
    uploaded = {path.removeprefix("/objects/") for path in there.sent("PUT")}
    assert uploaded and not uploaded & before
    assert format.RECORD in there.files(REPO)


@pytest.mark.parametrize("failure", [("POST", "/commit/", 503), ("POST", "/api/repos/create", 500), ("PUT", "", 502)])
def test_a_failure_of_a_moment_is_tried_again(packed, there, api, failure):
    there.fail = [failure]
    hub.push(packed, REPO, api=api)
    assert format.RECORD in there.files(REPO) and there.fail == []


def test_a_hub_that_stays_out_of_order_is_refused_in_a_sentence(packed, there, api):
    there.fail = [("GET", "/api/models/", 503)] * 40
    with pytest.raises(InputError, match=r"the hub is out of order \(status 503\) after 3 tries; the same"):
        hub.push(packed, REPO, api=api)
    there.close()
    with pytest.raises(InputError, match="cannot be reached"):
        hub.push(packed, REPO, api=HfApi(endpoint=there.endpoint, token="hf_test"))


def test_a_damaged_download_is_refused_and_nothing_is_written(packed, tmp_path, there, api):
    hub.push(packed, REPO, api=api)
    files = dict(there.files(REPO))
    files["models/audio/head.safetensors"] = b"\0" + files["models/audio/head.safetensors"][1:]
    there.add(REPO, files)
    with pytest.raises(InputError, match="head.safetensors is damaged"):
        hub.pull(REPO, tmp_path / "out", api=api)
    assert not (tmp_path / "out").exists()
    del files["models/audio/head.safetensors"]
    there.add(REPO, files)
    with pytest.raises(InputError, match="is incomplete: models/audio/head.safetensors is missing"):
        hub.pull(REPO, tmp_path / "out", api=api)
    hub.pull(REPO, tmp_path / "out", revision=sha(REPO, 1), api=api)  # the commit before is whole
    assert format.is_bundle(tmp_path / "out")


def test_only_what_the_record_names_is_downloaded(packed, tmp_path, there, api):
    hub.push(packed, REPO, api=api)
    there.add(REPO, there.files(REPO) | {"evil.py": b"import os", "models/x.pkl": b"no"})
    hub.pull(REPO, tmp_path / "out", api=api)
    assert not [path for path in there.requests if "evil.py" in path or "x.pkl" in path or "adapters" in path]


def test_what_would_do_harm_is_refused(packed, tmp_path, there, api):
    there.add("me/open", {}, private=False)
    with pytest.raises(InputError, match="me/open is public, expected a private repository"):
        hub.push(packed, "me/open", api=api)
    hub.push(packed, "me/open", private=False, api=api)
    there.add("me/other", {"model.safetensors": b"x"})
    with pytest.raises(InputError, match="holds 'model.safetensors' and no bundle"):
        hub.push(packed, "me/other", api=api)
    with pytest.raises(InputError, match="me/other has no bundle.json"):
        hub.pull("me/other", tmp_path / "out", api=api)
    with pytest.raises(InputError, match="me/none is no folder here, and not on the hub for this account"):
        hub.pull("me/none", tmp_path / "out", api=api)
    with pytest.raises(InputError, match="has no such revision"):
        hub.pull("me/open", tmp_path / "out", revision="v9", api=api)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").touch()
    with pytest.raises(InputError, match="exists and is no bundle"):
        hub.pull("me/open", tmp_path / "full", api=api)


def test_a_corpus_of_unknown_licence_needs_one(packed, tmp_path, there, api):
    other = tmp_path / "other"
    shutil.copytree(packed, other)
    values = record()
    values["corpus"]["name"] = "own"
    format.write(other, values)
    with pytest.raises(InputError, match="trained on own, whose licence is not known; state it with --corpus-licence"):
        hub.push(other, REPO, api=api)
    assert there.requests == []
    hub.push(other, REPO, licence="for research, by agreement", api=api)
    assert "Licence of the corpus: for research, by agreement." in there.files(REPO)["README.md"].decode()


def test_a_second_push_deletes_what_the_bundle_no_longer_has(packed, there, api):
    hub.push(packed, REPO, api=api)
    there.add(REPO, there.files(REPO) | {"models/text/head.safetensors": b"old", ".gitattributes": b"*"})
    hub.push(packed, REPO, api=api)
    assert "models/text/head.safetensors" not in there.files(REPO) and ".gitattributes" in there.files(REPO)


def test_a_name_on_the_hub_is_pulled_once_a_commit(packed, there, api, capsys):
    hub.push(packed, REPO, api=api)
    first = hub.local(REPO, api=api)
    there.requests.clear()
    assert hub.local(REPO, api=api) == first and format.is_bundle(first)
    assert all("/resolve/" not in path for path in there.requests)
    there.close()
    assert hub.local(REPO, api=api) == first
    assert "which was pulled last" in capsys.readouterr().err

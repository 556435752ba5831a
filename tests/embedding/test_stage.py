"""The stage: settings and tables in, an embedding and its layer curve out."""

import json
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline_lib.encoders.device import pick
from pipeline_lib.errors import InputError
from pipeline_lib.tables import embeddings, manifest, transcripts
from stages import probing
from stages.embedding import main
from tests.embedding.conftest import TEXTS


@pytest.fixture
def project(tmp_path, corpus, entry, monkeypatch):
    """Write params.yaml and tables, go there, and return a runner of the stage."""
    monkeypatch.chdir(tmp_path)
    manifest.write(Path("data/manifest.parquet"), corpus)
    ids = corpus.ids.tolist()
    transcripts.write(Path("data/transcripts.parquet"), ids, TEXTS, engine="x", checkpoint="x", decoding={})

    def start(name: str, **values):
        params = {"corpus": {"root": "audio"}, "embedding": {"mine": entry(name, **values).model_dump()}}
        with Path("params.yaml").open("w") as file:
            YAML().dump(params, file)
        main("mine")
        probing.main("mine")
        return Path("data/embeddings/mine")

    return start


@pytest.mark.parametrize("name", ["w2v_bert", "llama"])
def test_an_entry_becomes_an_embedding_and_a_curve(name, project):
    folder = project(name)
    info = embeddings.read_info(folder)
    assert (info.n_utterances, info.device, info.precision) == (10, pick().type, "float32")
    assert Path("metrics/plots/layers/mine.csv").read_text().startswith("layer,macro_f1,ua,ccc_arousal\n0,")
    summary = json.loads(Path("metrics/embedding/mine.json").read_text())
    assert set(summary["best_on_dev"]) == {"macro_f1", "ua", "ccc_arousal"} and summary["notice"] == "noise, not speech"
    assert list(Path("work/embedding").iterdir()) == []  # the shards are gone once everything is in place


def test_without_probe_the_curve_is_empty(project):
    project("bert", probe={"enabled": False})
    assert Path("metrics/plots/layers/mine.csv").read_text() == "layer,macro_f1,ua\n"


def test_utterances_without_reference_text_are_left_out_and_counted(project, corpus, capsys):
    project("bert", text="reference")
    corpus.frame.loc[4, "reference_text"] = None
    manifest.write(Path("data/manifest.parquet"), corpus)
    info = embeddings.read_info(project("bert", text="reference"))
    message = "1 of 10 utterances of noise have no reference text, 'u4' first: they are left out"
    assert message in capsys.readouterr().out
    assert (info.n_utterances, info.n_without) == (9, 1)
    assert json.loads(Path("metrics/embedding/mine.json").read_text())["best_on_dev"]
    corpus.frame["reference_text"] = None
    manifest.write(Path("data/manifest.parquet"), corpus)
    with pytest.raises(InputError, match="none of the 10 utterances of noise has reference text"):
        project("bert", text="reference")

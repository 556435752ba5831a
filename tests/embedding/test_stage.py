"""The stage: settings and tables in, an embedding out."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline_lib.encoders.device import pick
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import ParameterError
from pipeline_lib.shards.packs import packs_in
from pipeline_lib.tables import embeddings, manifest, transcripts
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
        return Path("data/embeddings/mine")

    return start


@pytest.mark.parametrize("name", ["w2v_bert", "llama"])
def test_an_entry_becomes_an_embedding(name, project):
    folder = project(name)
    info = embeddings.read_info(folder)
    assert (info.n_utterances, info.device, info.precision) == (10, pick().type, "float32")
    assert not list(Path("work").rglob("shard_*"))  # they became packs
    assert len(packs_in(Path("work"))) == 3


def test_utterances_without_reference_text_are_left_out_and_counted(project, corpus, capsys):
    project("bert", text="reference")
    corpus.frame.loc[4, "reference_text"] = None
    manifest.write(Path("data/manifest.parquet"), corpus)
    info = embeddings.read_info(project("bert", text="reference"))
    message = "1 of 10 utterances of noise have no reference text, 'u4' first: they are left out"
    assert message in capsys.readouterr().out
    assert (info.n_utterances, info.n_without) == (9, 1)
    corpus.frame["reference_text"] = None
    manifest.write(Path("data/manifest.parquet"), corpus)
    with pytest.raises(InputError, match="none of the 10 utterances of noise has reference text"):
        project("bert", text="reference")


def test_the_probe_of_earlier_versions_is_refused_with_its_new_key(project):
    project("bert")
    params = YAML(typ="safe").load(Path("params.yaml"))
    params["embedding"]["mine"]["probe"] = {"enabled": True}
    with Path("params.yaml").open("w") as file:
        YAML().dump(params, file)
    with pytest.raises(ParameterError, match=r"embedding.mine.probe is now rebalancing.<entry>.source.\{probe"):
        main("mine")

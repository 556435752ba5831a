"""The stage: settings and tables in, an embedding out."""

from pathlib import Path

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML

from pipeline_lib.encoders.device import pick
from pipeline_lib.encoders.load import load_text
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.encoder import EncoderSettings
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


def test_a_text_with_previous_turns_is_embedded_behind_them_and_cached_by_all_of_them(
    project, corpus, checkpoint, capsys
):
    corpus.frame["dialogue"] = ["d"] * 5 + ["e"] * 5
    corpus.frame["turn"] = range(10)
    manifest.write(Path("data/manifest.parquet"), corpus)
    entry = {"text": "reference", "context": 1, "layers": [3]}
    _, vectors = embeddings.read_layer(project("bert", **entry), 3)
    assert (
        "mine: context of 1 previous turns: 7 of 10 utterances have all of them, 3 have none" in capsys.readouterr().out
    )
    encoder = load_text(EncoderSettings(checkpoint=str(checkpoint("bert"))), torch.device("cpu"))
    for row, text in ((0, ("i am happy",)), (2, ("i am happy", TEXTS[2])), (8, ("sad", "a")), (9, ("a", "am i"))):
        hidden = encoder(**encoder.prepare([text]))
        expected = hidden.layers[3][0, : int(hidden.lengths[0])].mean(dim=0)
        np.testing.assert_allclose(vectors[row].astype(np.float32), expected.detach().numpy(), atol=2e-3)
    corpus.frame.loc[8, "reference_text"] = "happy"  # u8 and the turn behind it are other inputs, no other is
    manifest.write(Path("data/manifest.parquet"), corpus)
    _, changed = embeddings.read_layer(project("bert", **entry), 3)
    assert "embedding: 8 of 10 cached" in capsys.readouterr().err
    assert [row for row in range(10) if (changed[row] != vectors[row]).any()] == [8, 9]
    _, plain = embeddings.read_layer(project("bert", text="reference", layers=[3]), 3)
    assert (
        "embedding: 0 of 9 cached" in capsys.readouterr().err
    )  # a text alone is another input than one behind no turn
    assert (plain[0] != vectors[0]).any()


def test_previous_turns_of_a_corpus_without_dialogues_are_refused(project):
    with pytest.raises(InputError, match="context is 2 and noise has no dialogues"):
        project("bert", context=2)

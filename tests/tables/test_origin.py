"""Device and precision in the metadata of every table that a model makes; files without them are still read."""

import json
from dataclasses import asdict, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.shards import store
from pipeline_lib.storage import checksummed_json
from pipeline_lib.tables import _parquet, embeddings, predictions, transcripts
from pipeline_lib.tables.origin import NO_MODEL, Origin, Origins
from tests.tables.test_embeddings import write as write_embedding
from tests.tables.test_predictions import WHOLE

CUDA = Origin("cuda", "float32 under bfloat16 autocast")


def test_predictions_hold_device_and_precision(tmp_path):
    predictions.write(tmp_path / "p.parquet", replace(WHOLE, **asdict(CUDA)))
    read = predictions.read(tmp_path / "p.parquet")
    assert (read.device, read.precision) == ("cuda", "float32 under bfloat16 autocast")
    metadata = _parquet.read_metadata(tmp_path / "p.parquet", "predictions")
    assert (metadata["device"], metadata["precision"], metadata["expert"]) == (*asdict(CUDA).values(), "audio")


def test_transcripts_hold_device_and_precision(tmp_path):
    origin = {"engine": "whisper", "checkpoint": "w", "decoding": {}}
    transcripts.write(tmp_path / "t.parquet", ["a"], ["x"], **origin, origin=CUDA)
    read = transcripts.read(tmp_path / "t.parquet")
    assert (read.device, read.precision) == ("cuda", "float32 under bfloat16 autocast")
    transcripts.write(tmp_path / "t.parquet", ["a"], ["x"], **origin)
    assert transcripts.read(tmp_path / "t.parquet").device is None


def test_an_embedding_holds_the_origin_that_its_writer_is_given_last(tmp_path):
    given = embeddings.Info("bert", "b", None, "text", 4, None, (), "mean", False, 0)
    with embeddings.writing(tmp_path / "x", given) as writer:
        writer.origin = Origin("mps", "nf4")
    info = embeddings.read_info(tmp_path / "x")
    assert (info.device, info.precision) == ("mps", "nf4")


def test_files_without_them_are_read_as_of_an_unknown_device(tmp_path):
    info = write_embedding(tmp_path / "x") / embeddings.INFO
    values = json.loads(info.read_text())
    old = {key: value for key, value in values.items() if key not in ("device", "precision")}
    info.write_text(checksummed_json.dumps(old))
    assert (embeddings.read_info(info.parent).device, embeddings.read_info(info.parent).precision) == (None, None)
    table = pa.table({"utterance_id": ["a"], "text": ["x"]})
    _parquet.write(tmp_path / "t.parquet", table, "transcripts", {"engine": "", "checkpoint": "", "decoding": {}})
    assert transcripts.read(tmp_path / "t.parquet").precision is None
    keys = {"expert": "a", "labels": [], "trained_prior": None, "attribute_names": [], "fitted_on": []}
    _parquet.write(tmp_path / "p.parquet", pa.table({"utterance_id": ["a"]}), "predictions", keys)
    assert predictions.read(tmp_path / "p.parquet").device is None


def test_metadata_alone_are_verified_too(tmp_path):
    predictions.write(tmp_path / "p.parquet", WHOLE)
    with pytest.raises(InputError, match="holds 'predictions', expected 'transcripts'"):
        _parquet.read_metadata(tmp_path / "p.parquet", "transcripts")
    table = pq.read_table(tmp_path / "p.parquet")
    changed = {
        key: value.replace(b'"device": null', b'"device": "cpu"') for key, value in table.schema.metadata.items()
    }
    pq.write_table(table.replace_schema_metadata(changed), tmp_path / "p.parquet")
    with pytest.raises(InputError, match="other metadata than were written"):
        _parquet.read_metadata(tmp_path / "p.parquet", "predictions")


def test_shards_keep_their_origin_on_disk_and_different_ones_are_joined(tmp_path):
    first, second = Origin("cuda", "float32"), Origin("cpu", "float32")
    plan = [[0, 1], [2], [3]]
    store_of = {0: first, 2: second, 3: first}
    tables = store.run_shards(
        tmp_path / "work", plan, lambda rows: store_of[rows[0]].mark(pa.table({"row": rows})), "shards"
    )
    origins, others = Origins(), Origins()
    rows = [row for table in origins.watch(tables) for row in table["row"].to_pylist()]
    assert rows == [0, 1, 2, 3] and origins.joined == Origin("cpu, cuda", "float32")
    again = store.run_shards(tmp_path / "work", plan, None, "shards")  # every shard from disk
    list(others.watch(again))
    assert others.joined == origins.joined


def test_without_a_model_there_is_no_origin():
    table = pa.table({"row": np.arange(2)})
    list((origins := Origins()).watch([NO_MODEL.mark(table), table]))
    assert origins.joined == NO_MODEL == Origin(None, None)

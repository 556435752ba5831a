"""data/embeddings/<name>/: what is written is read, a layer at a time."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.storage import checksummed_json
from pipeline_lib.tables import embeddings
from pipeline_lib.tables.embeddings import Info, to_dtype
from pipeline_lib.tables.provenance import Provenance

INFO = Info(
    "hubert",
    "org/model",
    "abc",
    "audio",
    4,
    50.0,
    (0, 2),
    "mean_std",
    True,
    5,
    provenance=Provenance(("train",), ("dev",)),
)
IDS = ["a", "b", "c", "d", "e"]


def content(seed: int = 0):
    """Return vectors and frames of five utterances, two layers; the third has no frame."""
    noise = np.random.default_rng(seed)
    vectors = {layer: noise.standard_normal((5, 8)).astype(np.float16) for layer in (0, 2)}
    frames = {layer: [noise.standard_normal((n, 4)).astype(np.float16) for n in (3, 1, 0, 7, 2)] for layer in (0, 2)}
    return vectors, frames


def write(folder: Path, info: Info = INFO, seed: int = 0) -> Path:
    vectors, frames = content(seed)
    with embeddings.writing(folder, info) as writer:
        for start, end in ((0, 2), (2, 5)):  # two shards
            part = {layer: states[start:end] for layer, states in frames.items()} if info.frames else None
            writer.add(IDS[start:end], {layer: each[start:end] for layer, each in vectors.items()}, part)
    return folder


def digest(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_what_is_written_is_read(tmp_path):
    folder = write(tmp_path / "x")
    vectors, frames = content()
    assert embeddings.read_info(folder) == INFO
    for layer in (0, 2):
        ids, read = embeddings.read_layer(folder, layer)
        assert ids.tolist() == IDS and read.dtype == np.float32
        np.testing.assert_array_equal(read, vectors[layer].astype(np.float32))
        for (utterance_id, states), expected, wanted in zip(
            embeddings.iter_frames(folder, layer), frames[layer], IDS, strict=True
        ):
            assert utterance_id == wanted and states.dtype == np.float32
            np.testing.assert_array_equal(states, expected.astype(np.float32))


def test_a_row_group_is_a_shard(tmp_path):
    with pq.ParquetFile(write(tmp_path / "x") / "layer_00.parquet") as file:
        assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2, 3]


def test_reading_a_layer_opens_that_file_only(tmp_path):
    folder = write(tmp_path / "x")
    for path in [*folder.glob("frames/*"), folder / "layer_00.parquet", folder / embeddings.INFO]:
        path.unlink()
    ids, _ = embeddings.read_layer(folder, 2)
    assert ids.tolist() == IDS


def test_the_same_content_has_the_same_bytes(tmp_path):
    assert digest(write(tmp_path / "x")) == digest(write(tmp_path / "y"))
    assert set(digest(tmp_path / "x")) == {
        "embedding.json",
        "frames/layer_00.parquet",
        "frames/layer_02.parquet",
        "layer_00.parquet",
        "layer_02.parquet",
    }


def test_a_new_embedding_takes_the_place_of_the_old_one_whole(tmp_path):
    folder = write(tmp_path / "x")
    write(folder, replace(INFO, frames=False), seed=1)
    assert not (folder / "frames").exists()
    np.testing.assert_array_equal(embeddings.read_layer(folder, 0)[1], content(1)[0][0].astype(np.float32))
    assert [path.name for path in tmp_path.iterdir()] == ["x"]  # nothing temporary is left


def test_an_error_while_writing_leaves_the_old_one(tmp_path):
    folder = write(tmp_path / "x")
    before = digest(folder)
    with pytest.raises(RuntimeError), embeddings.writing(folder, INFO):
        raise RuntimeError
    with pytest.raises(ValueError, match="'a' comes after 'e'"), embeddings.writing(folder, INFO) as writer:
        vectors, frames = content()
        writer.add(IDS, vectors, frames)
        writer.add(IDS, vectors, frames)
    with pytest.raises(ValueError, match="5 utterances were written, expected 6"):
        write(folder, replace(INFO, n_utterances=6))
    assert digest(folder) == before and [path.name for path in tmp_path.iterdir()] == ["x"]


def test_layers_and_frames_that_are_not_stored_are_refused(tmp_path):
    folder = write(tmp_path / "x", replace(INFO, frames=False))
    with pytest.raises(InputError, match=r"has no layer 1, it has \[0, 2\]"):
        embeddings.read_layer(folder, 1)
    with pytest.raises(InputError, match="has no frames; set embedding.<name>.frames to true"):
        next(embeddings.iter_frames(folder, 0))
    with pytest.raises(InputError, match="does not exist; the stage embedding writes it"):
        embeddings.read_info(tmp_path / "nothing")


def test_damage_is_refused(tmp_path):
    folder = write(tmp_path / "x")
    whole = bytearray((folder / "layer_00.parquet").read_bytes())
    whole[60] ^= 0xFF
    (folder / "layer_00.parquet").write_bytes(whole)
    with pytest.raises(InputError, match="layer_00.parquet cannot be read as Parquet"):
        embeddings.read_layer(folder, 0)
    said = json.loads((folder / embeddings.INFO).read_text()) | {"format_version": 99}
    (folder / embeddings.INFO).write_text(checksummed_json.dumps(said))
    with pytest.raises(InputError, match="has format version 99"):
        embeddings.read_info(folder)


def test_what_float16_cannot_hold_is_refused():
    values = np.zeros((2, 3), np.float32)
    values[1, 2] = 65504
    assert to_dtype(values, 7, ["a", "b"])[1, 2] == 65504
    values[1, 2] = -70_000
    with pytest.raises(InputError, match="layer 7 of 'b' reaches 70000; .* ends at 65504: leave layer 7 out of layers"):
        to_dtype(values, 7, ["a", "b"])
    values[0, 0] = np.nan
    with pytest.raises(InputError, match="layer 7 of 'a' is not finite"):
        to_dtype(values, 7, ["a", "b"])

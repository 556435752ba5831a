"""data/manifest.parquet and the quarantine: what goes in comes out, same content same bytes, damage is noticed."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.tables import manifest
from pipeline_lib.tables.manifest import Manifest


def corpus(n: int = 40) -> Manifest:
    emotions = ["anger", "fear", "O", "X", None]
    frame = pd.DataFrame(
        {
            "utterance_id": [f"u{i:03d}" for i in range(n)],
            "audio": [None if i == 3 else f"sub/ü{i}.wav" for i in range(n)],
            "audio_sha256": [f"{i:064x}" for i in range(n)],
            "start_s": [np.nan if i % 5 else 0.25 * i for i in range(n)],
            "end_s": [np.nan if i % 7 else 0.5 * i + 1 for i in range(n)],
            "video": [None] * n,
            "duration_s": [np.nan if i == 3 else 0.1 * i for i in range(n)],
            "split": ["train" if i % 4 else "dev" for i in range(n)],
            "subsets": [["dev_bal", "dev_filt"] if i % 8 == 0 else [] for i in range(n)],
            "speaker": [None if i == 5 else f"s{i % 7}" for i in range(n)],
            "gender": ["female" if i % 2 else None for i in range(n)],
            "emotion": [emotions[i % 5] for i in range(n)],
            "votes": [{"fear": 1, "anger": i} if i % 2 else None for i in range(n)],
            "arousal": [np.nan if i % 3 else 1 + i / 10 for i in range(n)],
            "valence": np.linspace(1, 7, n),
            "dominance": [np.nan] * n,
            "reference_text": [None if i % 2 else 'He said "ja", twice\n' for i in range(n)],
            "dialogue": [None if i % 3 == 0 else f"d{i % 3}" for i in range(n)],
            "turn": pd.Series([None if i % 3 == 0 else i for i in range(n)], dtype=object),
        }
    )
    return Manifest(frame, "toy", ("anger", "fear"), (-1.0, 1.0), "a toy")


def test_what_is_written_is_read(tmp_path):
    manifest.write(tmp_path / "m.parquet", corpus())
    found = manifest.read(tmp_path / "m.parquet")
    assert (found.corpus, found.notice, found.labels, found.attribute_scale) == (
        "toy",
        "a toy",
        ("anger", "fear"),
        (-1, 1),
    )
    for name in manifest.SCHEMA.names:
        expected, column = corpus().frame[name], found.frame[name]
        if name in ("start_s", "end_s", "duration_s", "arousal", "valence", "dominance"):
            np.testing.assert_array_equal(column.to_numpy(), expected.to_numpy())
        else:
            assert column.tolist() == [
                None if value is None or value is np.nan else value for value in expected.astype(object)
            ], name
    assert len(found) == 40 and list(found.ids[:2]) == ["u000", "u001"]


def test_dialogues_are_in_the_file_where_the_corpus_has_some_and_null_in_memory_elsewhere(tmp_path):
    manifest.write(tmp_path / "with.parquet", corpus())
    assert pq.read_schema(tmp_path / "with.parquet").names == manifest.SCHEMA.names
    frame = corpus().frame
    for without in (frame.drop(columns=["dialogue", "turn"]), frame.assign(dialogue=None, turn=np.nan)):
        manifest.write(tmp_path / "without.parquet", Manifest(without, "toy", ("anger",)))
        assert pq.read_schema(tmp_path / "without.parquet").names == manifest.SCHEMA.names[:-2]
        result = manifest.read(tmp_path / "without.parquet").frame
        assert list(result.columns) == manifest.SCHEMA.names and result[["dialogue", "turn"]].isna().all(axis=None)


def test_what_one_row_is_given_no_other_row_gets(tmp_path):
    whole = corpus(4)
    whole.frame["votes"] = [{"fear": 1}, {"fear": 1}, None, {"fear": 1}]
    manifest.write(tmp_path / "m.parquet", whole)
    frame = manifest.read(tmp_path / "m.parquet").frame
    frame["votes"][0]["fear"] = 9
    frame["subsets"][1].append("new")
    frame.loc[3, "arousal"] = 2.5
    assert frame["votes"].tolist() == [{"fear": 9}, {"fear": 1}, None, {"fear": 1}]
    assert frame["subsets"].tolist() == [["dev_bal", "dev_filt"], ["new"], [], []]
    np.testing.assert_array_equal(frame["arousal"], [1.0, np.nan, np.nan, 2.5])


def test_the_same_content_in_any_order_is_the_same_bytes(tmp_path):
    whole = corpus()
    shuffled = whole.frame.sample(frac=1, random_state=1)
    shuffled["votes"] = shuffled["votes"].map(lambda v: dict(reversed(v.items())) if isinstance(v, dict) else v)
    manifest.write(tmp_path / "a.parquet", whole)
    manifest.write(tmp_path / "b.parquet", Manifest(shuffled, "toy", ("anger", "fear"), (-1.0, 1.0), "a toy"))
    manifest.write(tmp_path / "c.parquet", manifest.read(tmp_path / "a.parquet"))
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "c.parquet").read_bytes()


def flipped(path, places):
    """Yield the place of each byte flipped, and what reading then gives or raises."""
    good = path.read_bytes()
    for at in places:
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
        try:
            yield at, manifest.read(path)
        except InputError as error:
            yield at, error
    path.write_bytes(good)


def test_a_flipped_byte_of_a_data_page_is_noticed(tmp_path):
    path = tmp_path / "m.parquet"
    manifest.write(path, corpus())
    row_group = pq.ParquetFile(path).metadata.row_group(0)
    chunks = [row_group.column(i) for i in range(len(manifest.SCHEMA))]
    ends = [
        chunk.data_page_offset + chunk.total_compressed_size - 1 for chunk in chunks if not chunk.dictionary_page_offset
    ]
    ends += [
        chunk.dictionary_page_offset + chunk.total_compressed_size - 1
        for chunk in chunks
        if chunk.dictionary_page_offset
    ]
    assert len(ends) == len(manifest.SCHEMA)
    for at, found in flipped(path, ends):  # a column's last byte is its last data page's
        assert isinstance(found, InputError) and "cannot be read as Parquet" in str(found), at


def test_a_flipped_byte_of_the_footer_is_noticed_or_changes_nothing(tmp_path):
    path = tmp_path / "m.parquet"
    manifest.write(path, corpus())
    expected = manifest.read(path)
    footer = int.from_bytes(path.read_bytes()[-8:-4], "little")
    places = range(path.stat().st_size - 8 - footer, path.stat().st_size, 17)
    damaged = 0
    for at, found in flipped(path, places):
        if isinstance(found, Manifest):  # a statistic or a hint that no reader here uses
            assert found.frame.equals(expected.frame), at
            assert (found.corpus, found.labels, found.notice) == ("toy", ("anger", "fear"), "a toy"), at
        damaged += isinstance(found, InputError)
    assert damaged > len(places) / 3


@pytest.mark.parametrize("n_bytes", [0, 3, 500, -1, -20])
def test_a_file_cut_short_is_noticed(tmp_path, n_bytes):
    path = tmp_path / "m.parquet"
    manifest.write(path, corpus())
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        manifest.read(path)


def test_another_kind_of_file_is_refused_by_name(tmp_path):
    with pytest.raises(InputError, match=r"m\.parquet does not exist; the stage that writes it"):
        manifest.read(tmp_path / "m.parquet")
    manifest.write_quarantine(
        tmp_path / "m.parquet", pd.DataFrame({"file": ["a"], "stage": ["corpus"], "reason": ["empty"]})
    )
    with pytest.raises(InputError, match="holds 'quarantine', expected 'manifest'"):
        manifest.read(tmp_path / "m.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "m.parquet")
    with pytest.raises(InputError, match="a Parquet file of another program"):
        manifest.read(tmp_path / "m.parquet")


def test_a_repeated_utterance_is_refused(tmp_path):
    whole = corpus(3)
    twice = pd.concat([whole.frame, whole.frame.iloc[:1]])
    with pytest.raises(ValueError, match="utterance_id 'u000' appears twice"):
        manifest.write(tmp_path / "m.parquet", Manifest(twice, "toy", ("anger",)))
    assert list(tmp_path.iterdir()) == []


def test_masks_truth_and_attributes(tmp_path):
    found = corpus(10)
    assert np.flatnonzero(found.mask("dev")).tolist() == [0, 4, 8]
    assert np.flatnonzero(found.mask("dev_bal")).tolist() == [0, 8]
    with pytest.raises(
        InputError, match=r"no split or subset 'tset', it has \['dev', 'dev_bal', 'dev_filt', 'train'\]"
    ):
        found.mask("tset")
    assert found.truth().tolist() == [0, 1, -1, -1, -1] * 2
    assert found.truth(["X", "fear"]).tolist() == [-1, 1, -1, 0, -1] * 2
    np.testing.assert_array_equal(found.attributes(["arousal"])[:4, 0], [1.0, np.nan, np.nan, 1.3])


def test_the_quarantine_keeps_what_is_known_of_each_item(tmp_path):
    rows = pd.DataFrame(
        {
            "utterance_id": ["b", None, "a"],
            "file": [None, "x.wav", "a.wav"],
            "stage": ["corpus"] * 3,
            "reason": ["too long: 300 s", "empty", "nan"],
        }
    )
    manifest.write_quarantine(tmp_path / "q.parquet", rows)
    assert pq.read_table(tmp_path / "q.parquet").to_pydict() == {
        "utterance_id": ["a", "b", None],
        "file": ["a.wav", None, "x.wav"],
        "stage": ["corpus"] * 3,
        "reason": ["nan", "too long: 300 s", "empty"],
    }
    manifest.write_quarantine(tmp_path / "none.parquet", rows.iloc[:0])
    assert pq.read_table(tmp_path / "none.parquet").num_rows == 0


def test_missing_times_are_null_in_the_file_and_a_row_without_audio_is_known(tmp_path):
    manifest.write(tmp_path / "m.parquet", corpus())
    table = pq.read_table(tmp_path / "m.parquet")
    assert table.schema.field("start_s").type == table.schema.field("end_s").type == pa.float64()
    assert table.column("start_s").null_count == 32 and table.column("end_s").null_count == 34
    assert np.flatnonzero(~manifest.read(tmp_path / "m.parquet").has_audio).tolist() == [3]


def test_a_manifest_of_an_earlier_version_is_refused_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(manifest._parquet.VERSIONS, "manifest", 1)
    manifest.write(tmp_path / "m.parquet", corpus())
    monkeypatch.undo()
    with pytest.raises(InputError, match=r"has format version 1, this code reads 2; run its stage again \(dvc repro\)"):
        manifest.read(tmp_path / "m.parquet")

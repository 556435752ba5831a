"""How a table is opened: bounds on what it may cost, columns without a name, paths, and where it may lie."""

import resource
import time

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.corpus import layout, table
from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import check_root
from pipeline_lib.storage import csv_files, table_files

HEADER = "audio,emotion,split"


@pytest.fixture
def read(tmp_path, settings):
    """Write corpus.csv and read it."""

    def write(*lines: str, **options):
        (tmp_path / "corpus.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return table.read(tmp_path, settings("table", **options))

    return write


@pytest.fixture
def read_parquet(tmp_path, settings):
    """Write corpus.parquet and read it."""

    def write(columns, **options):
        pq.write_table(pa.table(columns), tmp_path / "corpus.parquet", **options)
        return table.read(tmp_path, settings("table", table={"file": "corpus.parquet"}))

    return write


# columns without a name


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        (f"{HEADER},,", "a.wav,joy,train,,"),
        (f"{HEADER}, ,", "a.wav,joy,train,  ,"),
        (f"{HEADER},,", "a.wav,joy,train"),
        (HEADER, "a.wav,joy,train,,,"),
        ("audio,,emotion,split", "a.wav,,joy,train"),
        (f",{HEADER}", "17,a.wav,joy,train"),  # pandas' row numbers
        ('"audio","emotion","split","",""', '"a.wav","joy","train","",""'),
    ],
)
def test_columns_without_name_and_content_are_left_out(read, header, cells):
    frame = read(header, cells)
    assert frame[["audio", "emotion", "split"]].values.tolist() == [["a.wav", "joy", "train"]]
    assert not frame.attrs["notes"]


@pytest.mark.parametrize(
    ("header", "cells", "message"),
    [
        (f"{HEADER},,", "a.wav,joy,train,,x", r"line 2: column 5 has no name and holds 'x'; name it in the header"),
        ("audio,,emotion,split", "a.wav,fear,joy,train", r"line 2: column 2 has no name and holds 'fear'"),
        (f",{HEADER}", "x,a.wav,joy,train", r"line 2: column 1 has no name and holds 'x'"),
        (HEADER, "a.wav,joy,train,,x", r"line 2: 5 cells, the header has 3"),
        (f"{HEADER},,", "a.wav,joy", r"line 2: 2 cells, the header has 5"),
        (",,", "a.wav,joy,train", r"is empty, expected a header"),
        (f"{HEADER},emotion", "a.wav,joy,train,fear", r"the header names \['emotion'\] twice"),
    ],
)
def test_content_without_a_name_is_refused(read, header, cells, message):
    with pytest.raises(InputError, match=message):
        read(header, cells)


def test_other_readers_leave_them_out_too(tmp_path):
    (tmp_path / "x.csv").write_text("a,b,,\n1,2,,\n")
    assert [cells for _, cells in layout.csv_rows(tmp_path / "x.csv", ["a"])] == [{"a": "1", "b": "2"}]
    (tmp_path / "y.csv").write_text(",b,,\n1,2,,\n")  # CREMA-D's votes have a column "" that is read
    assert [cells for _, cells in layout.csv_rows(tmp_path / "y.csv", ["", "b"])] == [{"": "1", "b": "2"}]


# paths


def test_absolute_paths_below_the_root_are_relative_ones(tmp_path, read):
    (tmp_path / "link").symlink_to(tmp_path)
    frame = read(
        f"{HEADER},video",
        f"{tmp_path}/d/a.wav,joy,train,{tmp_path}/d/a.mp4", f"{tmp_path}/link/d/b.wav,joy,train,",
        "d\\c.wav,joy,train,", "./d//e.wav,joy,train,",
    )  # fmt: skip
    assert frame["audio"].tolist() == ["d/a.wav", "d/b.wav", "d/c.wav", "d/e.wav"]
    assert frame["video"].tolist() == ["d/a.mp4", None, None, None] and frame["utterance_id"][0] == "d/a"


def test_either_name_of_a_linked_root_will_do(tmp_path, settings):
    root, link = tmp_path / "real", tmp_path / "link"
    root.mkdir()
    link.symlink_to(root)
    (root / "corpus.csv").write_text(f"{HEADER}\n{root}/a.wav,joy,train\n{link}/b.wav,joy,train\n")
    for name in (root, link):
        assert table.read(name, settings("table", root=str(name)))["audio"].tolist() == ["a.wav", "b.wav"]


def test_a_file_whose_name_has_a_backslash_is_that_file(tmp_path, read):
    (tmp_path / "d\\a.wav").touch()
    assert read(HEADER, "d\\a.wav,joy,train", "d\\b.wav,joy,train")["audio"].tolist() == ["d\\a.wav", "d/b.wav"]


@pytest.mark.parametrize("path", ["/etc/passwd", "C:\\audio\\a.wav", "D:/audio/a.wav", "\\\\server\\share\\a.wav"])
@pytest.mark.parametrize("column", ["audio", "video"])
def test_other_absolute_paths_are_refused_as_such(tmp_path, read, path, column):
    cells = f"{path},joy,train," if column == "audio" else f"a.wav,joy,train,{path}"
    with pytest.raises(InputError, match=rf"line 2: {column}: .* is an absolute path and does not lie below corpus"):
        read(f"{HEADER},video", cells)


def test_an_absolute_path_does_not_leave_the_root_by_a_link_or_by_dots(tmp_path, read):
    (tmp_path / "out.wav").symlink_to("/etc/hostname")
    with pytest.raises(InputError, match="line 2: audio: .* leads to /etc/hostname, outside"):
        read(HEADER, f"{tmp_path}/out.wav,joy,train")
    with pytest.raises(InputError, match="line 2: audio: .* is no path below"):
        read(HEADER, f"{tmp_path}/../a.wav,joy,train")


def test_the_table_lies_below_the_root(tmp_path, settings):
    root = tmp_path / "corpus"
    root.mkdir()
    (tmp_path / "t.csv").write_text(f"{HEADER}\na.wav,joy,train\n")
    (root / "link.csv").symlink_to(tmp_path / "t.csv")
    (root / "t.csv").write_text(f"{HEADER}\na.wav,joy,train\n")
    for file in ("../t.csv", str(tmp_path / "t.csv"), "link.csv"):
        with pytest.raises(InputError, match=r"corpus\.table\.file .* outside corpus\.root .* expected a table below"):
            check_root(settings("table", root=str(root), table={"file": file}))
    for file in ("t.csv", str(root / "t.csv")):
        check_root(settings("table", root=str(root), table={"file": file}))


# rows without audio


def test_rows_may_lack_audio_where_they_have_text_or_a_name(read):
    frame = read(
        f"utterance_id,{HEADER},reference_text",
        ",a.wav,joy,train,Oh.",
        ",,joy,train,Ah.",
        "u,,fear,dev,",
        ",nan,joy,dev,No.",
    )
    assert frame["audio"].tolist() == ["a.wav", None, None, None]
    assert frame["utterance_id"].tolist() == ["a", "row_0000002", "u", "row_0000004"]


# bounds


def test_rows_of_parquet_are_counted_before_they_are_read(tmp_path, read_parquet):
    n = csv_files.MAX_ROWS + 1
    columns = {
        name: pa.DictionaryArray.from_arrays(pa.array([0], pa.int32()).take(pa.repeat(0, n)), [value])
        for name, value in (("audio", "a.wav"), ("emotion", "joy"), ("split", "train"))
    }
    with pytest.raises(InputError, match="has 2,000,001 rows, expected at most 2,000,000"):
        read_parquet(columns)
    assert (tmp_path / "corpus.parquet").stat().st_size < 100_000
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(InputError, match="2,000,001 rows"):
        table_files.header(tmp_path / "corpus.parquet")
    assert time.process_time() - began < 1.0
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


def bomb(size, n, wrap=lambda values: values):
    """Return columns of which one holds the same text ``n`` times, stored once."""
    columns = {"audio": [f"{i}.wav" for i in range(n)], "split": ["train"] * n, "emotion": ["joy"] * n}
    return columns | {"reference_text": pa.array(["x" * size] * n).dictionary_encode()}


def test_a_text_that_is_stored_once_and_stands_in_every_row_is_bounded(read_parquet, monkeypatch):
    assert len(read_parquet(bomb(1000, 50))) == 50
    with pytest.raises(InputError, match=r"row 1: reference_text has 1,048,577 letters, expected at most 1,048,576"):
        read_parquet(bomb(csv_files.MAX_CELL + 1, 2))
    monkeypatch.setattr(table_files, "MAX_BYTES", 200_000)
    with pytest.raises(InputError, match=r"row 20: more than 200,000 letters up to here"):
        read_parquet(bomb(10_000, 50))


def test_a_list_of_many_values_and_a_column_of_many_bytes_are_refused(read_parquet, monkeypatch):
    columns = {"audio": ["a.wav"], "split": ["train"], "emotion": ["joy"], "subsets": [["x"] * 70_000]}
    with pytest.raises(InputError, match=r"row 1: subsets has 70,000 values, expected at most 65,536"):
        read_parquet(columns)
    monkeypatch.setattr(table_files, "MAX_VALUES", 60_000)
    with pytest.raises(InputError, match=r"column 'subsets' holds 70,000 values in .* bytes, expected at most 60,000"):
        read_parquet(columns)


def test_a_column_that_is_not_read_costs_nothing(read_parquet, monkeypatch):
    monkeypatch.setattr(table_files, "MAX_BYTES", 10_000)
    columns = {"audio": ["a.wav"], "split": ["train"], "emotion": ["joy"], "vector": [[0.5] * 70_000]}
    assert len(read_parquet(columns)) == 1


def test_csv_is_bounded_in_bytes_rows_and_cells(read, monkeypatch):
    rows = [f"{i}.wav,joy,train" for i in range(20)]
    with pytest.raises(InputError, match=r"line 2: not CSV: field larger than field limit \(1048576\)"):
        read(HEADER, "x" * (csv_files.MAX_CELL + 1) + ",joy,train")
    monkeypatch.setattr(csv_files, "MAX_ROWS", 19)
    with pytest.raises(InputError, match="has more than 19 rows"):
        read(HEADER, *rows)
    monkeypatch.setattr(csv_files, "MAX_BYTES", 300)
    with pytest.raises(InputError, match=r"corpus\.csv has 3\d\d bytes, expected at most 300"):
        read(HEADER, *rows)


def test_the_byte_that_is_not_utf8_is_named_beyond_the_first_block(tmp_path):
    for text, position in ((b"a" * (1 << 20) + b"\xe9bc", 1 << 20), (b"a" * ((1 << 20) - 1) + b"\xc3(", (1 << 20) - 1)):
        (tmp_path / "x.txt").write_bytes(text)
        with pytest.raises(InputError, match=f"is not UTF-8: byte {position} is 0x{text[position]:02x}"):
            layout.lines(tmp_path / "x.txt")
    (tmp_path / "x.txt").write_bytes("é\u2028\x85 b\r\nc\n\nd".encode())
    assert layout.lines(tmp_path / "x.txt") == ["é\u2028\x85 b", "c", "", "d"]

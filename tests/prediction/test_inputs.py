"""Which recordings targets name, and which rows of a table are refused by themselves."""

import io

import pandas as pd
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.prediction.inputs import digest, expand


def names(targets, text="", **options):
    return [each.recording for each in expand(list(map(str, targets)), io.StringIO(text), **options)]


def test_files_folders_and_standard_input_come_in_the_order_of_the_command_line(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    for name in ("b.wav", "a.flac", "deep/c.mp3", "notes.txt", ".hidden.wav"):
        (tmp_path / "in" / name).touch()
    given = names(["z.wav", tmp_path / "in", "-"], "q.wav\n\n-x y.wav\n")
    below = [str(tmp_path / "in" / name) for name in ("a.flac", "b.wav", "deep/c.mp3")]
    assert given == ["z.wav", *below, "q.wav", "-x y.wav"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_gives_names_times_and_words(tmp_path, kind):
    frame = pd.DataFrame(
        {"utterance_id": ["u2", "u1"], "audio": ["a.wav", "b/b.wav"], "start_s": [1.5, 0], "end_s": ["2", ""]}
    )
    frame["words"] = ["yes, no", ""]
    table = tmp_path / f"t.{kind}"
    frame.to_csv(table, index=False) if kind == "csv" else frame.to_parquet(table)
    first, second = expand([str(table)], io.StringIO(), text_column="words")
    assert (first.id, first.recording, first.path) == ("u2", "a.wav", tmp_path / "a.wav")
    assert (first.start, first.end, first.text) == (1.5, 2.0, "yes, no")
    assert (second.path, second.start, second.end, second.text) == (tmp_path / "b" / "b.wav", 0.0, None, None)


def test_a_row_that_leaves_the_root_is_refused_alone(tmp_path):
    table = tmp_path / "t.csv"
    table.write_text(f"audio,start_s\n../x.wav,\n/elsewhere/y.wav,\n{tmp_path}/z.wav,\nq.wav,soon\n")
    up, elsewhere, below, late = expand([str(table)], io.StringIO())
    assert "without '..'" in up.defect and "--root" in up.defect
    assert "is not below" in elsewhere.defect
    assert below.defect is None and below.path == tmp_path / "z.wav"
    assert "line 5: start_s is 'soon', expected seconds" in late.defect


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        ([], {}, "no recording is named"),
        (["."], {}, "has no recording"),
        (["a.wav", "b.wav"], {"text": "yes"}, "--text is of one recording, here are 2"),
        (["a.wav"], {"text_column": "words"}, "no target is one"),
        (["t.csv"], {"text_column": "word"}, "did you mean 'words'"),
        (["only.csv"], {}, "has no column 'audio'"),
        (["none.csv"], {}, "does not exist"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, monkeypatch, targets, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text("audio,words\na.wav,yes\n")
    (tmp_path / "only.csv").write_text("file,words\na.wav,yes\n")
    with pytest.raises(InputError, match=message):
        expand(targets, io.StringIO(), **options)


def test_a_text_alone_is_an_input():
    (given,) = expand([], io.StringIO(), text="yes")
    assert (given.id, given.path, given.text, given.recording) == ("text", None, "yes", "")


def test_the_digest_changes_with_names_texts_and_bytes(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(b"one")
    one = digest(expand([str(path)], io.StringIO()))
    assert digest(expand([str(path)], io.StringIO())) == one
    assert digest(expand([str(path)], io.StringIO(), text="yes")) != one
    path.write_bytes(b"other")
    assert digest(expand([str(path)], io.StringIO())) != one

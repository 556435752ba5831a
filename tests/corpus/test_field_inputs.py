"""Inputs as they come in the field: what is lost is a loss, and messages name a likely cause."""

import unicodedata

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile

from pipeline_lib.corpus import identity, table
from pipeline_lib.corpus.collect import collect
from pipeline_lib.corpus.items import stem
from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import check_root

SPLITS = ("train", "train", "train", "train", "dev", "dev", "test", "test")
HEADER = "audio,emotion,split,speaker"


def rows():
    return [f"{i}.wav,{('anger', 'joy')[i % 2]},{split},s{split}" for i, split in enumerate(SPLITS)]


@pytest.fixture
def own(tmp_path, say, settings):
    """Collect a table of eight recordings, changed by lines and columns."""

    def run(lines=None, header=HEADER, missing=(), **options):
        for i in range(8):
            say(tmp_path / f"{i}.wav")
        for name in missing:
            (tmp_path / name).unlink()
        (tmp_path / "corpus.csv").write_text("\n".join([header, *(rows() if lines is None else lines)]) + "\n")
        return collect(settings("table", dev_bal={"per_class": 1}, **options))

    return run


# one identifier for several utterances


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("copy/0.wav,joy,train,strain,0", "contradictory: emotion is 'joy', and 'anger' of 0.wav, which is taken"),
        ("copy/0.wav,anger,dev,sdev,0", "contradictory: split is 'dev', and 'train' of 0.wav, which is taken"),
        ("copy/0.wav,anger,train,other,0", "contradictory: speaker is 'other', and 'strain' of 0.wav, which is taken"),
    ],
)
def test_a_row_that_contradicts_another_of_its_name_is_a_loss(tmp_path, say, own, row, expected):
    say(tmp_path / "copy" / "0.wav")
    result = own([*(f"{line},{i}" for i, line in enumerate(rows())), row], f"{HEADER},utterance_id")
    (reason,) = result.quarantine["reason"]
    assert reason == f"{expected} (one utterance_id for two utterances?)"
    assert result.metrics["rows"] == {"read": 9, "kept": 8, "copies": 0, "quarantined": 1}
    assert result.notices[0].startswith("1 of 9 rows are quarantined (contradictory 1)")


def test_a_sentence_as_utterance_id_stops_the_stage(own):
    with pytest.raises(InputError, match="split 'dev' cannot be used: contradictory 2 .*Does utterance_id name each"):
        own([f"{line},sentence" for line in rows()], f"{HEADER},utterance_id")


def test_the_same_bytes_twice_in_a_split_are_said(tmp_path, own, settings):
    own()
    (tmp_path / "again (1).wav").write_bytes((tmp_path / "1.wav").read_bytes())
    (tmp_path / "corpus.csv").write_text("\n".join([HEADER, *rows(), "again (1).wav,joy,train,strain"]) + "\n")
    result = collect(settings("table", dev_bal={"per_class": 1}))
    assert "utterances that repeat sound of another one of their split: 1." in result.metrics["warnings"]
    assert result.metrics["rows"]["kept"] == 9


def test_the_same_samples_under_two_labels_are_said(tmp_path, own, settings):
    own()
    samples, rate = soundfile.read(tmp_path / "1.wav")
    soundfile.write(tmp_path / "other.flac", samples, rate)
    (tmp_path / "corpus.csv").write_text("\n".join([HEADER, *rows(), "other.flac,anger,train,strain"]) + "\n")
    result = collect(settings("table", dev_bal={"per_class": 1}))
    assert "recordings whose samples stand in two rows with different labels: 1." in result.metrics["warnings"]


# rows of annotators


def test_utterances_without_speaker_are_said(own):
    result = own([line.replace("stest", "") for line in rows()])
    assert result.metrics["warnings"].startswith("2 utterances have no speaker: whether it is in two splits")


def test_rows_of_annotators_are_compared_in_any_unicode_form(tmp_path, say, settings):
    names = [unicodedata.normalize(form, "Zo\u00eb") for form in ("NFC", "NFD")]
    say(tmp_path / f"{names[1]}.wav")
    ratings = zip(names, ("joy", "anger"), strict=True)
    lines = [HEADER, *(f"{name}.wav,{emotion},train,{name}" for name, emotion in ratings)]
    (tmp_path / "corpus.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    frame = table.read(tmp_path, settings("table"))
    assert frame["votes"].tolist() == [{"joy": 1, "anger": 1}] and frame["emotion"].tolist() == ["X"]
    assert frame["audio"].tolist() == [f"{names[1]}.wav"]


def test_an_identifier_of_the_rating_is_explained(own):
    lines = ["0.wav,joy,train,s,r1", "0.wav,anger,train,s,r2"]
    with pytest.raises(InputError, match="utterance_id is 'r2', and 'r1' .*does utterance_id name the rating"):
        own(lines, f"{HEADER},utterance_id")


# missing values


@pytest.mark.parametrize("word", ["N/A", "null", "none", "-", "#N/A"])
def test_votes_and_subsets_know_the_words_for_missing_values(own, word):
    result = own([f"{line},{word},{word}" for line in rows()], f"{HEADER},votes,subsets")
    frame = result.manifest.frame
    assert frame["votes"].isna().all() and not any(word in names for names in frame["subsets"])
    assert f"votes 8 ({word!r}), subsets 8 ({word!r})" in result.metrics["warnings"]


@pytest.mark.parametrize(("cells", "expected"), [("nan,joy,train,s", "audio is 'nan'"), ("0.wav,joy,N/A,s", "'N/A'")])
def test_a_refusal_shows_what_the_cell_holds(own, cells, expected):
    with pytest.raises(InputError, match=f"line 2: .*{expected}, expected"):
        own([cells])


def test_whole_numbers_that_pandas_made_floating_point_are_votes(tmp_path, settings):
    frame = pd.DataFrame({"audio": ["a.wav"], "emotion": ["joy"], "split": ["train"], "votes": [{"joy": 2.0}]})
    pq.write_table(pa.Table.from_pandas(frame), tmp_path / "corpus.PARQUET")
    result = table.read(tmp_path, settings("table", table={"file": "corpus.PARQUET"}))
    assert result["votes"].tolist() == [{"joy": 2}] and type(result["votes"][0]["joy"]) is int


def test_a_column_without_any_recording_is_a_corpus_of_text(tmp_path, settings):
    columns = {"utterance_id": ["a"], "audio": pa.nulls(1), "emotion": ["joy"], "split": ["train"]}
    pq.write_table(pa.table(columns | {"reference_text": ["we go"]}), tmp_path / "corpus.parquet")
    result = table.read(tmp_path, settings("table", table={"file": "corpus.parquet"}))
    assert result[["utterance_id", "audio"]].values.tolist() == [["a", None]]


@pytest.mark.parametrize("votes", ["2.5", "-1", "1e999", "NaN", "true"])
def test_votes_that_are_no_whole_numbers_are_refused(own, votes):
    with pytest.raises(InputError, match="line 2: votes is .*, expected a JSON object of emotions and whole numbers"):
        own([f'0.wav,joy,train,s,"{{""joy"": {votes}}}"'], f"{HEADER},votes")


def test_a_label_that_means_none_is_said(own):
    result = own([*rows(), "0.wav,unknown,train,strain"][1:])
    assert "corpus.csv: 'unknown' counts as a label; corpus.labels can leave it out." in result.metrics["warnings"]


# likely causes


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("audio,emotion\n".encode("utf-16"), r"UTF-16\? save it as UTF-8"),
        ("audio,col\u00e8re\n".encode("latin-1"), r"cp1252 or Latin-1\? save it as UTF-8"),
        (b"PK\3\4\x14\0\xff", "a workbook or a ZIP archive"),
        (b"PAR1\x15\xff", r"Parquet\? its name must end in \.parquet"),
        (b'audio,emotion,split\na.wav,"joy,train\nb.wav,joy,dev\n', r"is a quote of line 2 not closed\?"),
        (b"sep=,\naudio,emotion\n", "begins with the line sep="),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", r"pointer of Git LFS.*git lfs pull"),
        (b'audio,arousal,split\na.wav,"1,5",train\n', r"a comma in place of the point, or between thousands\?"),
        (b'audio,start,end,emotion,split\na.wav,"0,5",1,joy,train\n', "with a point, not a comma"),
        (b"audio,emotion,split\nfile:///x/a.wav,joy,train\n", "an address; expected a path relative to corpus.root"),
    ],
)
def test_a_table_that_cannot_be_read_has_a_likely_cause(tmp_path, settings, content, expected):
    (tmp_path / "corpus.csv").write_bytes(content)
    with pytest.raises(InputError, match=expected):
        table.read(tmp_path, settings("table"))


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS? git lfs pull"),
        (b"<!DOCTYPE html>", "a web page in place of the file? download it again"),
        (b"PK\3\4", "a ZIP archive? unpack it"),
        (b"nothing", "renamed?"),
    ],
)
def test_a_file_that_is_no_recording_has_a_likely_cause(tmp_path, own, settings, content, expected):
    own()
    (tmp_path / "0.wav").write_bytes(content)
    (reason,) = collect(settings("table", dev_bal={"per_class": 1})).quarantine["reason"]
    assert reason.endswith(f"no format that libsndfile knows ({expected})")


def test_where_a_missing_file_may_be_is_told(tmp_path, say):
    for path in ("wav/a.wav", "one/b.wav", "two/b.wav", "c.wav", "d e.wav"):
        say(tmp_path / path)
    (tmp_path / "link.wav").symlink_to(tmp_path / ".git" / "annex" / "link.wav")
    expected = {"a.wav": "wav/a.wav", "corpus/c.wav": "c.wav", "c": "c.wav", "c.flac": "c.wav", "d%20e.wav": "d e.wav"}
    same, near = identity.find_paths(tmp_path, [*expected, "b.wav", "x.wav", "link.wav"])
    assert same == {}
    assert near == {path: f"elsewhere? there is {there}" for path, there in expected.items()} | {
        "link.wav": "a link to nothing: git annex get, or dvc pull?"
    }


def test_segments_in_milliseconds_are_no_half_corpus(own):
    with pytest.raises(InputError, match="segment 8 .*Are the times in seconds") as error:
        own([f"{line},100,200" for line in rows()], f"{HEADER},start,end")
    assert "as a whole" not in str(error.value)


def test_a_table_that_is_a_folder_or_not_there_is_told_apart(tmp_path, settings):
    (tmp_path / "corpus.csv").mkdir()
    with pytest.raises(InputError, match=r"corpus\.csv is a folder, expected a \.csv or \.parquet, and the folder"):
        check_root(settings("table"))


# text alone


def test_a_split_without_any_recording_left_stops_though_its_text_would_stay(own):
    lines = [f"{line},we go" for line in rows()]
    lost, header = ["6.wav", "7.wav"], f"{HEADER},reference_text"
    with pytest.raises(InputError, match="all 2 recordings of split 'test' cannot be used, of the corpus missing 2"):
        own(lines, header, lost, on_bad="keep_rest")
    result = own(lines, header, lost, on_bad="keep_rest", max_quarantined={"share": 1.0})
    assert len(result.manifest) == 8 and int(result.manifest.has_audio.sum()) == 6
    assert len(own(lines, header, lost[:1], on_bad="keep_rest").manifest) == 8


# copies


@pytest.mark.parametrize("name", ["Copy of a", "Kopie von a", "Copy of Copy of a (1)", "a - Copy", "a copy 2", "a"])
def test_what_file_managers_add_is_left_out(name):
    assert stem(f"wav/{name}.wav") == "a"

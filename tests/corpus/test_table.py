"""A corpus of one's own: its columns and values, and the messages on its mistakes."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.corpus import table
from pipeline_lib.corpus.collect import collect
from pipeline_lib.errors import InputError


@pytest.fixture
def read(tmp_path, settings):
    """Write corpus.csv and read it."""

    def write(text: str, **options):
        (tmp_path / "corpus.csv").write_text(text, encoding="utf-8")
        return table.read(tmp_path, settings("table", **options))

    return write


def test_audio_emotion_and_speaker_are_enough(read):
    frame = read("audio,emotion,speaker\nsub/a.wav,anger,s1\nsub/b.wav,,s2\n")
    columns = ["utterance_id", "audio", "emotion", "speaker", "split", "reference_text"]
    assert frame[columns].values.tolist() == [
        ["sub/a", "sub/a.wav", "anger", "s1", None, None],
        ["sub/b", "sub/b.wav", None, "s2", None, None],
    ]


def test_every_column_is_read(read):
    frame = read(
        "utterance_id,audio,emotion,arousal,valence,dominance,split,speaker,gender,votes,reference_text,video,subsets,age\n"
        'u1,a.wav,joy,1.5,-1,,dev,s1,F,"{""joy"": 2, ""X"": 1}","Well, well",a.mp4,one; two,33\n',
        attribute_scale=[-2, 2],
    )
    row = frame.iloc[0]
    assert row[["utterance_id", "emotion", "split", "gender", "reference_text", "video"]].tolist() == [
        "u1", "joy", "dev", "female", "Well, well", "a.mp4",
    ]  # fmt: skip
    assert row["votes"] == {"joy": 2, "X": 1} and row["subsets"] == ["one", "two"]
    assert (row["arousal"], row["valence"]) == (1.5, -1.0) and np.isnan(row["dominance"])


def test_a_byte_order_mark_and_blank_lines_do_no_harm(read):
    assert len(read("\ufeffaudio,emotion,split\n\na.wav,anger,train\n\n")) == 1


def test_parquet_says_the_same_with_its_own_types(tmp_path, settings, read):
    text = 'audio,emotion,arousal,split,votes,subsets\na.wav,anger,2.5,train,"{""anger"": 2}",x;y\nb.wav,,,dev,,\n'
    expected = read(text)
    columns = {
        "audio": ["a.wav", "b.wav"],
        "emotion": ["anger", None],
        "arousal": [2.5, None],
        "split": ["train", "dev"],
        "votes": pa.array([{"anger": 2}, None]),
        "subsets": pa.array([["x", "y"], None]),
    }
    pq.write_table(pa.table(columns), tmp_path / "corpus.parquet")
    result = table.read(tmp_path, settings("table", table={"file": "corpus.parquet"}))
    pd.testing.assert_frame_equal(result, expected)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"corpus\.csv is empty, expected a header"),
        ("audio,emotion,split\n", r"has a header and no rows"),
        ("audio;emotion;split\na.wav;anger;train\n", r"cells are separated by ';', expected ','"),
        ("audio,emotion,emotion\na.wav,anger,fear\n", r"the header names \['emotion'\] twice"),
        ("audio,emotions,split\na.wav,anger,train\n", r"has a column 'emotions': did you mean 'emotion'\? Rename it"),
        ("filename,emotion,split\na.wav,anger,train\n", r"'filename': did you mean 'audio'\?"),
        ("audio,emotion,speaker_id\na.wav,anger,s\n", r"'speaker_id': did you mean 'speaker'\?"),
        ("audio,emotion,split,Valance\na.wav,anger,train,3\n", r"'Valance': did you mean 'valence'\?"),
        ("audio,split\na.wav,train\n", r"no column 'emotion' and none of \['arousal', 'valence', 'dominance'\]"),
        ("emotion,split\nanger,train\n", r"no column 'audio', its columns are \['emotion', 'split'\]"),
        ("audio,emotion\na.wav,anger\n", r"neither 'split' nor 'speaker'.*corpus\.split\.method: random"),
        ("audio,emotion,split\na.wav,anger,train\nb.wav,fear\n", r"line 3: 2 cells, the header has 3"),
        ("audio,emotion,split\na.wav,anger,val\n", r"line 2: split is 'val', .* \(did you mean 'dev'\?\)"),
        ("audio,emotion,split\na.wav,anger,tarin\n", r"line 2: split is 'tarin', .* \(did you mean 'train'\?\)"),
        ("audio,emotion,split\na.wav,anger,\n", r"line 2: split is '', expected train, dev, test"),
        ("audio,emotion,split\n,anger,train\n", r"line 2: audio is empty, expected a path below"),
        ("audio,emotion,split\n../a.wav,anger,train\n", r"line 2: audio: '\.\./a\.wav' is no path below"),
        (
            "audio,emotion,split\n/etc/a.wav,anger,train\n",
            r"line 2: audio: '/etc/a\.wav' is an absolute path and does not lie below corpus\.root",
        ),
        (
            'audio,arousal,split\na.wav,"2,5",train\n',
            r"line 2: arousal is '2,5', expected a number with a decimal point",
        ),
        ("audio,arousal,split\na.wav,9,train\n", r"line 2: arousal is 9, corpus\.attribute_scale goes from 1 to 7"),
        ("audio,arousal,split\na.wav,inf,train\n", r"line 2: arousal is 'inf', expected a finite number"),
        (
            "audio,emotion,split,votes\na.wav,anger,train,anger:2\n",
            r"line 2: votes is 'anger:2', expected a JSON object",
        ),
        ('audio,emotion,split,votes\na.wav,x,train,"{""x"": 1.5}"\n', r"line 2: votes is .*whole numbers"),
        (
            "audio,emotion,split\na.wav,Anger,train\nb.wav,anger,dev\n",
            r"emotions 'Anger' and 'anger' differ in capitals",
        ),
        (
            'audio,emotion,split,reference_text\na.wav,anger,train,"two\nlines"\nb.wav,fear,no,x\n',
            r"line 4: split is 'no'",
        ),
        ('audio,emotion,split\n"a.wav,anger,train\n', r"not CSV: unexpected end of data"),
    ],
)
def test_a_mistake_is_named_with_its_line_its_value_and_the_likely_cause(read, text, message):
    with pytest.raises(InputError, match=message):
        read(text)


def test_a_table_that_is_not_utf8_says_which_byte(tmp_path, settings):
    (tmp_path / "corpus.csv").write_bytes("audio,emotion,split\nä.wav,anger,train\n".encode("latin-1"))
    with pytest.raises(InputError, match="is not UTF-8: byte 20 is 0xe4"):
        table.read(tmp_path, settings("table"))


def test_a_table_that_is_no_parquet(tmp_path, settings):
    (tmp_path / "a.parquet").write_text("audio,emotion\n")
    with pytest.raises(InputError, match=r"a\.parquet cannot be read as Parquet"):
        table.read(tmp_path, settings("table", table={"file": "a.parquet"}))


def test_another_column_may_hold_the_split(read):
    text = "audio,emotion,split,fold\na.wav,anger,train,test\n"
    assert read(text, split={"method": "column", "column": "fold"})["split"].tolist() == ["test"]
    with pytest.raises(InputError, match="has no column 'flod' for corpus.split.method column"):
        read(text, split={"method": "column", "column": "flod"})


def test_text_without_audio_is_a_corpus_too(tmp_path, settings):
    (tmp_path / "corpus.csv").write_text(
        "utterance_id,emotion,reference_text,split\n"
        "1,joy,Hurray,train\n2,fear,Oh no,train\n3,joy,Yes,dev\n4,fear,No,test\n"
    )
    frame = collect(settings("table")).manifest.frame
    assert frame["audio"].isna().all() and frame["audio_sha256"].isna().all() and frame["duration_s"].isna().all()


def test_labels_are_what_the_data_hold_primary_emotions_first(tmp_path, settings):
    rows = [("z", "boredom"), ("y", "sadness"), ("x", "awe"), ("w", "anger"), ("v", "X"), ("u", "O"), ("t", "")]
    lines = [f"{name},{emotion},text,train" for name, emotion in rows]
    (tmp_path / "corpus.csv").write_text("\n".join(["utterance_id,emotion,reference_text,split", *lines]))
    collected = collect(settings("table"))
    assert collected.manifest.labels == ("anger", "sadness", "awe", "boredom")
    assert json.loads(json.dumps(collected.metrics))["warnings"] == "no utterance is in dev or test."


def test_dialogues_and_turns_are_read_together_and_are_one_an_utterance(read):
    frame = read(
        "utterance_id,reference_text,emotion,split,dialogue,turn\na,A,joy,train,d1,03\nb,B,joy,train,,\nc,C,joy,train,d1,4.0\n"
    )
    assert frame[["dialogue", "turn"]].values.tolist() == [["d1", 3], [None, None], ["d1", 4]]
    header = "utterance_id,reference_text,emotion,split,dialogue,turn\n"
    with pytest.raises(InputError, match=r"line 2: turn is 'third', expected a whole number of at most 9 digits"):
        read(header + "a,A,joy,train,d1,third\n")
    with pytest.raises(InputError, match=r"line 2: dialogue is 'd1' and turn None, expected both or neither"):
        read(header + "a,A,joy,train,d1,\n")
    with pytest.raises(InputError, match=r"line 3: turn is '0', and '2' in another row of the same utterance"):
        read(header + "a,A,joy,train,d1,2\na,A,joy,train,d1,0\n")
    alone = read("utterance_id,reference_text,emotion,split,dialogue\na,A,joy,train,d1\n")
    assert alone["dialogue"].tolist() == [None] and "columns not read: dialogue" in alone.attrs["notes"][0]

"""Columns and words that change what a row of a table means: segments, annotators, missing values."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline_lib.corpus import segment_times, table
from pipeline_lib.corpus.collect import collect
from pipeline_lib.errors import InputError


@pytest.fixture
def read(tmp_path, settings):
    """Write corpus.csv and read it."""

    def write(*lines: str, **options):
        (tmp_path / "corpus.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return table.read(tmp_path, settings("table", **options))

    return write


def times(frame):
    return frame[["utterance_id", "start_s", "end_s"]].values.tolist()


# segments


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        ("start,end", "0.5,1.25", (0.5, 1.25)),
        ("start_s,end_s", "0,2", (0.0, 2.0)),
        ("start,end", "0 days 00:00:01.500000,0 days 00:01:02.25", (1.5, 62.25)),
        ("start,end", "0 days,00:00:00.25", (0.0, 0.25)),
        ("start,end", "PT0.5S,P0DT0H1M1.5S", (0.5, 61.5)),
        ("start,end", "500ms,1.5 s", (0.5, 1.5)),
        ("start,end", "1.5,NaT", (1.5, np.nan)),
        ("start,end", "1.5,", (1.5, np.nan)),
        ("start,end", ",0.75", (0.0, 0.75)),
        ("start,end", "0,", (np.nan, np.nan)),
        ("start,end", "NaT,NaT", (np.nan, np.nan)),
        ("offset,duration", "1.1,2.2", (1.1, 3.3)),
        ("start,duration", "1e-1,.2", (0.1, 0.3)),
        ("start,end,duration", "1,2,9", (1.0, 2.0)),
    ],
)
def test_times_of_a_segment_are_seconds_or_durations(read, header, cells, expected):
    frame = read(f"audio,{header},emotion,split", f"a.wav,{cells},anger,train")
    np.testing.assert_array_equal(frame[["start_s", "end_s"]].to_numpy()[0], expected)
    assert frame["start_s"].dtype == frame["end_s"].dtype == np.float64


def test_a_duration_of_pandas_is_read_as_pandas_reads_it():
    rng = np.random.default_rng(0)
    for nanoseconds in [0, 1_000, *rng.integers(1, 2 * 10**14, 50)]:
        text = str(pd.Timedelta(int(nanoseconds), unit="ns"))
        _, end = segment_times.segment("", ("start", "end"), "", text) if nanoseconds else (0, 0.0)
        assert end == pytest.approx(nanoseconds / 1e9, rel=1e-15)


def test_segments_of_a_recording_have_names_of_their_own_and_are_no_duplicates(read):
    frame = read(
        "audio,start,end,emotion,split",
        "d/a.wav,0,1.5,anger,train", "d/a.wav,1.5,2.0625,joy,train", "d/a.wav,1.5,,joy,train", "d/b.wav,,,joy,dev",
    )  # fmt: skip
    np.testing.assert_array_equal(frame["end_s"], [1.5, 2.0625, np.nan, np.nan])
    assert frame["utterance_id"].tolist() == ["d/a_0-1500", "d/a_1500-2062.5", "d/a_1500-end", "d/b"]


def test_parquet_durations_are_segments(tmp_path, settings):
    columns = {
        "audio": ["a.wav", "a.wav"],
        "start": pa.array([0, 1_500_000_000], pa.duration("ns")),
        "end": pa.array([1_500_000_000, None], pa.duration("ns")),
        "emotion": ["joy", "anger"],
        "split": ["train", "dev"],
    }
    pq.write_table(pa.table(columns), tmp_path / "corpus.parquet")
    frame = table.read(tmp_path, settings("table", table={"file": "corpus.parquet"}))
    assert frame["utterance_id"].tolist() == ["a_0-1500", "a_1500-end"]
    np.testing.assert_array_equal(frame[["start_s", "end_s"]], [[0.0, 1.5], [1.5, np.nan]])


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ("-0.5,1", r"line 2: start is -0\.5, expected seconds from the recording's beginning, at least 0"),
        ("2,1", r"line 2: end 1 is not behind start 2"),
        ("1,1", r"line 2: end 1 is not behind start 1"),
        ("one,2", r"line 2: start is 'one', expected seconds \(1\.5\) or a duration"),
        ("0,00:75:00", r"line 2: end is '00:75:00', expected seconds"),
        ("-1 days +23:59:59,2", r"line 2: start is '-1 days \+23:59:59', expected seconds"),
        ("inf,2", r"line 2: start is 'inf', expected seconds"),
    ],
)
def test_a_time_that_is_none_is_refused(read, cells, message):
    with pytest.raises(InputError, match=message):
        read("audio,start,end,emotion,split", f"a.wav,{cells},anger,train")


def test_an_identifier_on_two_segments_is_refused(read):
    with pytest.raises(InputError, match=r"line 3: utterance_id 'u' is also that of another segment of a\.wav"):
        read("utterance_id,audio,start,end,emotion,split", "u,a.wav,0,1,anger,train", "u,a.wav,1,2,joy,train")


@pytest.mark.parametrize(
    "name",
    ["begin", "Start", "end_time", "startTime", "stop", "offset", "duration", "channel", "time", "tmin", "onset_ms"],
)
def test_a_column_that_names_a_part_or_a_channel_is_refused_or_ignored_by_name(read, name):
    lines = [f"audio,{name},emotion,split", "a.wav,1,anger,train"]
    with pytest.raises(InputError, match=rf"column '{name}', which seems to name a part .* corpus\.table\.ignore"):
        read(*lines)
    assert read(*lines, table={"ignore": [name]}).attrs["notes"] == [f"corpus.csv: columns not read: {name}."]


def test_segments_given_twice_or_an_ignored_column_that_is_not_there(read):
    with pytest.raises(InputError, match=r"gives segments twice, by the columns \['end', 'end_s', 'start', 's"):
        read("audio,start,end,start_s,end_s,emotion,split", "a.wav,0,1,0,1,anger,train")
    with pytest.raises(InputError, match="no column 'chanel', which corpus.table.ignore names"):
        read("audio,emotion,split", "a.wav,anger,train", table={"ignore": ["chanel"]})


@pytest.mark.parametrize("name", ["age", "gender_identity", "weekday", "vendor", "audio_sha256", "duration_s"])
def test_other_columns_are_not_read_and_named(read, name):
    assert read(f"audio,{name},emotion,split", "a.wav,1,anger,train").attrs["notes"] == [
        f"corpus.csv: columns not read: {name}."
    ]


# annotators


def test_a_row_an_annotator_is_counted_into_votes_and_the_plurality_taken(read):
    frame = read(
        "audio,emotion,arousal,split,speaker",
        "a.wav,joy,2,train,s1", "b.wav,joy,3,train,s1", "a.wav,anger,3,train,s1", "a.wav,anger,5.5,train,s1",
        "c.wav,joy,,dev,s2", "c.wav,anger,4,dev,s2", "d.wav,joy,1,dev,s2", "d.wav,joy,1,dev,s2",
    )  # fmt: skip
    assert frame["audio"].tolist() == ["a.wav", "b.wav", "c.wav", "d.wav"]
    assert frame["emotion"].tolist() == ["anger", "joy", "X", "joy"]
    assert frame["votes"].tolist() == [{"joy": 1, "anger": 2}, None, {"joy": 1, "anger": 1}, {"joy": 2}]
    assert frame["arousal"].tolist() == [3.5, 3.0, 4.0, 1.0]
    (note,) = frame.attrs["notes"]
    assert note == (
        "corpus.csv: 8 rows became 4 utterances, each row counted as one annotator's vote; 1 of them have no"
        " plurality and are X."
    )


def test_named_annotators_vote_once_each_and_single_votes_are_votes(read):
    frame = read(
        "audio,annotator,emotion,split",
        "a.wav,w1,joy,train", "a.wav,w1,joy,train", "a.wav,w2,joy,train", "a.wav,w3,,train", "b.wav,w1,anger,train",
    )  # fmt: skip
    assert frame["votes"].tolist() == [{"joy": 2}, {"anger": 1}]
    assert frame.attrs["notes"][0] == "corpus.csv: 1 rows repeat another row and are left out."
    assert "4 rows became 2 utterances" in frame.attrs["notes"][1]


def test_annotators_of_a_segment_are_told_from_those_of_another(read):
    frame = read(
        "audio,start,end,emotion,split",
        "a.wav,0,1,joy,train", "a.wav,0.0,1.0,anger,train", "a.wav,1,2,anger,train", "./a.wav,0,00:00:01,joy,train",
    )  # fmt: skip
    assert frame["votes"].tolist() == [{"joy": 2, "anger": 1}, None]
    assert frame["emotion"].tolist() == ["joy", "anger"]


def test_text_without_audio_is_told_apart_by_its_identifier(read):
    frame = read(
        "utterance_id,reference_text,emotion,split", "1,Oh.,joy,train", "2,Oh.,fear,train", "2,Oh.,fear,train",
        "2,Oh.,joy,train",
    )  # fmt: skip
    assert frame["votes"].tolist() == [None, {"fear": 2, "joy": 1}]


def test_rows_that_only_repeat_each_other_are_no_votes(read):
    frame = read("audio,emotion,split", "a.wav,joy,train", "b.wav,joy,train", "a.wav,joy,train", "a.wav,joy,train")
    assert frame["votes"].tolist() == [None, None]
    assert frame.attrs["notes"] == ["corpus.csv: 2 rows repeat another row and are left out."]


@pytest.mark.parametrize(
    ("column", "one", "other"),
    [
        ("speaker", "s1", "s2"),
        ("split", "train", "dev"),
        ("reference_text", "Oh.", "Ah."),
        ("gender", "F", "male"),
        ("utterance_id", "1", "2"),
        ("video", "a.mp4", "b.mp4"),
        ("subsets", "x", "y"),
    ],
)
def test_rows_of_an_utterance_that_differ_in_more_are_refused(read, column, one, other):
    tail = "" if column == "split" else ",train"
    with pytest.raises(InputError, match=rf"line 3: {column} is .* in another row of the same utterance .*line 2\)"):
        read(f"audio,emotion,{column}{',split' if tail else ''}", f"a.wav,joy,{one}{tail}", f"a.wav,fear,{other}{tail}")


def test_what_only_one_row_of_an_utterance_has_is_kept(read):
    frame = read("audio,emotion,split,speaker", "a.wav,joy,train,", "a.wav,fear,train,s1", "a.wav,joy,train,")
    assert frame["speaker"].tolist() == ["s1"]


def test_votes_and_several_rows_contradict_each_other(read):
    with pytest.raises(InputError, match="line 2: votes stand in a row of an utterance that has several rows"):
        read("audio,emotion,split,votes", 'a.wav,joy,train,"{""joy"": 2}"', "a.wav,fear,train,")


# words for missing values


@pytest.mark.parametrize("word", ["nan", "NaN", "None", "N/A", "na", "NULL", "-", "?", "<NA>", "#N/A", "NaT", "n.a."])
def test_words_for_missing_values_are_missing(read, word):
    frame = read("audio,emotion,speaker,gender,split", f"a.wav,{word},{word},{word},dev", "b.wav,joy,s,f,dev")
    row = frame.iloc[0]
    assert row[["emotion", "speaker", "gender"]].isna().all()
    (note,) = frame.attrs["notes"]
    assert note == (
        f"corpus.csv: words taken for missing values: emotion 1 ({word!r}), speaker 1 ({word!r}), gender 1 ({word!r})"
        "; where one is a label or a name, list it in corpus.table.keep_words."
    )


def test_numbers_know_the_same_words(read):
    frame = read("audio,arousal,valence,dominance,split", "a.wav,NA,-,None,dev")
    assert frame[["arousal", "valence", "dominance"]].isna().all(axis=None)
    assert "arousal 1 ('NA'), valence 1 ('-'), dominance 1 ('None')" in frame.attrs["notes"][0]


@pytest.mark.parametrize(
    "options", [{"table": {"keep_words": ["none"]}}, {"labels": ["none", "joy"]}, {"merge": {"none": "neutral"}}]
)
def test_a_label_called_none_is_kept_where_the_settings_name_it(read, options):
    frame = read("audio,emotion,split,speaker", "a.wav,none,train,NA", "b.wav,None,train,s", **options)
    assert frame["emotion"].tolist() == ["none", None] and frame["speaker"].tolist() == [None, "s"]


def test_text_is_missing_only_as_str_writes_a_missing_value(read):
    texts = ["nan", "None", "NaT", "<NA>", "None.", "na", "N/A", "-", "none", "Nan"]
    rows = [f"{i}.wav,joy,train,{text}" for i, text in enumerate(texts)]
    frame = read("audio,emotion,split,reference_text", *rows)
    assert frame["reference_text"].tolist() == [None] * 4 + texts[4:]
    assert "reference_text 4" in frame.attrs["notes"][0]


def test_votes_for_a_missing_label_are_left_out_and_counted(read):
    frame = read("audio,emotion,split,votes", 'a.wav,joy,train,"{""joy"": 2, ""nan"": 3}"')
    assert frame["votes"].tolist() == [{"joy": 2}] and "votes 3 ('nan')" in frame.attrs["notes"][0]


def test_a_split_that_is_missing_is_refused_where_splits_are_read(read):
    lines = ["audio,emotion,split,speaker", "a.wav,joy,nan,s1", "b.wav,joy,N/A,s2"]
    with pytest.raises(InputError, match="line 2: split is 'nan', expected train"):
        read(*lines)
    assert read(*lines, split={"method": "speakers"})["split"].isna().all()


def test_the_stage_shows_the_notes(tmp_path, settings, say):
    rows = [f"{s}{e}.wav,{e},{s},{s},9" for s in ("train", "dev", "test") for e in ("joy", "nan", "fear")]
    for row in rows:
        say(tmp_path / row.split(",")[0])
    (tmp_path / "corpus.csv").write_text("\n".join(["audio,emotion,split,speaker,age", *rows]) + "\n")
    collected = collect(settings("table", dev_bal={"per_class": 1}))
    assert collected.manifest.labels == ("fear", "joy")
    assert collected.metrics["warnings"] == (
        "corpus.csv: columns not read: age."
        " corpus.csv: words taken for missing values: emotion 3 ('nan'); where one is a label or a name,"
        " list it in corpus.table.keep_words."
    )
    assert json.dumps(collected.metrics) and not collected.manifest.frame.attrs

"""Rows of ``ser predict`` in order, of any length, gone on with, refused with a reason; the system is a fake."""

import csv
import json
from collections import Counter

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from pipeline_lib.cli import app
from pipeline_lib.errors import InputError
from pipeline_lib.prediction import rows
from pipeline_lib.prediction.run import run
from tests.prediction.fake import FakePipeline, chosen
from tests.recordings import tone, written

KINDS = ("csv", "jsonl", "parquet")


def read(path):
    """Return the rows of a file by another reader than the writer: ids, segments, statuses, shares."""
    if path.suffix == ".jsonl":
        values = [json.loads(line) for line in path.read_text().splitlines()]
        return [(v["id"], v["segment"], v["status"], v["posterior"].get("angry")) for v in values]
    frame = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    shares = [None if np.isnan(share) else share for share in frame["posterior.angry"]]
    return list(zip(frame.id, frame.segment, frame.status, shares, strict=True))


@pytest.fixture
def recordings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i, name in enumerate(("a.wav", "b.flac", "d.ogg", "e.wav"), 1):
        written(tmp_path / name, tone(1.0) * np.float32(i / 2))
    (tmp_path / "c.wav").write_bytes(b"no audio")
    return ["a.wav", "b.flac", "c.wav", "d.ogg", "e.wav"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_file_is_a_row_and_the_others_are_done(recordings, tmp_path, monkeypatch, kind):
    out = tmp_path / f"x.{kind}"
    for batch_size in (1, 3, 64):
        options = chosen(FakePipeline(), monkeypatch, out=out, batch_size=batch_size)
        assert run(recordings, options) == {"predicted": 4, "failed": 1}
        ids, segments, statuses, shares = zip(*read(out), strict=True)
        assert list(ids) == recordings and segments == (1, 1, 0, 1, 1)
        assert statuses == ("predicted", "predicted", "failed", "predicted", "predicted")
        assert shares[2] is None and np.allclose([*shares[:2], *shares[3:]], [0.15, 0.3, 0.45, 0.6], atol=0.02)
        out.unlink()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dies_after", [0, 1, 3])
def test_an_interrupted_run_leaves_a_readable_file_and_is_gone_on_with(
    recordings, tmp_path, monkeypatch, kind, dies_after
):
    out = tmp_path / f"x.{kind}"
    with pytest.raises(KeyboardInterrupt):
        run(recordings, chosen(FakePipeline(dies_after=dies_after), monkeypatch, out=out))
    assert json.loads((tmp_path / f"x.{kind}.run.json").read_text())["complete"] is False
    before = read(out)
    assert [name for name, *_ in before] == recordings[: len(before)] and len(before) >= dies_after
    system = FakePipeline()
    assert run(recordings, chosen(system, monkeypatch, out=out)) == {"predicted": 4, "failed": 1}
    assert len(system.computed) == 4 - dies_after
    whole = tmp_path / f"whole.{kind}"
    run(recordings, chosen(FakePipeline(), monkeypatch, out=whole))
    assert read(out) == read(whole)
    if kind != "parquet":
        assert out.read_bytes() == whole.read_bytes()
    assert not [*tmp_path.glob("*.rows.jsonl")]
    assert json.loads((tmp_path / f"x.{kind}.run.json").read_text())["complete"] is True
    again = FakePipeline()
    assert run(recordings, chosen(again, monkeypatch, out=out)) == {"predicted": 4, "failed": 1}
    assert again.computed == []


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_a_line_that_a_kill_cut_short_is_written_again(recordings, tmp_path, monkeypatch, kind):
    out = tmp_path / f"x.{kind}"
    run(recordings, chosen(FakePipeline(), monkeypatch, out=out))
    whole = out.read_bytes()
    for n_bytes in (0, 5, len(whole) // 2, len(whole) - 1):
        out.write_bytes(whole[:n_bytes])
        run(recordings, chosen(FakePipeline(), monkeypatch, out=out))
        assert out.read_bytes() == whole


def test_a_kill_leaves_the_rows_of_parquet_in_lines(recordings, tmp_path, monkeypatch):
    out = tmp_path / "x.parquet"
    monkeypatch.setattr("pipeline_lib.prediction.output.Output.end", lambda *_, **__: None)  # nothing runs after a kill
    run(recordings, chosen(FakePipeline(), monkeypatch, out=out))
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    lines = (tmp_path / "x.parquet.rows.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == recordings and not out.exists()
    system = FakePipeline()
    run(recordings, chosen(system, monkeypatch, out=out))
    assert [name for name, *_ in read(out)] == recordings and system.computed == []


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_another_run_are_not_gone_on_with(recordings, tmp_path, monkeypatch, kind):
    out = tmp_path / f"x.{kind}"
    run(recordings, chosen(FakePipeline(), monkeypatch, out=out))
    whole = out.read_bytes()
    for system, options, targets, message in (
        (FakePipeline(digest="two"), {}, recordings, 'another bundle \\(then "one", now "two"\\)'),
        (FakePipeline(), {"segment": "2"}, recordings, "another segment"),
        (FakePipeline(), {"prior": "angry=.5,calm=.5"}, recordings, "another prior"),
        (FakePipeline(), {}, recordings[:-1], "another inputs .*recordings \\(then 5, now 4\\)"),
    ):
        with pytest.raises(InputError, match=message):
            run(targets, chosen(system, monkeypatch, out=out, **options))
    (tmp_path / f"x.{kind}.run.json").unlink()
    with pytest.raises(InputError, match="was not written by ser predict"):
        run(recordings, chosen(FakePipeline(), monkeypatch, out=out))
    assert out.read_bytes() == whole


def test_two_runs_do_not_write_one_file(recordings, tmp_path, monkeypatch):
    out = tmp_path / "x.csv"
    outer = FakePipeline()

    def during(each, real=outer._of):
        with pytest.raises(InputError, match="is being written by another run"):
            run(recordings, chosen(FakePipeline(), monkeypatch, out=out))
        return real(each)

    outer._of = during
    run(recordings, chosen(outer, monkeypatch, out=out))
    assert [name for name, *_ in read(out)] == recordings


def test_a_long_recording_is_refused_whole_and_cut_with_times(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "long.flac", np.concatenate([tone(1.0) * np.float32(k) for k in range(1, 4)] * 3))
    out = tmp_path / "whole.jsonl"
    assert run(["long.flac"], chosen(FakePipeline(), monkeypatch, out=out)) == {"failed": 1}
    assert "lasts 9.00 s, the experts read at most 3 s whole; cut it with --segment vad" in out.read_text()
    out = tmp_path / "cut.jsonl"
    with pytest.raises(KeyboardInterrupt):
        run(["long.flac"], chosen(FakePipeline(dies_after=2), monkeypatch, out=out, segment="2"))
    system = FakePipeline()
    run(["long.flac"], chosen(system, monkeypatch, out=out, segment="2"))
    assert system.computed == [("long.flac", 3.6, 5.4), ("long.flac", 5.4, 7.2), ("long.flac", 7.2, 9.0)]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    times = [(v["segment"], v["segments"], round(v["start_s"], 3), round(v["end_s"], 3)) for v in lines]
    assert times == [(1, 5, 0.0, 1.8), (2, 5, 1.8, 3.6), (3, 5, 3.6, 5.4), (4, 5, 5.4, 7.2), (5, 5, 7.2, 9.0)]
    with pytest.raises(InputError, match="--segment is 4 s, the experts read at most 3 s whole"):
        run(["long.flac"], chosen(FakePipeline(), monkeypatch, segment="4"))


def test_no_speech_is_a_row_that_says_so(recordings, monkeypatch, tmp_path):
    """The network of silero-vad is replaced by the loudness, so that the test needs no package of the extra."""
    written(tmp_path / "quiet.wav", tone(2.0) * np.float32(0.01))
    monkeypatch.setattr("pipeline_lib.inference.segmentation.network", lambda: None)
    monkeypatch.setattr("pipeline_lib.inference.segmentation.probabilities", _loud)
    out = tmp_path / "x.csv"
    options = chosen(FakePipeline(), monkeypatch, out=out, segment="vad")
    assert run(["quiet.wav", "a.wav"], options) == {"no speech": 1, "predicted": 1}
    frame = pd.read_csv(out)
    assert [*frame.status] == ["no speech", "predicted"] and frame.reason[0] == "no speech in quiet.wav"
    assert (frame.start_s[1], frame.end_s[1]) == (0.0, 1.0)


def _loud(blocks):
    samples = np.concatenate(list(blocks))
    whole = samples[: len(samples) // 512 * 512].reshape(-1, 512)
    return (np.abs(whole).max(axis=1) > 0.05).astype(np.float32)


def test_cells_hold_no_formula_and_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = '=HYPERLINK("x")\n,.wav'
    written(tmp_path / name, tone(1.0))
    (tmp_path / "t.csv").write_text('audio,words\na.wav,"+1 ""really"", he\nsaid"\n')
    written(tmp_path / "a.wav", tone(1.0))
    for kind in KINDS:
        options = chosen(FakePipeline(), monkeypatch, out=tmp_path / f"x.{kind}", text_column="words")
        run([name, "t.csv"], options)
    lines = (tmp_path / "x.csv").read_bytes().split(b"\n")
    assert len(lines) == 4 and not lines[-1]
    first, second = csv.DictReader(text.decode() for text in lines[:3])
    assert first["recording"] == '\'=HYPERLINK("x") ,.wav' and second["transcript"] == '\'+1 "really", he said'
    for values in (
        [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()],
        pd.read_parquet(tmp_path / "x.parquet").to_dict("records"),
    ):
        assert values[0]["recording"] == name and values[1]["transcript"] == '+1 "really", he\nsaid'


def test_parquet_and_csv_have_the_columns_of_the_specification(recordings, tmp_path, monkeypatch):
    for kind in ("csv", "parquet"):
        run(recordings, chosen(FakePipeline(), monkeypatch, out=tmp_path / f"x.{kind}"))
    schema = pq.read_schema(tmp_path / "x.parquet")
    assert schema.names == next(csv.reader((tmp_path / "x.csv").open())) == rows.columns(("angry", "calm"), ["arousal"])
    types = {str(schema.field(name).type) for name in ("start_s", "posterior.angry", "attribute.arousal")}
    assert types == {"double"} and str(schema.field("segment").type) == "int32"
    stored = json.loads(schema.metadata[b"ser_predict"])
    assert (stored["bundle"], stored["recordings"], stored["format_version"]) == ("one", 5, 1)
    experts = json.loads(pd.read_csv(tmp_path / "x.csv").experts[0])
    assert experts["audio"]["posterior"].keys() == {"angry", "calm"}


def test_the_prior_reaches_the_system_and_is_checked(recordings, monkeypatch):
    system = FakePipeline()
    run(["a.wav"], chosen(system, monkeypatch, prior="calm=.7, angry=.3"))
    assert system.priors == [{"calm": 0.7, "angry": 0.3}]
    for text, message in (
        ("calm=1", r"leaves out \['angry'\]"),
        ("calm=.7,angry=.2", "sums to 0.9"),
        ("calm=.7,cross=.3", r"has 'cross=.3', expected LABEL=SHARE"),
        ("calm=.7,angry=much", "has 'angry=much'"),
        ("calm=.5,calm=.5", "has 'calm=.5'"),
    ):
        with pytest.raises(InputError, match=message):
            run(["a.wav"], chosen(FakePipeline(), monkeypatch, prior=text))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segment": "words"}, "--segment is 'words', expected none, vad or a number"),
        ({"segment": "-1"}, "--segment is '-1'"),
        ({"segment": "2", "text": "yes"}, "a text is of a whole recording"),
        ({"out": "x.txt"}, "expected a name that ends in .parquet, .csv, .jsonl"),
        ({"out": "none/x.csv"}, "none is no folder"),
    ],
)
def test_options_are_refused_before_anything_is_written(recordings, tmp_path, monkeypatch, options, message):
    options = {name: tmp_path / value if name == "out" else value for name, value in options.items()}
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=message):
        run(["a.wav"], chosen(FakePipeline(), monkeypatch, **options))
    assert sorted(tmp_path.iterdir()) == before


def test_the_command_ends_with_3_where_a_row_failed_and_prints_json(recordings, monkeypatch):
    chosen(FakePipeline(), monkeypatch)
    done = CliRunner().invoke(app, ["predict", "-", "--bundle", "b"], input="a.wav\nc.wav\n")
    assert done.exit_code == 3
    values = [json.loads(line) for line in done.stdout.splitlines()]
    assert Counter(v["status"] for v in values) == {"predicted": 1, "failed": 1}
    assert "2 rows: 1 predicted, 1 failed" in done.stderr and "a note" in done.stderr
    assert CliRunner().invoke(app, ["predict", "a.wav", "--bundle", "b"]).exit_code == 0
    assert CliRunner().invoke(app, ["predict", "a.wav", "--device", "tpu"]).exit_code == 2
    refused = CliRunner().invoke(app, ["predict"])
    assert refused.exit_code == 1 and "no recording is named" in refused.stderr


def test_a_person_reads_lines():
    row = rows.Row("a", "a\x1b[2J.wav", 1, 1, 0.0, 1.5, "predicted", posterior={"calm": 0.25, "angry": 0.75})
    assert rows.line(row) == "a [2J.wav      0.00 -    1.50 s  angry 0.75 calm 0.25"

"""``ser predict`` on a packed system: the numbers of its stages, on a table, on files, cut in parts."""

import json

import numpy as np
import pandas as pd
import pytest
import soundfile
from typer.testing import CliRunner

from pipeline_lib.audio.decoding import decode
from pipeline_lib.cli import app
from pipeline_lib.inference.prediction import Recording
from pipeline_lib.prediction.run import Chosen, run
from pipeline_lib.tables import manifest, predictions


def test_rows_of_a_table_are_the_stages_numbers(plain, tmp_path):
    corpus = manifest.read(plain.project / "data/manifest.parquet")
    frame = corpus.frame.assign(utterance_id=corpus.ids)[["utterance_id", "audio", "reference_text"]]
    frame.to_csv(tmp_path / "t.csv", index=False)
    out = tmp_path / "x.parquet"
    options = Chosen(str(plain.bundle), out, text_column="reference_text", root=plain.root, batch_size=64)
    assert run([str(tmp_path / "t.csv")], options) == {"predicted": len(corpus)}
    written, fused = pd.read_parquet(out), predictions.read(plain.project / "data/fused.parquet")
    assert [*written.id] == corpus.ids.tolist()
    expected = fused.posterior[np.argsort(fused.utterance_ids)]
    obtained = written.set_index("id").sort_index()[[f"posterior.{label}" for label in fused.labels]]
    np.testing.assert_allclose(obtained.to_numpy(), expected, rtol=0, atol=1e-5)


def test_the_command_predicts_parts_of_a_long_recording(plain, pipeline, tmp_path, monkeypatch):
    corpus = manifest.read(plain.project / "data/manifest.parquet")
    parts = [decode(plain.root / audio) for audio in corpus.frame["audio"][:4]]
    parts = [part[: min(map(len, parts)) // 160 * 160] for part in parts]  # times are in milliseconds
    soundfile.write(tmp_path / "long.wav", np.concatenate(parts), 16_000, subtype="FLOAT")
    seconds = len(parts[0]) / 16_000
    monkeypatch.setattr("pipeline_lib.inference.pipeline.Pipeline.load", lambda *_, **__: pipeline)
    words = ["predict", str(tmp_path / "long.wav"), "--bundle", str(plain.bundle), "--segment", str(seconds)]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["segment"] for row in rows] == [1, 2, 3, 4]
    alone = list(pipeline.predict_many([Recording(str(i), (part, 16_000)) for i, part in enumerate(parts)], 1))
    for row, result in zip(rows, alone, strict=True):
        assert row["posterior"] == pytest.approx(result.posterior, abs=1e-5)


def test_a_folder_that_is_neither_is_refused(tmp_path):
    done = CliRunner().invoke(app, ["predict", "a.wav", "--bundle", str(tmp_path / "none")])
    assert done.exit_code == 1 and "does not exist, expected the folder of a bundle" in done.stderr

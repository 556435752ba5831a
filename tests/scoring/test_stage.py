"""The command: from tables to scores, page and plots."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from pipeline_lib.tables import leaks, manifest, predictions
from stages import scoring
from tests.scoring.corpora import ENOUGH, drawn_manifest, drawn_predictions

NOTICE = "synthetic demonstration speech: these scores say nothing about people"


@pytest.fixture
def project(tmp_path, monkeypatch):
    corpus = drawn_manifest(notice=NOTICE, speakers=ENOUGH)
    manifest.write(tmp_path / "data/manifest.parquet", corpus)
    leaks.write(tmp_path / "data/leaks.parquet", leaks.Leaks())
    tables = {
        "audio_raw": drawn_predictions(corpus, "audio", 1, 1.0, ("anger", "X", "neutral", "sadness", "O")),
        "audio": drawn_predictions(corpus, "audio", 1, 1.0),
        "text": drawn_predictions(corpus, "text", 2, 0.5, attributes=False),
        "fused": drawn_predictions(corpus, "fused", 3, 2.0, fitted_on=("dev_bal",)),
        "fused_crossfitted": drawn_predictions(corpus, "fused", 4, 2.0, rows=corpus.mask("dev_bal")),
    }
    for name, table in tables.items():
        predictions.write(tmp_path / f"data/{name}.parquet", table)
    section = {
        "splits": ["dev_filt", "dev_bal", "test"],
        "tables": {name: f"data/{name}.parquet" for name in tables},
    }
    trained = {"audio": {"encoder": {"checkpoint": "facebook/w2v-bert-2.0"}}}
    params = {"scoring": section, "finetuning": trained, "embedding": {}, "corpus": {"root": "/corpora/drawn"}}
    with (tmp_path / "params.yaml").open("w") as file:
        YAML().dump(params, file)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def leaves(value):
    return [leaf for v in value.values() for leaf in leaves(v)] if isinstance(value, dict) else [value]


def test_the_stage_writes_scores_page_and_plots(project, capsys):
    scoring.main()
    scores = json.loads(Path("metrics/details.json").read_text())
    assert (scores["corpus"], scores["notice"]) == ("drawn", NOTICE)
    assert scores["chance"]["ua"] == pytest.approx(1 / 3) and [*scores["chance"]["splits"]] == [
        "dev_filt",
        "dev_bal",
        "test",
    ]
    assert set(scores["dev_bal"]) == {"audio_raw", "audio", "text", "fused_resubstitution", "fused_crossfitted"}
    assert set(scores["test"]) == {"audio_raw", "audio", "text", "fused", "fused_minus_best"}
    assert {"macro_f1", "macro_f1_lo", "macro_f1_hi", "ua", "wa", "weighted_f1", "ccc_mean_hi", "ece", "n"} <= set(
        scores["test"]["fused"]
    )
    assert all(math.isfinite(leaf) for leaf in leaves(scores) if not isinstance(leaf, str | list))
    assert "speakers" not in capsys.readouterr().err  # there are enough


def test_the_page_begins_with_the_notice_and_shows_the_scores_as_they_are(project):
    scoring.main()
    page, scores = Path("metrics/report.md").read_text(), json.loads(Path("metrics/details.json").read_text())
    assert page.splitlines()[:3] == ["# Scores on drawn", "", f"> **{NOTICE}**"]
    fused = scores["test"]["fused"]
    assert f"{fused['macro_f1']:.3f} [{fused['macro_f1_lo']:.3f}, {fused['macro_f1_hi']:.3f}]" in page
    best = scores["test"]["fused_minus_best"]["best"]
    assert f"fused less {best} (the better of audio and text on dev_filt): macro-F1 +" in page
    assert "fused_resubstitution" in page.split("## dev_bal")[1].split("## test")[0]


def test_plots_hold_every_scored_utterance_and_every_bin(project):
    scoring.main()
    pairs = Path("metrics/plots/confusion/fused.csv").read_text().splitlines()
    assert pairs[0] == "actual,predicted" and len(pairs) == 61
    assert {leaf for row in pairs[1:] for leaf in row.split(",")} <= {"anger", "neutral", "sadness"}
    points = [row.split(",") for row in Path("metrics/plots/reliability/fused.csv").read_text().splitlines()]
    assert points[0] == ["confidence", "accuracy", "perfect", "n"]
    assert sum(int(row[3]) for row in points[1:]) == 60
    assert all(0 <= float(row[1]) <= 1 and row[0] == row[2] for row in points[1:])
    assert not Path("metrics/plots/confusion/fused_crossfitted.csv").exists()  # it has no predictions of the test split
    assert len(Path("metrics/plots/systems.csv").read_text().splitlines()) == 1 + 4


def test_the_page_ends_with_the_audit_and_the_learning_curve_and_few_numbers_are_the_metric(project):
    curve = {"recordings": [10, 20], "ua": [0.4, 0.5], "sentences": ["Twenty are better"]}
    (project / "metrics/rebalancing").mkdir(parents=True)
    (project / "metrics/rebalancing/text.json").write_text(json.dumps({"learning_curve": curve}))
    text = Path("params.yaml").read_text().replace("data/text.parquet", "data/rebalanced/text.parquet")
    Path("params.yaml").write_text(text)
    Path("data/rebalanced").mkdir()
    Path("data/text.parquet").rename("data/rebalanced/text.parquet")
    corpus = manifest.read(Path("data/manifest.parquet"))
    weak = drawn_predictions(corpus, "fused", 3, 0.2, fitted_on=("dev_bal",))
    predictions.write(Path("data/fused.parquet"), weak)
    scoring.main()
    end = Path("metrics/report.md").read_text().split("## More recordings, or cleaner labels?")[1]
    assert (
        "text: UA 0.400 from 10, 0.500 from 20 training recordings. Twenty are better." in end
        and "Label audit: " in end
    )
    rows = Path("metrics/audit.csv").read_text().splitlines()
    assert rows[0].startswith("utterance_id,audio,")
    assert len(rows) > 1 and Path("metrics/audit.html").read_text().count("<tr>") == len(rows)  # each with its header
    few, details = (json.loads(Path(f"metrics/{name}.json").read_text()) for name in ("scores", "details"))
    assert few["fused"]["f1"] == few["headline"] == details["test"]["fused"]["macro_f1"]
    assert len([leaf for leaf in leaves(few) if isinstance(leaf, float)]) == 2 + 3 + 3 + 2


def test_two_runs_write_the_same_bytes_and_an_old_systems_plot_goes(project):
    scoring.main()
    before = {path: path.read_bytes() for path in sorted(Path("metrics").rglob("*.*"))}
    Path("metrics/plots/confusion/gone.csv").write_text("actual,predicted\n")
    scoring.main()
    assert {path: path.read_bytes() for path in sorted(Path("metrics").rglob("*.*"))} == before


def test_a_contaminated_checkpoint_is_said_first(project, capsys):
    corpus = manifest.read(Path("data/manifest.parquet"))
    manifest.write(Path("data/manifest.parquet"), type(corpus)(corpus.frame, "IEMOCAP, four labels", corpus.labels))
    text = Path("params.yaml").read_text().replace("facebook/w2v-bert-2.0", "superb/hubert-large-superb-er")
    Path("params.yaml").write_text(text)
    scoring.main()
    expected = (
        "checkpoint superb/hubert-large-superb-er was trained on the emotion labels of IEMOCAP"
        " (paper, 2021: Yang et al., SUPERB, Interspeech): scores on it flatter"
    )
    assert capsys.readouterr().err.startswith(f"warning: {expected}\n")
    assert Path("metrics/report.md").read_text().splitlines()[2] == f"> Warning: {expected}  "


def test_it_starts_without_torch_scikit_learn_or_transformers():
    code = "import sys, stages.scoring; print(sorted({'torch', 'transformers', 'sklearn', 'scipy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_fused_rows_of_one_expert_are_left_out_with_a_line(project, capsys):
    yaml = YAML()
    params = yaml.load((project / "params.yaml").read_text())
    params["fusion"] = {"experts": ["audio"]}
    yaml.dump(params, project / "params.yaml")
    scoring.main()
    assert capsys.readouterr().out.splitlines()[0] == (
        "left out of scoring.tables, since fusion has one expert: fused, fused_crossfitted"
    )
    scores = json.loads(Path("metrics/details.json").read_text())
    assert set(scores["test"]) == {"audio_raw", "audio", "text"}
    assert "fused" not in Path("metrics/report.md").read_text()


def test_leaks_are_counted_on_the_page_with_a_pair_and_a_script_is_told_once(project, capsys):
    rows = [leaks.Leak("sound", f"b{i}", "test", f"a{i}", "train", 0.1) for i in range(3)]
    rows.append(leaks.Leak("text", "c", "test", "d", "dev"))
    leaks.write(project / "data/leaks.parquet", leaks.Leaks(tuple(rows), "Scripted corpus: one."))
    scoring.main()
    page, printed = Path("metrics/report.md").read_text(), capsys.readouterr().err
    for sentence in (
        "3 utterances of test are recordings in another encoding of train (data/leaks.parquet): 'b0' and 'a0'.",
        "1 utterances of test have the same text of six words or more as one of dev (data/leaks.parquet): 'c' and 'd'.",
    ):
        assert f"> Warning: {sentence}" in page and f"warning: {sentence}" in printed
    assert page.count("Scripted corpus: one.") == 1 and "Scripted" not in printed


def test_a_recogniser_that_does_not_name_its_audio_stands_at_the_end_of_the_page(project, capsys):
    params = YAML(typ="safe").load(Path("params.yaml"))
    params["transcription"] = {"engine": "whisper", "whisper": {"checkpoint": "openai/whisper-base"}}
    with Path("params.yaml").open("w") as file:
        YAML().dump(params, file)
    scoring.main()
    page = Path("metrics/report.md").read_text()
    note = "Checkpoint openai/whisper-base has seen audio of sources that are not named (paper, 2022: Radford et al.,"
    assert page.index(note) > page.index("## test") and "whisper" not in capsys.readouterr().err

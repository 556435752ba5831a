"""The learning curve: which recordings a draw takes, what the last point is, and the deviations."""

import json
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.metrics.categories import macro_f1, unweighted_accuracy
from pipeline_lib.rebalancing.learning import deviation, draw_of
from pipeline_lib.tables import manifest, predictions
from stages import rebalancing
from tests.folded import deal
from tests.rebalancing.made import LABELS, corpus
from tests.rebalancing.test_folds import ENTRIES, lay_down

SHARES = [0.125, 0.5, 1.0]


def test_a_draw_takes_the_share_of_each_label_and_speaker_and_a_larger_one_holds_it():
    of = corpus(n=960)
    of.frame["speaker"] = [f"s{row % 5}" for row in range(960)]
    train, truth = of.mask("train"), of.truth()
    quarter, half = draw_of(of, 0.25, 0), draw_of(of, 0.5, 0)
    assert not (quarter & ~half).any() and not (half & ~(train & (truth >= 0))).any()
    for label in range(3):
        of_label = train & (truth == label)
        assert (half & of_label).sum() == round(0.5 * of_label.sum())
        for speaker in range(5):
            own = of_label & (of.frame["speaker"] == f"s{speaker}").to_numpy()
            assert abs((half & own).sum() - own.sum() / 2) <= 1
    assert (draw_of(of, 0.5, 1) != half).any() and (draw_of(of, 0.5, 0) == half).all()
    assert (draw_of(of, 1.0, 0) == (train & (truth >= 0))).all()
    assert [(draw_of(of, 1e-6, 0) & (truth == label)).sum() for label in range(3)] == [2, 2, 2]


def test_the_deviation_of_single_utterances_is_the_binomials():
    generator = np.random.default_rng(0)
    right = (generator.random(400) < 0.7).astype(np.float64)
    expected = np.sqrt(right.mean() * (1 - right.mean()) / 400)
    alone = np.arange(400)
    assert deviation(right, np.zeros(400, dtype=np.int64), alone) == pytest.approx(expected, rel=0.08)
    # utterances of a speaker that are all alike are one: four times as many of them leave the deviation
    again = np.repeat(right, 4), np.zeros(1600, dtype=np.int64), np.repeat(alone, 4)
    assert deviation(*again) == pytest.approx(expected, rel=0.08)


@pytest.mark.parametrize("with_folds", [True, False])
def test_the_last_point_is_the_entrys_own_score_on_what_is_held_out(tmp_path, monkeypatch, capsys, with_folds):
    source = {"layers": "best_on_dev", "learning_curve": SHARES}
    entry = ENTRIES["layers"] | {"source": source, "folds": with_folds}
    of = corpus(n=360)
    of = lay_down(
        tmp_path, monkeypatch, deal(of, 3) if with_folds else of, {"layers": entry, "audio": ENTRIES["audio"]}
    )
    rebalancing.main("layers")
    table, truth = predictions.read(Path("data/rebalanced/layers.parquet")), of.truth()
    scored = (truth >= 0) & (of.mask("folds") if with_folds else of.mask("dev"))
    given = truth[scored], table.posterior[scored].argmax(axis=1), len(LABELS)
    curve = json.loads(Path("metrics/rebalancing/layers.json").read_text())["learning_curve"]
    assert curve["ua"][-1] == pytest.approx(unweighted_accuracy(*given), abs=1e-6)
    assert curve["macro_f1"][-1] == pytest.approx(macro_f1(*given), abs=1e-6)
    n = (truth >= 0).sum() / 3 if with_folds else (of.mask("train") & (truth >= 0)).sum()
    np.testing.assert_allclose(curve["recordings"], np.array(SHARES) * n, atol=2)
    assert curve["ua"][0] < curve["ua"][-1] and min(curve["ua_deviation"]) > 0
    assert curve["ua_gain"] == pytest.approx(curve["ua"][-1] - curve["ua"][-2], abs=2e-6)
    rows = Path("metrics/plots/learning/layers.csv").read_text().splitlines()
    assert rows[0] == "recordings,macro_f1,ua" and len(rows) == 4
    assert rows[-1].split(",")[2] == f"{curve['ua'][-1]:.6f}"
    assert curve["sentences"][0] in capsys.readouterr().out


def test_an_entry_without_a_learning_curve_writes_the_header(tmp_path, monkeypatch):
    lay_down(tmp_path, monkeypatch, deal(corpus(n=120), 3))
    rebalancing.main("audio")
    assert Path("metrics/plots/learning/audio.csv").read_text() == "recordings,macro_f1,ua\n"
    assert "learning_curve" not in json.loads(Path("metrics/rebalancing/audio.json").read_text())
    of = corpus(n=120)
    unlabelled = of.frame["emotion"].where(of.frame["split"] == "train")
    manifest.write(Path("data/manifest.parquet"), manifest.Manifest(of.frame.assign(emotion=unlabelled), "x", LABELS))
    source = {"layers": [3], "learning_curve": SHARES}
    entry = ENTRIES["layers"] | {"source": source, "folds": False}
    Path("params.yaml").write_text(json.dumps({"rebalancing": {"layers": entry}}))
    rebalancing.main("layers")
    assert Path("metrics/plots/learning/layers.csv").read_text() == "recordings,macro_f1,ua\n"

"""Which systems are held against which baselines, and what the report says first."""

from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.metrics.categories import unweighted_accuracy
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.baselines import pairs
from pipeline_lib.scoring.lineage import Lineage, cautions_of_given, lineage
from pipeline_lib.scoring.report import below_baselines, report
from pipeline_lib.scoring.score import score
from pipeline_lib.scoring.systems import align
from tests.scoring.corpora import ENOUGH, drawn_manifest, drawn_predictions

PARAMS = {
    "finetuning": {
        "audio": {"modality": "audio"},
        "text": {"modality": "text"},
        "joint": {"modality": "joint", "branches": {"audio": {}, "text": {}}},
    },
    "embedding": {"egemaps": {"modality": "audio"}, "bert": {"modality": "text"}},
    "rebalancing": {
        "audio": {"reads": {"source": "data/predictions_folds/audio"}},
        "egemaps": {"reads": {"source": "data/embeddings/egemaps"}},
        "bert": {"reads": {"source": "data/embeddings/bert"}},
        "frozen": {"reads": {"source": "data/embeddings/egemaps"}},
    },
}
TABLES = {
    "audio_raw": "data/predictions/audio.parquet",
    "audio": "data/rebalanced/audio.parquet",
    "text": "data/predictions/text.parquet",
    "joint": "data/predictions/joint.parquet",
    "joint_text": "data/predictions_alone/joint/text.parquet",
    "egemaps": "data/rebalanced/egemaps.parquet",
    "bert": "data/rebalanced/bert.parquet",
    "frozen": "data/rebalanced/frozen.parquet",
    "fused": "data/fused.parquet",
    "fused_crossfitted": "data/fused_crossfitted.parquet",
}


def settings(names=TABLES, baselines=("egemaps", "bert"), **rest):
    values = {"splits": ["dev_filt", "dev_bal", "test"], "tables": {name: TABLES[name] for name in names}}
    options = {"baselines": list(baselines), "comparison": {"against": []}}
    return ScoringSettings.parse({**values, **options, **rest}, "scoring")


def scored(skills, **options):
    """Return the manifest, the settings, the tables by name and the scores of systems by their skill."""
    manifest, fitted = drawn_manifest(notice="", speakers=ENOUGH), options.pop("fitted_on", {})
    tables = {
        name: drawn_predictions(manifest, name, i, skill, fitted_on=fitted.get(name, ()))
        for i, (name, skill) in enumerate(skills.items())
    }
    systems = [align(name, Path(name), table, manifest) for name, table in tables.items()]
    chosen = settings(tables, **options)
    return manifest, chosen, tables, score(manifest, systems, chosen, PARAMS)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("audio_raw", Lineage("expert", "audio", frozenset(["audio"]))),
        ("audio", Lineage("expert", "audio", frozenset(["audio"]))),
        ("joint", Lineage("expert", "joint", frozenset(["audio", "text"]))),
        ("joint_text", Lineage("expert", "joint/text", frozenset(["text"]))),
        ("egemaps", Lineage("layers", "egemaps", frozenset(["audio"]))),
        ("fused", Lineage("fusion", "fusion", frozenset())),
        ("fused_crossfitted", None),
    ],
)
def test_a_table_comes_from_what_the_parameters_say(name, expected):
    assert lineage(TABLES[name], PARAMS) == expected


@pytest.mark.parametrize("table", ["data/audio.parquet", "data/predictions/gone.parquet", "/data/predictions/audio"])
def test_a_path_that_no_stage_writes_comes_from_nothing(table):
    assert lineage(table, PARAMS) is None


def test_experts_are_held_against_baselines_of_their_modality_and_the_fusion_against_all():
    assert list(pairs(settings(), PARAMS)) == [
        ("audio", "egemaps"),  # rebalanced; the softmax is not the system
        ("text", "bert"),
        ("joint", "egemaps"),
        ("joint", "bert"),
        ("joint_text", "bert"),
        ("frozen", "egemaps"),  # layers that are no baseline are held against one, as experts are
        ("fused", "egemaps"),
        ("fused", "bert"),
    ]


def test_the_first_line_says_which_system_is_below_a_baseline_with_both_numbers_and_the_interval():
    manifest, chosen, tables, result = scored(
        {"audio": 0.3, "egemaps": 3.0, "fused": 5.0}, baselines=["egemaps"], plotted_split="test"
    )
    rows = manifest.mask("test") & (manifest.truth() >= 0)
    own, other = (
        unweighted_accuracy(manifest.truth()[rows], tables[name].posterior[rows].argmax(axis=1), 3)
        for name in ("audio", "egemaps")
    )
    values = result.scores["beside_baselines"]["audio"]["egemaps"]
    assert (values["score"], values["baseline"]) == (pytest.approx(own), pytest.approx(other))
    assert values["difference"] == pytest.approx(own - other) and values["n"] == rows.sum() == 60
    assert values["difference_lo"] <= values["difference"] <= values["difference_hi"] < 0
    first = report(result, chosen).splitlines()[0]
    low, high = values["difference_lo"], values["difference_hi"]
    assert first == (
        f"**audio (UA {own:.3f}) is below the baseline egemaps ({other:.3f}) on the same 60 utterances;"
        f" difference {own - other:+.3f} [{low:+.3f}, {high:+.3f}].**  "
    )
    assert result.scores["beside_baselines"]["fused"]["egemaps"]["difference"] > 0
    assert len(below_baselines(result.scores)) == 1
    assert "| egemaps (baseline) |" in report(result, chosen) and "| audio |" in report(result, chosen)


def test_only_utterances_that_both_sides_predict_count():
    manifest = drawn_manifest()
    half = manifest.mask("test") & (np.arange(len(manifest)) % 2 == 0)
    systems = [
        align("audio", Path("a"), drawn_predictions(manifest, "audio", 1), manifest),
        align("egemaps", Path("b"), drawn_predictions(manifest, "egemaps", 2, rows=half), manifest),
    ]
    chosen = settings(["audio", "egemaps"], ["egemaps"], splits=["test"], least_coverage=0.1)
    values = score(manifest, systems, chosen, PARAMS).scores["beside_baselines"]["audio"]["egemaps"]
    assert values["n"] == (half & (manifest.truth() >= 0)).sum() < 40


def test_where_nothing_is_below_a_baseline_the_title_is_the_first_line():
    _, chosen, _, result = scored({"audio": 5.0, "egemaps": 0.1}, baselines=["egemaps"])
    assert report(result, chosen).startswith("# Scores on drawn\n")


def test_a_small_difference_is_called_so():
    values = {"metric": "ua", "score": 0.5, "baseline": 0.51, "n": 9}
    values |= {"difference": -0.01, "difference_lo": -0.05, "difference_hi": 0.03}
    (sentence,) = below_baselines({"beside_baselines": {"audio": {"egemaps": values}}})
    assert sentence.endswith("difference -0.010 [-0.050, +0.030], which may be chance.")
    del values["difference_lo"], values["difference_hi"]  # of too few speakers
    (sentence,) = below_baselines({"beside_baselines": {"audio": {"egemaps": values}}})
    assert sentence.endswith("difference -0.010 [—], which may be chance.")


def test_a_baseline_under_another_name_is_not_compared_with_itself():
    manifest = drawn_manifest()
    table = drawn_predictions(manifest, "audio", 1)
    systems = [align(name, Path(name), table, manifest) for name in ("audio", "egemaps")]
    result = score(manifest, systems, settings(["audio", "egemaps"], ["egemaps"]), PARAMS)
    assert result.scores["beside_baselines"] == {}
    assert "audio and the baseline egemaps predict the same of every utterance: not compared" in result.warnings


def test_a_system_fitted_on_the_plotted_split_is_not_compared_and_a_warning_says_so():
    _, _, _, result = scored(
        {"audio": 0.3, "egemaps": 3.0},
        baselines=["egemaps"],
        fitted_on={"egemaps": ("dev_bal",)},
        plotted_split="dev_bal",
    )
    assert result.scores["beside_baselines"] == {}
    why = "egemaps was fitted there (dev_bal) and not cross-fitted"
    assert f"dev_bal: audio is not compared with the baseline egemaps: {why}" in result.warnings


def test_a_baseline_that_was_not_computed_is_named_with_its_reason():
    reason = "opensmile is not installed: pip install 'speech-emotion[egemaps]'"
    _, chosen, _, result = scored({"audio": 1.0}, baselines=["egemaps"], not_computed={"egemaps": reason})
    assert f"- The baseline egemaps was not computed: {reason}" in report(result, chosen).splitlines()


def test_probabilities_of_another_system_are_named_in_a_warning():
    params = {"rebalancing": {"other": {"reads": {"source": "posteriors/x.csv"}}, **PARAMS["rebalancing"]}}
    tables = {"audio": TABLES["audio"], "other": "data/rebalanced/other.parquet"}
    assert lineage(tables["other"], params) == Lineage("given", "posteriors/x.csv", frozenset())
    (warning,) = cautions_of_given(tables, params | {"finetuning": PARAMS["finetuning"]})
    assert warning.startswith(
        "other holds probabilities that another system gave, posteriors/x.csv: that it was trained"
    )

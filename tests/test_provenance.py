"""Splits that an artifact was fitted and chosen on: recorded where labels are read, inherited, marked in the scores."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.fusion import model as fusion_model
from pipeline_lib.fusion.fuse import fuse
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.rebalancing import model as rebalancing_model
from pipeline_lib.rebalancing import source
from pipeline_lib.rebalancing.rebalance import fit, rebalance
from pipeline_lib.scoring.report import report
from pipeline_lib.scoring.score import score
from pipeline_lib.scoring.systems import System, align
from pipeline_lib.scoring.tuning import cautions_of_tuning
from pipeline_lib.tables import _parquet, embeddings, folds, predictions
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import Provenance
from pipeline_lib.tables.truth import labels_of
from tests.label_reads import direct_reads, dropped_records
from tests.rebalancing.made import LABELS, corpus, embed, expert, settings
from tests.scoring.corpora import drawn_manifest, drawn_predictions

SCORES_ONLY = {  # what reads labels of the manifest itself, and why nothing that it makes depends on them
    "pipeline_lib/tables/manifest.py": "holds them",
    "pipeline_lib/tables/truth.py": "hands them out with the record",
    "pipeline_lib/corpus": "makes them",
    "pipeline_lib/start": "looks at a corpus that is not laid down yet",
    "pipeline_lib/scoring": "scores",
    "pipeline_lib/evaluation": "scores",
    "pipeline_lib/robustness": "scores",
    "pipeline_lib/reports": "draws",
    "pipeline_lib/rebalancing/folds.py": "scores the folds on their development parts",
    "pipeline_lib/rebalancing/learning.py": "draws the learning curve",
    "pipeline_lib/rebalancing/probe.py": "draws the layer curve",
}
CODE = [*Path("pipeline_lib").rglob("*.py"), *Path("stages").glob("*.py")]


def test_labels_are_read_with_a_record_and_no_record_is_dropped():
    allowed = set()
    for path in CODE:
        text = path.read_text(encoding="utf-8")
        mine = next((each for each in SCORES_ONLY if path.is_relative_to(each)), None)
        if reads := direct_reads(text):
            assert mine is not None, f"{path} reads {reads} of the manifest: take them from tables.truth.labels_of"
            allowed.add(mine)
        if "pipeline_lib.tables.truth import" in text:
            assert dropped_records(text) == [], f"{path} drops the record of the labels that it reads"
    assert allowed == {*SCORES_ONLY}, "remove what reads no labels from SCORES_ONLY"


@pytest.mark.parametrize(
    "line",
    [
        "truth = corpus.truth()[rows]",
        "values = manifest.attributes([name])",
        "emotions = manifest.frame['emotion'].tolist()",
        "votes = frame['votes']",
        "values = self.corpus.frame[list(ATTRIBUTES)]",
        "values = frame[['arousal', 'valence']]",
        "names = corpus.frame.emotion",
        "rows = corpus.frame.itertuples()",
        "column = getattr(corpus.frame, name)",
    ],
)
def test_the_walk_sees_a_direct_read(line):
    assert direct_reads(line)


@pytest.mark.parametrize(
    ("body", "drops"),
    [
        ("read = labels_of(m, fit=['train'])\n    return read.classes(), read.record", False),
        ("read = labels_of(m, fit=['train'])\n    return _recording(model, read)", False),
        ("read = labels_of(m, fit=['train'])\n    return read.classes()", True),
        ("return labels_of(m, fit=['train']).classes()", True),
        ("one = labels_of(m, fit=['a'])\n    two = labels_of(m, fit=['b'])\n    return one.record", True),
    ],
)
def test_the_walk_sees_a_dropped_record(body, drops):
    assert bool(dropped_records(f"def f(m, model):\n    {body}\n")) is drops


def test_labels_outside_of_what_is_recorded_are_not_handed_out():
    of = corpus()
    of.frame["arousal"] = np.arange(120.0)
    of.frame["votes"] = [{"anger": 1}] * 120
    read = labels_of(of, fit=["train"], choose=["dev_filt"])
    inside = of.mask("train") | of.mask("dev_filt")
    assert read.record == Provenance(("train",), ("dev_filt",))
    np.testing.assert_array_equal(read.classes(), np.where(inside, of.truth(), -1))
    np.testing.assert_array_equal(np.isfinite(read.values(["arousal"])[:, 0]), inside)
    assert [each is not None for each in read.emotions()] == inside.tolist()
    assert [each is not None for each in read.votes()] == inside.tolist()


@pytest.mark.parametrize(
    ("values", "fitted_on", "chosen_on"),
    [
        ({}, (), ()),
        ({"prior": "em"}, (), ()),
        ({"prior": "development"}, ("dev",), ()),
        ({"method": "lda_logistic"}, ("train",), ()),
        ({"method": "plda", "refit": True}, ("dev", "train"), ()),
        ({"calibration": "temperature", "temperature": {"on": "dev_filt"}}, ("dev_filt",), ()),
        ({"source": {"layers": "best_on_dev"}}, ("train",), ("dev",)),
        ({"source": {"layers": [2]}}, ("train",), ()),
    ],
)
def test_every_fit_and_choice_of_an_entry_is_recorded_and_inherited(tmp_path, values, fitted_on, chosen_on):
    of, before = corpus(), Provenance(("train",), ("dev",))
    if "source" in values:
        embed(tmp_path / "e", of)
        info = replace(embeddings.read_info(tmp_path / "e"), provenance=before)
        embeddings._write_info(tmp_path / "e" / embeddings.INFO, info)
        entry = settings(reads={"source": "data/embeddings/e"}, method="plda", **values)
        read = source.of_embedding(tmp_path / "e", of, entry.source, "mine")
    else:
        entry = settings(**values)
        read = source.of_predictions(expert(of, provenance=before))
    fitted = fit(read, of, entry, "mine")
    expected = Provenance((*before.fitted_on, *fitted_on), (*before.chosen_on, *chosen_on))
    table = rebalancing_model.apply(fitted, read)
    assert fitted.provenance == table.provenance == expected
    rebalancing_model.write(tmp_path / "model", fitted)
    record = json.loads((tmp_path / "model" / "model.json").read_text())
    assert (record["fitted_on"], record["chosen_on"]) == ([*expected.fitted_on], [*expected.chosen_on])
    assert rebalancing_model.read(tmp_path / "model").provenance == expected
    predictions.write(tmp_path / "t.parquet", table)
    assert predictions.read_metadata(tmp_path / "t.parquet")["chosen_on"] == [*expected.chosen_on]


def test_the_fusion_is_fitted_on_its_tuning_set_and_what_is_crossfitted_is_not(tmp_path):
    of = corpus()
    given = [rebalance(expert(of, seed=k, provenance=Provenance(("train",), ("dev",))), of, settings()) for k in (1, 2)]
    options = FusionSettings.parse({"experts": ["audio", "text"], "tuning": "dev_filt"}, "fusion")
    result = fuse(given, of, options)
    assert result.fused.provenance == Provenance(("dev_filt", "train"), ("dev",))
    assert result.crossfitted.provenance == Provenance(("train",), ("dev",))
    fusion_model.write(tmp_path / "fusion", result, options)
    record = json.loads((tmp_path / "fusion" / "fusion.json").read_text())
    assert (record["fitted_on"], record["chosen_on"]) == (["dev_filt", "train"], ["dev"])
    assert fusion_model.read(tmp_path / "fusion").provenance == result.fused.provenance


def in_folds(n=90):
    """Return a corpus of three folds, each of which develops on every third utterance of the next."""
    of = corpus(n)
    subsets = [[f"fold{k % 3}"] + ([f"fold{(k + 2) % 3}_dev"] if k % 9 < 3 else []) for k in range(n)]
    return replace(of, frame=of.frame.assign(split="folds", subsets=pd.Series(subsets)))


def test_a_fold_records_its_splits_as_the_corpus_calls_them_and_what_is_out_of_fold_depends_on_none():
    of = in_folds()
    tables = []
    for fold in range(3):
        entry = settings(method="plda", calibration="temperature")
        tables.append(rebalance(expert(of, seed=fold, provenance=Provenance()), folds.view(of, fold), entry))
    assert tables[0].provenance == Provenance(("fold0_dev", "fold1", "fold2"))
    pooled = folds.out_of_fold(of, tables)
    assert pooled.provenance == Provenance(out_of_fold=True)


def test_an_encoder_that_saw_a_fold_is_no_longer_out_of_fold():
    of = in_folds()
    seen = Provenance(("fold1", "fold2"), ("fold0_dev",))  # of the expert of fold0, whose encoder every fold reads
    tables = [
        rebalance(expert(of, seed=fold, provenance=seen), folds.view(of, fold), settings(method="plda"))
        for fold in range(3)
    ]
    pooled = folds.out_of_fold(of, tables)
    assert pooled.fitted_on == ("fold1", "fold2") and pooled.chosen_on == ("fold0_dev",)


def test_artifacts_of_older_code_are_not_recorded_rather_than_fitted_on_nothing(tmp_path):
    of = corpus()
    predictions.write(tmp_path / "p.parquet", expert(of, provenance=Provenance(("dev",))))
    metadata = predictions.read_metadata(tmp_path / "p.parquet")
    table, _ = _parquet.read(tmp_path / "p.parquet", "predictions")
    old = {key: value for key, value in metadata.items() if key not in ("chosen_on", "not_recorded", "kind")}
    _parquet.write(tmp_path / "old.parquet", table, "predictions", old)
    read = predictions.read(tmp_path / "old.parquet")
    assert read.provenance == Provenance(("dev",), not_recorded=("audio",))
    inherited = rebalance(read, of, settings(method="plda"))
    assert inherited.provenance == Provenance(("dev", "train"), not_recorded=("audio",))
    assert Predictions(np.array(["a"], dtype=object), "made").provenance.not_recorded == ("made",)
    assert isinstance(table, pa.Table)


def scored(splits, records, tables=("audio_raw", "text", "fused"), **comparison):
    """Return the scores of drawn systems with these records, and the report."""
    of = drawn_manifest()
    systems = [
        align(name, Path(f"{name}.parquet"), replace(drawn_predictions(of, name, k), provenance=records[name]), of)
        for k, name in enumerate(tables)
    ]
    values = {
        "splits": splits,
        "plotted_split": splits[-1],
        "tables": {name: f"data/{name}.parquet" for name in tables},
        "comparison": {"system": "fused", "against": ["audio_raw", "text"], **comparison},
        "intervals": {"samples": 100},
    }
    options = ScoringSettings.parse(values, "scoring")
    result = score(of, systems, options)
    return result, report(result, options)


TRAINED = Provenance(("train",), ("dev",))
RECORDS = {"audio_raw": TRAINED, "text": TRAINED, "fused": Provenance(("dev_bal", "train"), ("dev",))}


def test_train_carries_a_mark_and_no_p_and_what_was_chosen_another_mark_and_a_marked_p():
    records = RECORDS | {"fused": TRAINED}  # as what is cross-fitted
    result, page = scored(["train", "dev", "test"], records)
    assert {"audio_raw_resubstitution", "text_resubstitution", "fused_resubstitution"} == {*result.scores["train"]}
    assert {*result.scores["dev"]} == {"audio_raw_selection", "text_selection", "fused_selection", "fused_minus_best"}
    assert {*result.scores["test"]} == {"audio_raw", "text", "fused", "fused_minus_best"}
    assert result.scores["dev"]["fused_minus_best"]["chosen_on"] == ["dev", "dev_filt"]
    assert "chosen_on" not in result.scores["test"]["fused_minus_best"]
    assert any("train: fused is not compared with" in warning for warning in result.warnings)
    train, dev, test = (page.split(f"## {split}\n")[1].split("\n## ")[0] for split in ("train", "dev", "test"))
    assert "audio_raw_resubstitution" in train and "p = " not in train
    assert "fused_selection" in dev and "(selection: a side or the opponent was chosen on dev, dev_filt" in dev
    assert "_selection" not in test and "selection:" not in test and "p = " in test
    assert "| fused | train | dev |" in page
    assert result.scores["provenance"]["fused"] == {"fitted_on": ["train"], "chosen_on": ["dev"], "not_recorded": []}


def test_the_crossfitted_half_is_left_out_where_no_split_is_its_tuning_set():
    of, names = drawn_manifest(), ("audio", "fused_crossfitted")
    tables = [drawn_predictions(of, "audio", 1), drawn_predictions(of, "fused", 2, rows=of.mask("dev_bal"))]
    values = {"splits": ["train", "test"], "tables": {name: f"data/{name}.parquet" for name in names}}
    options = ScoringSettings.parse(values | {"comparison": {"against": []}, "intervals": {"samples": 100}}, "scoring")
    systems = [align(name, Path(name), table, of) for name, table in zip(names, tables)]
    result = score(of, systems, options)
    assert {*result.scores["test"]} == {"audio"} and any(
        warning.startswith("fused_crossfitted is left out") for warning in result.warnings
    )


def test_what_was_fitted_without_crossfitting_is_not_compared():
    result, _ = scored(["dev_bal", "test"], RECORDS)
    assert "fused_minus_best" not in result.scores["dev_bal"] and "fused_minus_best" in result.scores["test"]
    assert "fused_resubstitution" in result.scores["dev_bal"]


def test_what_is_not_recorded_is_named_and_not_compared():
    result, page = scored(["test"], RECORDS | {"fused": Provenance(("dev_bal",), not_recorded=("fused",))})
    assert "fused_minus_best" not in result.scores["test"]
    assert any("what it was fitted and chosen on is not recorded (fused" in warning for warning in result.warnings)
    assert "| fused | dev_bal, not recorded of fused | not recorded of fused |" in page


@pytest.mark.parametrize("subset", ["test", "hard"])
def test_nothing_is_tuned_on_a_test_split_unless_it_is_allowed(subset):
    of = corpus()
    subsets = [["hard"] if split in ("dev", "test") else [] for split in of.frame["split"]]
    of = replace(of, frame=of.frame.assign(subsets=pd.Series(subsets)))
    values = {"experts": ["audio", "text"], "tuning": subset}
    experts = [rebalance(expert(of, seed=k), of, settings()) for k in (1, 2)]
    with pytest.raises(InputError, match=f"fusion.tuning is '{subset}', which shares utterances with \\['test'\\]"):
        fuse(experts, of, FusionSettings.parse(values, "fusion"))
    allowed = fuse(experts, of, FusionSettings.parse(values | {"allow_test_tuning": True}, "fusion"))
    assert allowed.fused.fitted_on == (subset,)
    (sentence,) = cautions_of_tuning({"fusion": values | {"allow_test_tuning": True}})
    assert sentence.startswith(f"fusion.allow_test_tuning is true, and fusion.tuning is '{subset}'")
    heat = {"on": subset}
    if subset == "hard":
        with pytest.raises(InputError, match=r"temperature.on is 'hard', which shares utterances with \['test'\]"):
            rebalance(expert(of), of, settings(calibration="temperature", temperature=heat))
    heated = settings(calibration="temperature", temperature=heat | {"allow_test_tuning": True})
    assert rebalance(expert(of), of, heated).fitted_on == (subset,)


def test_the_better_of_several_is_not_chosen_on_a_test_split_unless_it_is_allowed():
    with pytest.raises(InputError, match="scoring.comparison.chosen_on is 'test', which shares utterances with"):
        scored(["test"], RECORDS, chosen_on="test")
    result, _ = scored(["test"], RECORDS, chosen_on="test", allow_test_tuning=True)
    assert result.scores["test"]["fused_minus_best"]["chosen_on"] == ["test"]


def test_the_record_has_the_same_bytes_whatever_the_order():
    one, two = Provenance(("b", "a", "b"), ("d", "c")), Provenance(("a", "b"), ("c", "d", "d"))
    assert one == two and json.dumps(one.entries()) == json.dumps(two.entries())
    assert Provenance.of(one.entries(), "x") == one
    assert System("made", None, None).provenance == Provenance()
    assert Manifest(pd.DataFrame(), "made", LABELS).own_names("dev") == ("dev",)

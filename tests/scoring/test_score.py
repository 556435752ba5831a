"""Which utterances count, under which name, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.metrics.attributes import concordance
from pipeline_lib.metrics.calibration import expected_calibration_error
from pipeline_lib.metrics.categories import macro_f1, unweighted_accuracy
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.score import score
from pipeline_lib.scoring.systems import align, scored_posterior
from tests.scoring.corpora import LABELS, drawn_manifest, drawn_predictions

FAST = {"samples": 100}


def settings(names, splits=("dev_filt", "dev_bal", "test"), **rest):
    comparison = {"against": [], **rest.pop("comparison", {})}
    values = {"splits": list(splits), "tables": {name: f"{name}.parquet" for name in names}, "bootstrap": FAST}
    return ScoringSettings.parse({**values, "comparison": comparison, **rest}, "scoring")


def systems(manifest, *predictions):
    return [align(each.expert, Path(f"{each.expert}.parquet"), each, manifest) for each in predictions]


def test_pseudo_labels_are_never_counted():
    manifest = drawn_manifest()
    audio = drawn_predictions(manifest, "audio", 2)
    scored = score(manifest, systems(manifest, audio), settings(["audio"])).scores["test"]["audio"]
    rows = manifest.mask("test") & (manifest.frame["emotion"] != "X").to_numpy()
    truth, prediction = manifest.truth()[rows], audio.posterior[rows].argmax(axis=1)
    assert scored["n"] == rows.sum() == 40
    assert scored["n_attributes"] == 48  # an attribute's value counts whatever the emotion is
    assert scored["n_speakers"] == 4
    assert scored["macro_f1"] == pytest.approx(macro_f1(truth, prediction, 3), abs=1e-15)
    assert scored["ece"] == expected_calibration_error(audio.posterior[rows], truth, 10)
    assert scored["macro_f1_lo"] <= scored["macro_f1"] <= scored["macro_f1_hi"]
    everything = manifest.mask("test")
    expected = concordance(manifest.attributes(["valence"])[everything, 0], audio.attributes[everything, 1])
    assert scored["ccc_valence"] == pytest.approx(expected, abs=1e-13)


def test_a_posterior_over_more_labels_is_scored_over_the_manifests():
    manifest = drawn_manifest()
    wide = drawn_predictions(manifest, "raw", 3, labels=("O", "sadness", "anger", "X", "neutral"))
    narrow = scored_posterior(wide.posterior, wide.labels, LABELS, Path("raw.parquet"))
    np.testing.assert_allclose(narrow.sum(axis=1), 1)
    np.testing.assert_allclose(narrow[:, 0] / narrow[:, 1], wide.posterior[:, 2] / wide.posterior[:, 4])
    scored = score(manifest, systems(manifest, wide), settings(["raw"])).scores["test"]["raw"]
    rows = manifest.mask("test") & (manifest.truth() >= 0)
    assert scored["ua"] == pytest.approx(
        unweighted_accuracy(manifest.truth()[rows], wide.posterior[rows][:, [2, 4, 1]].argmax(axis=1), 3)
    )


def test_a_row_that_is_all_pseudo_label_is_spread_evenly():
    scored = scored_posterior(np.array([[0.0, 0.0, 1.0]]), ("a", "b", "X"), ("b", "a"), Path("p"))
    assert scored.tolist() == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("labels", "message"),
    [(("anger", "neutral"), r"lacks \['sadness'\]"), ((*LABELS, "calm"), r"has \['calm'\], the manifest's labels")],
)
def test_labels_of_another_corpus_are_refused(labels, message):
    manifest = drawn_manifest()
    with pytest.raises(InputError, match=message):
        systems(manifest, drawn_predictions(manifest, "audio", 2, labels=labels))


def test_predictions_of_another_corpus_are_refused():
    manifest = drawn_manifest()
    other = drawn_predictions(manifest, "audio", 2)
    other.utterance_ids[:] = [f"other_{each}" for each in other.utterance_ids]
    with pytest.raises(InputError, match=r"audio.parquet: none of its 120 utterances is in the manifest"):
        systems(manifest, other)


def test_what_was_fitted_on_a_part_of_the_split_is_called_resubstitution_there():
    manifest = drawn_manifest()
    fused = drawn_predictions(manifest, "fused", 4, fitted_on=("dev_bal",))
    scored = score(manifest, systems(manifest, fused), settings(["fused"])).scores
    assert list(scored["dev_bal"]) == ["fused_resubstitution"]
    assert list(scored["dev_filt"]) == ["fused_resubstitution"]
    assert list(scored["test"]) == ["fused"]


def test_a_crossfitted_system_is_scored_where_it_is_whole_and_left_out_elsewhere():
    manifest = drawn_manifest()
    crossfitted = drawn_predictions(manifest, "crossfitted", 5, rows=manifest.mask("dev_bal"))
    scored = score(manifest, systems(manifest, crossfitted), settings(["crossfitted"]))
    assert "crossfitted" in scored.scores["dev_bal"]
    assert scored.scores["dev_filt"] == scored.scores["test"] == {}
    assert (
        "dev_filt: crossfitted predicts 15 of 30 scored utterances, left out there (scoring.least_coverage is 0.95)"
        in (scored.warnings)
    )
    assert not any(warning.startswith("test: crossfitted") for warning in scored.warnings)


def test_a_few_missing_utterances_are_said_and_the_rest_is_scored():
    manifest = drawn_manifest()
    rows = np.ones(len(manifest), dtype=bool)
    rows[np.flatnonzero(manifest.mask("test") & (manifest.truth() >= 0))[0]] = False
    text = drawn_predictions(manifest, "text", 6, rows=rows, attributes=False)
    scored = score(manifest, systems(manifest, text), settings(["text"]))
    assert scored.scores["test"]["text"]["n"] == 39
    assert "test: text predicts 39 of 40 scored utterances, scored on these" in scored.warnings


def test_a_system_that_is_scored_nowhere_is_refused():
    manifest = drawn_manifest()
    lost = drawn_predictions(manifest, "lost", 6, rows=manifest.mask("train"))
    with pytest.raises(InputError, match=r"scoring.tables.lost is scored on none of \['test'\]"):
        score(manifest, systems(manifest, lost), settings(["lost"], splits=["test"]))


def test_a_split_that_does_not_exist_is_refused_with_those_that_do():
    manifest = drawn_manifest()
    values = settings(["audio"], splits=["test", "test2"])
    with pytest.raises(InputError, match=r"no split or subset 'test2', it has \['dev', 'dev_bal', 'dev_filt', 'test'"):
        score(manifest, systems(manifest, drawn_predictions(manifest, "audio", 2)), values)


def test_the_mean_concordance_needs_every_attribute():
    manifest = drawn_manifest()
    audio = drawn_predictions(manifest, "audio", 2)
    one = type(audio)(audio.utterance_ids, "one", attribute_names=("valence",), attributes=audio.attributes[:, 1:2])
    scored = score(manifest, systems(manifest, one), settings(["one"])).scores["test"]["one"]
    assert "ccc_valence_lo" in scored
    assert not {"ccc_mean", "ccc_arousal", "macro_f1"} & set(scored)


def test_shared_speakers_recordings_and_absent_labels_are_said():
    manifest = drawn_manifest()
    frame = manifest.frame
    frame.loc[frame["split"] == "test", "speaker"] = "train0"
    frame.loc[[0, len(frame) - 1], "audio_sha256"] = "same"  # the first is in dev, the last in train
    frame.loc[(frame["split"] == "test") & (frame["emotion"] == "anger"), "emotion"] = "neutral"
    warnings = score(
        manifest, systems(manifest, drawn_predictions(manifest, "a", 1)), settings(["a"], ["dev", "test"])
    ).warnings
    assert "test: 1 of 1 speakers also occur in train, train0 first; it flatters" in warnings
    assert "dev: 1 of 1 recordings also occur in train, same first; it flatters" in warnings
    assert "test: no utterance of anger; these labels count 0 in macro_f1 and ua" in warnings
    assert "test: one speaker; utterances are resampled instead, the intervals hold for this speaker only" in warnings
    assert "dev: 3 speakers; intervals from fewer than 10 are too narrow" in warnings


def compared(splits, fitted_on=("dev_bal",), **rest):
    manifest = drawn_manifest()
    tables = [
        drawn_predictions(manifest, "audio", 1, skill=1.0),
        drawn_predictions(manifest, "text", 2, skill=0.2),
        drawn_predictions(manifest, "fused", 3, skill=3.0, fitted_on=fitted_on),
    ]
    values = settings(
        ["audio", "text", "fused"], splits, plotted_split=splits[-1], comparison={"against": ["text", "audio"], **rest}
    )
    return score(manifest, systems(manifest, *tables), values)


def test_the_better_expert_is_chosen_on_development_and_compared_on_the_other_splits():
    scores = compared(["dev_filt", "dev_bal", "test"]).scores
    assert scores["dev_filt"]["audio"]["macro_f1"] > scores["dev_filt"]["text"]["macro_f1"]
    difference = scores["test"]["fused_minus_best"]
    assert difference["best"] == "audio"
    assert difference["macro_f1"] == pytest.approx(
        scores["test"]["fused"]["macro_f1"] - scores["test"]["audio"]["macro_f1"]
    )
    assert difference["macro_f1_lo"] <= difference["macro_f1"] <= difference["macro_f1_hi"]
    assert difference["p"] >= 2 / 2**4  # four speakers
    assert 0 < difference["p_mcnemar"] <= 1
    assert "fused_minus_best" not in scores["dev_filt"] and "fused_minus_best" not in scores["dev_bal"]


def test_a_split_that_only_chose_the_better_expert_is_compared_on_with_a_mark():
    scores = compared(["dev_filt", "dev_bal", "test"], fitted_on=()).scores
    differences = {split: scores[split]["fused_minus_best"] for split in ("dev_filt", "dev_bal", "test")}
    marks = {split: values.get("chosen_on") for split, values in differences.items()}
    assert marks == {"dev_filt": ["dev_filt"], "dev_bal": ["dev_filt"], "test": None}


def test_concordances_are_compared_without_mcnemar():
    difference = compared(["test"], metric="ccc_mean").scores["test"]["fused_minus_best"]
    assert set(difference) == {"best", "ccc_mean", "ccc_mean_lo", "ccc_mean_hi", "p"}


def test_a_comparison_on_what_a_side_was_fitted_on_is_refused_and_a_warning_says_so():
    scored = compared(["dev_filt", "dev_bal"])
    why = "fused was fitted there (dev_bal) and not cross-fitted"
    for split in ("dev_filt", "dev_bal"):
        assert f"{split}: fused is not compared with audio: {why}" in scored.warnings
        assert "fused_minus_best" not in scored.scores[split]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plotted_split": "test2"}, "plotted_split is 'test2', expected one of splits"),
        ({"comparison": {"against": ["video"]}}, "comparison names the system 'fused', expected one of tables"),
        ({"tables": {"a/b": "x.parquet"}}, "tables names the system 'a/b'"),
        ({"tables": {"a_selection": "x.parquet"}}, "tables names 'a_selection'; _resubstitution and _selection mark"),
        ({"tables": {}}, "scoring.tables"),
        ({"bootstrap": {"confidence": 1.5}}, "scoring.bootstrap.confidence is 1.5"),
        ({"comparison": {"metric": "f1"}}, "scoring.comparison.metric is 'f1', expected 'macro_f1'"),
    ],
)
def test_wrong_settings_are_refused_by_name(change, message):
    values = {"splits": ["test"], "tables": {"audio": "audio.parquet"}, "comparison": {"against": []}}
    with pytest.raises(ParameterError, match=message):
        ScoringSettings.parse({**values, **change}, "scoring")


def test_two_names_of_the_same_predictions_are_not_compared_and_a_warning_says_so():
    manifest = drawn_manifest()
    audio = drawn_predictions(manifest, "audio", 2)
    tables = {"audio": audio, "fused": replace(audio, expert="fused")}
    options = settings(tables, comparison={"system": "fused", "against": ["audio"]})
    scored = score(manifest, systems(manifest, *tables.values()), options)
    assert not [name for split in ("dev_filt", "dev_bal", "test") for name in scored.scores[split] if "minus" in name]
    assert "fused and audio predict the same of every utterance: they are not compared" in " ".join(scored.warnings)


def test_one_opponent_needs_no_split_to_be_chosen_on():
    manifest = drawn_manifest()
    tables = {name: drawn_predictions(manifest, name, i) for i, name in enumerate(("audio", "fused"))}
    options = settings(tables, ["test"], comparison={"system": "fused", "against": ["audio"], "chosen_on": "absent"})
    scored = score(manifest, systems(manifest, *tables.values()), options).scores
    assert scored["test"]["fused_minus_best"]["best"] == "audio"

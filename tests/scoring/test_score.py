"""Which utterances count, under which name, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score

from pipeline_lib.errors import InputError
from pipeline_lib.metrics.attributes import concordance
from pipeline_lib.metrics.calibration import expected_calibration_error
from pipeline_lib.metrics.categories import macro_f1, unweighted_accuracy
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.report import report
from pipeline_lib.scoring.score import score
from pipeline_lib.scoring.systems import align, scored_posterior
from tests.scoring.corpora import ENOUGH, LABELS, drawn_manifest, drawn_predictions


def settings(names, splits=("dev_filt", "dev_bal", "test"), **rest):
    comparison = {"against": [], **rest.pop("comparison", {})}
    values = {"splits": list(splits), "tables": {name: f"{name}.parquet" for name in names}}
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
    assert scored["ece"] == pytest.approx(expected_calibration_error(audio.posterior[rows], truth, 10), abs=1e-15)
    assert "macro_f1_lo" not in scored  # of four speakers
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
    assert "ccc_valence" in scored
    assert not {"ccc_mean", "ccc_arousal", "macro_f1"} & set(scored)


def test_shared_speakers_and_recordings_and_few_speakers_are_named():
    manifest = drawn_manifest()
    frame = manifest.frame
    frame.loc[frame["split"] == "test", "speaker"] = "train0"
    frame.loc[[0, len(frame) - 1], "audio_sha256"] = "same"  # the first is in dev, the last in train
    warnings = score(
        manifest, systems(manifest, drawn_predictions(manifest, "a", 1)), settings(["a"], ["dev", "test"])
    ).warnings
    assert "test: 1 of 1 speakers also occur in train, train0 first; it flatters" in warnings
    assert "dev: 1 of 1 recordings also occur in train, same first; it flatters" in warnings
    folds = "an interval needs 5: test every speaker out of fold (corpus.split.method: folds, docs/own_corpus.md)"
    assert f"test: one speaker, {folds}" in warnings and f"dev: 3 speakers, {folds}" in warnings


def compared(splits, fitted_on=("dev_bal",), speakers=ENOUGH, **rest):
    manifest = drawn_manifest(speakers=speakers)
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
    assert difference["p"] >= difference["p_least"] == 2 / 2**6 and difference["n_speakers"] == 6
    assert 0 < difference["detectable"] < 1
    assert "fused_minus_best" not in scores["dev_filt"] and "fused_minus_best" not in scores["dev_bal"]


def test_a_split_that_only_chose_the_better_expert_is_compared_on_with_a_mark():
    scores = compared(["dev_filt", "dev_bal", "test"], fitted_on=()).scores
    differences = {split: scores[split]["fused_minus_best"] for split in ("dev_filt", "dev_bal", "test")}
    marks = {split: values.get("chosen_on") for split, values in differences.items()}
    assert marks == {"dev_filt": ["dev_filt"], "dev_bal": ["dev_filt"], "test": None}


def test_concordances_are_compared_alike():
    difference = compared(["test"], metric="ccc_mean").scores["test"]["fused_minus_best"]
    bounds = {"ccc_mean", "ccc_mean_lo", "ccc_mean_hi"}
    assert set(difference) == {"best", "n_speakers", *bounds, "p", "p_least", "detectable"}


def test_two_speakers_have_a_difference_without_an_interval_and_a_p_that_says_it_can_show_nothing():
    # printed once: -0.107 [-0.122, -0.098], p = 0.5000
    scored = compared(["test"], speakers={**ENOUGH, "test": 2})
    difference = scored.scores["test"]["fused_minus_best"]
    assert set(difference) == {"best", "n_speakers", "macro_f1", "p", "p_least"} and difference["p_least"] == 0.5
    page = report(scored, settings(["audio", "text", "fused"], ["test"], comparison={"against": ["text", "audio"]}))
    (line,) = [line for line in page.splitlines() if line.startswith("fused less")]
    assert line.endswith(
        f"{difference['macro_f1']:+.3f} [—], p = {difference['p']:.4f} (speakers swapped; the smallest that these 2"
        " speakers allow is 0.5000): no difference, however large, can be significant here, test every speaker out of"
        " fold (corpus.split.method: folds, docs/own_corpus.md)."
    )


def test_without_speakers_nothing_is_tested_and_the_reason_is_given():
    manifest = drawn_manifest()
    manifest.frame["speaker"] = None
    tables = {name: drawn_predictions(manifest, name, i) for i, name in enumerate(("audio", "fused"))}
    options = settings(tables, ["test"], comparison={"system": "fused", "against": ["audio"]})
    scored = score(manifest, systems(manifest, *tables.values()), options)
    assert not {"p", "macro_f1_lo"} & {*scored.scores["test"]["fused_minus_best"]}
    assert "ua_lo" not in scored.scores["test"]["audio"] and scored.scores["test"]["audio"]["n_speakers"] == 0
    why = "utterances of one speaker are alike, and an interval by utterance is far too narrow"
    expected = f"test: no speaker is known, so no interval and no test: {why}; name the speakers in the corpus"
    assert expected in scored.warnings
    assert "not tested: the test swaps whole speakers, and two are not known." in report(scored, options)


def test_some_utterances_without_a_speaker_are_one_further_speaker():
    manifest = drawn_manifest(speakers=ENOUGH)
    test = np.flatnonzero(manifest.mask("test"))
    manifest.frame.loc[test[:5], "speaker"] = None
    scored = score(manifest, systems(manifest, drawn_predictions(manifest, "a", 1)), settings(["a"], ["test"]))
    assert scored.scores["test"]["a"]["n_speakers"] == 6 and "ua_lo" in scored.scores["test"]["a"]
    assert "test: 5 of 72 utterances have no speaker; they count as one further speaker" in scored.warnings


def test_a_split_that_lacks_a_label_has_both_means_in_the_cell_and_chance_from_what_is_there():
    manifest = drawn_manifest(speakers=ENOUGH)
    test, anger = manifest.mask("test"), (manifest.frame["emotion"] == "anger").to_numpy()
    manifest.frame.loc[test & anger, "emotion"] = "neutral"
    table, options = drawn_predictions(manifest, "a", 1), settings(["a"], ["dev_filt", "test"])
    scored = score(manifest, systems(manifest, table), options)
    values, rows = scored.scores["test"]["a"], test & (manifest.truth() >= 0)
    truth, prediction = manifest.truth()[rows], table.posterior[rows].argmax(axis=1)
    assert values["labels_present"] == [2, 3]
    assert values["macro_f1_present"] == pytest.approx(f1_score(truth, prediction, labels=[1, 2], average="macro"))
    assert values["macro_f1"] == pytest.approx(macro_f1(truth, prediction, 3))
    assert scored.scores["chance"]["ua"] == pytest.approx(2 / 9)
    page = report(scored, options).split("## test")[1]
    bounds, over = (f"[{values[f'{key}_lo']:.3f}, {values[f'{key}_hi']:.3f}]" for key in ("ua", "ua_present"))
    cell = f"| {values['ua']:.3f} {bounds} (2 of 3 labels occur; over these {values['ua_present']:.3f} {over}) |"
    assert cell in page and "Chance is UA 0.222 on test." in report(scored, options)
    assert "labels_present" not in scored.scores["dev_filt"]["a"]
    assert not [warning for warning in scored.warnings if "anger" in warning]


def test_f1_by_label_is_scikit_learns_with_an_interval_where_five_speakers_have_the_label():
    manifest = drawn_manifest(speakers=ENOUGH)
    speakers, test = manifest.frame["speaker"].to_numpy(), manifest.mask("test")
    few = test & (manifest.frame["emotion"] == "anger").to_numpy() & ~np.isin(speakers, ["test0", "test1"])
    manifest.frame.loc[few, "emotion"] = "neutral"
    table, options = drawn_predictions(manifest, "a", 1), settings(["a"], ["test"])
    scored = score(manifest, systems(manifest, table), options)
    rows = test & (manifest.truth() >= 0)
    labels = scored.scores["test"]["a"]["labels"]
    expected = f1_score(manifest.truth()[rows], table.posterior[rows].argmax(axis=1), average=None)
    assert [labels[label]["f1"] for label in LABELS] == pytest.approx(expected.tolist())
    assert ["f1_lo" in labels[label] for label in LABELS] == [False, True, True]
    assert f"| a | {labels['anger']['f1']:.3f} [—] | {labels['neutral']['f1']:.3f} [" in report(scored, options)


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
        ({"intervals": {"confidence": 1.5}}, "scoring.intervals.confidence is 1.5"),
        ({"intervals": {"method": "bca"}}, "scoring.intervals.method is 'bca', expected 'jackknife_t' or 'percentile'"),
        ({"bootstrap": {"samples": 500}}, "scoring.bootstrap is now intervals: rename it"),
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

"""The stage: what is fitted where, missing experts, the saved model and its bytes."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import f1_score

from pipeline_lib.errors import InputError
from pipeline_lib.fusion import model
from pipeline_lib.fusion.describe import describe
from pipeline_lib.fusion.folds import folds
from pipeline_lib.fusion.fuse import FUSERS, fuse
from pipeline_lib.fusion.interpolation import Interpolation
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.storage import checksummed_json
from pipeline_lib.tables import manifest, predictions
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.provenance import Provenance
from stages import fusion
from tests.fusion.experts import LABELS, METHODS, NO_ATTRIBUTES, NO_POSTERIOR, corpus, expert, pair, settings


def test_the_settings_choose_among_exactly_these_fusers():
    allowed = FusionSettings.model_fields["method"].annotation.__args__
    assert set(FUSERS) == set(allowed) == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_only_the_tuning_utterances_are_fitted_on(method):
    of = corpus()
    result = fuse(pair(of), of, settings(method=method)).fused
    hidden = of.frame.assign(
        emotion=of.frame["emotion"].where(of.frame["split"] == "dev", "anger"),
        valence=of.frame["valence"].where(of.frame["split"] == "dev", 1.0),
    )
    again = fuse(pair(of), Manifest(hidden, of.corpus, of.labels), settings(method=method)).fused
    np.testing.assert_array_equal(result.posterior, again.posterior)
    np.testing.assert_array_equal(result.attributes, again.attributes)
    assert result.fitted_on == ("dev_bal",) and result.expert == "fused"
    assert result.utterance_ids.tolist() == of.ids.tolist()


@pytest.mark.parametrize("method", METHODS)
def test_the_crossfitted_posterior_of_an_utterance_does_not_know_its_speakers_labels(method):
    of = corpus()
    speaker = of.frame["speaker"].to_numpy()[of.mask("dev_bal")]
    fold = folds(of.truth()[of.mask("dev_bal")], speaker.tolist(), 5, 1)
    result = fuse(pair(of, **NO_ATTRIBUTES), of, settings(method=method)).crossfitted
    experts = pair(of, **NO_ATTRIBUTES)
    tuning = np.flatnonzero(of.mask("dev_bal"))
    fitted = np.delete(tuning, np.flatnonzero(fold == 0))
    posteriors = np.stack([expert.posterior for expert in experts])
    options = getattr(settings(), method).model_dump() if method != "vote" else {}
    alone = FUSERS[method](**options).fit(posteriors[:, fitted], of.truth()[fitted])
    expected = alone.predict_proba(posteriors[:, tuning[fold == 0]])
    np.testing.assert_allclose(result.posterior[fold == 0], expected, atol=1e-12)
    assert result.utterance_ids.tolist() == of.ids[tuning].tolist() and result.fitted_on == ()


def test_with_shuffled_truth_resubstitution_is_above_chance_and_crossfitting_is_not():
    of = corpus(n=360)
    shuffled = of.frame.assign(emotion=np.random.default_rng(3).permutation(of.frame["emotion"]))
    of_noise = Manifest(shuffled, of.corpus, of.labels)
    result = fuse(pair(of, **NO_ATTRIBUTES), of_noise, settings(method="logreg", logreg={"penalty": 1e-3}))
    tuning, truth = of_noise.mask("dev_bal"), of_noise.truth()
    crossfitted = (result.crossfitted.posterior.argmax(axis=1) == truth[tuning]).mean()
    fitted = (result.fused.posterior[tuning].argmax(axis=1) == truth[tuning]).mean()
    assert fitted > 0.4 and abs(crossfitted - 1 / 3) < 0.11 and fitted > crossfitted


@pytest.mark.parametrize("method", METHODS)
def test_an_utterance_that_lacks_an_expert_is_fused_from_the_other(method):
    of = corpus()
    few = np.arange(120) % 5 != 0
    experts = [expert(of, "audio", 1), expert(of, "text", 2, rows=few)]
    result = fuse(experts, of, settings(method=method)).fused
    assert result.utterance_ids.tolist() == of.ids.tolist()
    np.testing.assert_allclose(result.posterior.sum(axis=1), 1)
    np.testing.assert_allclose(result.attributes[~few], experts[0].attributes[~few])
    if method in ("interpolation", "selection"):
        np.testing.assert_allclose(result.posterior[~few], experts[0].posterior[~few])


def test_category_and_attribute_experts_may_be_different_ones():
    of = corpus()
    experts = [
        expert(of, "audio", 1, **NO_ATTRIBUTES),
        expert(of, "text", 2, **NO_ATTRIBUTES),
        expert(of, "audio_attributes", 3, **NO_POSTERIOR),
        expert(of, "text_attributes", 4, **NO_POSTERIOR),
    ]
    names = [expert.expert for expert in experts]
    result = fuse(experts, of, settings(experts=names))
    first = fuse(experts[:2], of, settings()).fused
    np.testing.assert_array_equal(result.fused.posterior, first.posterior)
    assert result.attribute_fuser.weights_.shape == (2, 2)


def test_attributes_alone_and_a_posterior_alone_can_be_fused():
    of = corpus()
    only = [expert(of, name, seed, **NO_POSTERIOR) for name, seed in (("audio", 1), ("text", 2))]
    result = fuse(only, of, settings()).fused
    assert result.posterior is None and result.attributes.shape == (120, 2)
    one = fuse([expert(of, "audio", 1, **NO_ATTRIBUTES)], of, settings(experts=["audio"])).fused
    assert one.attributes is None
    np.testing.assert_allclose(one.posterior, expert(of, "audio", 1).posterior)


def test_what_an_experts_prior_was_fitted_on_is_passed_on():
    of = corpus()
    result = fuse(pair(of, provenance=Provenance(("dev", "train"), ("dev_bal",))), of, settings())
    assert result.fused.fitted_on == ("dev", "dev_bal", "train") and result.crossfitted.fitted_on == ("dev", "train")
    assert result.fused.chosen_on == result.crossfitted.chosen_on == ("dev_bal",)
    assert result.fused.provenance.not_recorded == ("text",)  # made without a record


def test_the_fused_prior_is_mixed_counted_or_uniform():
    of = corpus()
    experts = pair(of, training_prior=np.array([0.5, 0.25, 0.25]))
    mixed = fuse(experts, of, settings())
    weight = mixed.fuser.weights_[0]
    expected = weight * np.array([0.5, 0.25, 0.25]) + (1 - weight) / 3
    np.testing.assert_allclose(mixed.fused.training_prior, expected)
    counts = np.bincount(of.truth()[of.mask("dev_bal")])
    np.testing.assert_allclose(fuse(experts, of, settings(method="logreg")).fused.training_prior, counts / 60)
    np.testing.assert_allclose(fuse(experts, of, settings(method="plda")).fused.training_prior, np.full(3, 1 / 3))
    assert fuse(pair(of, training_prior=None), of, settings()).fused.training_prior is None


def test_the_description_says_weights_and_both_scores():
    of = corpus()
    result = fuse(pair(of), of, settings())
    lines = describe(result, settings())
    tuning = of.mask("dev_bal")
    fitted = f1_score(of.truth()[tuning], result.fused.posterior[tuning].argmax(axis=1), average="macro")
    crossfitted = f1_score(of.truth()[tuning], result.crossfitted.posterior.argmax(axis=1), average="macro")
    audio, text = result.fuser.weights_
    assert lines[0] == (
        f"categories: interpolation of audio {audio:.4g}, text {text:.4g};"
        f" macro-F1 on dev_bal {fitted:.4f} resubstituted, {crossfitted:.4f} cross-fitted"
    )
    assert [line.split(":")[0] for line in lines] == ["categories", "arousal", "valence"]
    assert describe(fuse(pair(of), of, settings(method="plda")), settings(method="plda"))[0].startswith(
        "categories: plda of audio, text; macro-F1 on dev_bal"
    )


@pytest.mark.parametrize("method", METHODS)
def test_the_saved_model_fuses_as_the_fitted_one(tmp_path, method):
    of = corpus()
    few = np.arange(120) % 5 != 0
    experts = [expert(of, "audio", 1), expert(of, "text", 2, rows=few)]
    result = fuse(experts, of, settings(method=method))
    model.write(tmp_path / "fusion", result, settings(method=method))
    loaded = model.read(tmp_path / "fusion")
    posteriors, attributes = predictions.stack(experts, of.ids)
    np.testing.assert_array_equal(loaded.fuser.predict_proba(posteriors), result.fused.posterior)
    np.testing.assert_array_equal(loaded.attribute_fuser.predict(attributes), result.fused.attributes)
    assert (loaded.labels, loaded.attribute_names) == (LABELS, ("arousal", "valence"))
    assert loaded.posterior_experts == loaded.attribute_experts == ("audio", "text")


def test_the_curve_holds_every_tried_weight_and_the_best_of_them_was_chosen(tmp_path):
    of = corpus()
    result = fuse(pair(of), of, settings())
    model.write(tmp_path / "fusion", result, settings())
    rows = list(csv.DictReader((tmp_path / "fusion/curve.csv").open()))
    assert [row["target"] for row in rows] == ["categories"] * 21 + ["arousal"] * 21 + ["valence"] * 21
    record = json.loads((tmp_path / "fusion/fusion.json").read_text())
    best = max(float(row["score"]) for row in rows[:21])
    assert record["categories"]["macro_f1_on_dev_bal"] == best
    chosen = [row for row in rows[:21] if float(row["weight_text"]) == record["categories"]["weights"]["text"]]
    assert float(chosen[0]["score"]) == best and float(chosen[0]["weight_audio"]) == result.fuser.weights_[0]


def test_a_damaged_model_is_refused_by_file(tmp_path):
    with pytest.raises(InputError, match="fusion.json does not exist"):
        model.read(tmp_path)
    (tmp_path / "fusion.json").write_text("{")
    with pytest.raises(InputError, match="fusion.json is not JSON"):
        model.read(tmp_path)
    (tmp_path / "fusion.json").write_text(checksummed_json.dumps({"format_version": 7}))
    with pytest.raises(InputError, match="has format version 7, this code reads 1"):
        model.read(tmp_path)


@pytest.mark.parametrize("method", METHODS)
def test_the_stage_writes_the_same_bytes_twice_and_nothing_of_the_method_before(tmp_path, monkeypatch, capsys, method):
    of = corpus()
    monkeypatch.chdir(tmp_path)
    manifest.write(tmp_path / "data/manifest.parquet", of)
    for predicted in pair(of):
        predictions.write(tmp_path / f"data/rebalanced/{predicted.expert}.parquet", predicted)
    (tmp_path / "params.yaml").write_text(f"fusion:\n  method: {method}\n  experts: [audio, text]\n")
    (tmp_path / "models/fusion").mkdir(parents=True)
    (tmp_path / "models/fusion/stale.json").touch()
    fusion.main()
    files = sorted(path for path in [*tmp_path.glob("data/fused*"), *tmp_path.glob("models/**/*")] if path.is_file())
    names = ["fused.parquet", "fused_crossfitted.parquet", "curve.csv", "fusion.json"]
    assert [path.name for path in files] == names
    before = [path.read_bytes() for path in files]
    fusion.main()
    assert [path.read_bytes() for path in files] == before
    assert f"categories: {method} of audio" in capsys.readouterr().out
    assert predictions.read(tmp_path / "data/fused.parquet").fitted_on == ("dev_bal",)


def test_interpolation_is_what_its_class_gives_on_the_tuning_utterances():
    of = corpus()
    experts = pair(of, **NO_ATTRIBUTES)
    posteriors, tuning = np.stack([expert.posterior for expert in experts]), of.mask("dev_bal")
    alone = Interpolation(0.05).fit(posteriors[:, tuning], of.truth()[tuning])
    np.testing.assert_array_equal(fuse(experts, of, settings()).fused.posterior, alone.predict_proba(posteriors))


def test_balanced_stacking_contains_a_uniform_prior_and_a_huge_grid_is_warned_of(capsys):
    of = corpus()
    given = settings(method="logreg", logreg={"class_weights": "balanced"})
    np.testing.assert_allclose(fuse(pair(of), of, given).fused.training_prior, np.full(3, 1 / 3))
    names = [f"e{i}" for i in range(9)]
    experts = [expert(of, name, i, **NO_ATTRIBUTES) for i, name in enumerate(names)]
    capsys.readouterr()
    fuse(experts, of, settings(experts=names, interpolation={"step": 0.1}))
    assert capsys.readouterr().out == ""  # 43,758 combinations
    result = fuse(experts, of, settings(experts=names))
    assert "warning: 9 experts at fusion.interpolation.step 0.05 are 3,108,105 combinations" in capsys.readouterr().out
    assert result.fuser.weights_.sum() == pytest.approx(1)
    selected = fuse(experts, of, settings(experts=names, method="selection"))
    line = describe(selected, settings(experts=names, method="selection"))[0]
    assert line.count(" 0,") == 0 and line.startswith("categories: selection of e")

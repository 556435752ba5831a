"""Temperature: by hand, where the optimum is known exactly, under another prior, and through the package."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from pipeline_lib.errors import InputError
from pipeline_lib.metrics.calibration import expected_calibration_error
from pipeline_lib.params.base import ParameterError
from pipeline_lib.rebalancing import temperature
from pipeline_lib.rebalancing.prior import rebalance as reweigh
from pipeline_lib.rebalancing.rebalance import rebalance
from pipeline_lib.rebalancing.temperature import fit, temper, weights_of
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions
from pipeline_lib.tables.provenance import Provenance
from tests.rebalancing.made import LABELS, corpus, expert, settings

CENTRES = np.array([-1.5, 0.0, 1.5])
TRAINED = np.array([0.7, 0.2, 0.1])
UNIFORM = np.full(3, 1 / 3)


def posterior_of(x, prior, power=1.0):
    """Return the posterior of three Gaussians with their evidence raised to a power, straight from the densities."""
    weighted = prior * norm(CENTRES, 1.0).pdf(np.asarray(x)[:, None]) ** power
    return weighted / weighted.sum(axis=1, keepdims=True)


def drawn(prior, n, seed=0):
    generator = np.random.default_rng(seed)
    truth = generator.choice(3, n, p=prior)
    return CENTRES[truth] + generator.normal(size=n), truth


def ones(truth):
    return np.ones(len(truth))


def test_the_evidence_is_tempered_and_the_prior_is_not_by_hand():
    # 16/17 : 1/17 under (0.8, 0.2) is evidence of 4 : 1; T = 2 makes it 2 : 1, so 0.8 * 2 : 0.2 = 8/9 : 1/9
    prior = np.array([0.8, 0.2])
    np.testing.assert_allclose(temper(np.array([[16 / 17, 1 / 17]]), prior, 2.0), [[8 / 9, 1 / 9]], rtol=1e-14)
    np.testing.assert_allclose(temper(prior[None], prior, 2.0), prior[None])  # no evidence, nothing to temper
    # under a uniform prior it is p ^ (1/T) / Z: sqrt(0.64) : sqrt(0.36)
    np.testing.assert_allclose(temper(np.array([[0.64, 0.36]]), np.full(2, 0.5), 2.0), [[4 / 7, 3 / 7]])


def test_temperature_one_changes_nothing():
    posterior = np.random.default_rng(0).dirichlet(np.full(5, 0.1), 200)
    posterior[0] = [1, 0, 0, 0, 0]
    prior = np.array([0.5, 0.2, 0.15, 0.1, 0.05])
    np.testing.assert_allclose(temper(posterior, prior, 1.0), posterior, rtol=0, atol=1e-12)


@pytest.mark.parametrize("heat", [0.3, 2.5])
def test_a_prior_changed_before_or_after_is_the_same(heat):
    generator = np.random.default_rng(1)
    posterior, expected = generator.dirichlet(np.ones(3), 50), generator.dirichlet(np.ones(3))
    before = temper(reweigh(posterior, TRAINED, expected), expected, heat)
    np.testing.assert_allclose(reweigh(temper(posterior, TRAINED, heat), TRAINED, expected), before, rtol=1e-12)


def test_tempering_the_prior_too_would_favour_the_rarer_labels_above_one_and_the_commoner_below():
    for heat, favoured in ((2.0, 2), (0.5, 0)):
        both = TRAINED ** (1 / heat) / (TRAINED ** (1 / heat)).sum()  # what p ^ (1/T) makes of no evidence
        left = reweigh(both[None], TRAINED, UNIFORM)[0]
        assert left.argmax() == favoured and left[favoured] > 0.4
        np.testing.assert_allclose(reweigh(temper(TRAINED[None], TRAINED, heat), TRAINED, UNIFORM)[0], UNIFORM)


def test_labels_not_trained_stay_at_zero_and_a_row_of_nothing_becomes_the_prior():
    posterior, prior = np.array([[0.6, 0.4, 0.0], [0.0, 0.0, 1.0]]), np.array([0.75, 0.25, 0.0])
    result = temper(posterior, prior, 3.0)
    assert (result[:, 2] == 0).all()
    np.testing.assert_allclose(result[1], prior)


def test_where_three_of_four_are_right_at_nine_tenths_the_temperature_is_two():
    # all rows (0.9, 0.1): the best constant is 3/4, and 9 ^ (1/T) : 1 = 3 : 1 at T = ln 9 / ln 3 = 2
    result = fit(np.tile([0.9, 0.1], (8, 1)), np.full(2, 0.5), np.array([0, 0, 0, 1] * 2), np.ones(8))
    assert result.temperature == pytest.approx(2.0, rel=1e-6)
    assert result.before == pytest.approx(-(0.75 * np.log(0.9) + 0.25 * np.log(0.1)))
    assert result.after == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert not result.at_bound


@pytest.mark.parametrize("power", [0.25, 0.8, 1.0, 2.0, 6.0])
@pytest.mark.parametrize("prior", [UNIFORM, TRAINED], ids=["uniform", "unequal"])
def test_the_power_that_the_evidence_was_raised_to_is_recovered_exactly_in_expectation(power, prior):
    # every x of a fine grid with every label, weighted by p(x, y): the expected loss, not a sample of it
    grid = np.linspace(-8, 8, 801)
    joint = prior * norm(CENTRES, 1.0).pdf(grid[:, None])
    posterior, truth = np.repeat(posterior_of(grid, prior, power), 3, axis=0), np.tile(np.arange(3), len(grid))
    result = fit(posterior, prior, truth, joint.reshape(-1))
    assert result.temperature == pytest.approx(power, rel=1e-6)
    np.testing.assert_allclose(temper(posterior, prior, power)[::3], posterior_of(grid, prior), atol=1e-12)


def test_the_power_is_recovered_from_samples_and_the_calibration_error_falls():
    x, truth = drawn(TRAINED, 200_000)
    posterior = posterior_of(x, TRAINED, 3.0)
    result = fit(posterior, TRAINED, truth, ones(truth))
    assert result.temperature == pytest.approx(3.0, rel=0.01)
    unseen, answer = drawn(TRAINED, 50_000, seed=1)
    before = posterior_of(unseen, TRAINED, 3.0)
    error = [expected_calibration_error(p, answer, 15) for p in (before, temper(before, TRAINED, 3.0))]
    assert error[0] > 0.05 > 0.01 > error[1]


def test_the_fit_is_the_best_of_a_fine_grid_written_again():
    x, truth = drawn(TRAINED, 300, seed=2)
    posterior, weights = posterior_of(x, TRAINED, 1.7), np.random.default_rng(3).uniform(size=300)
    grid = np.exp(np.linspace(np.log(0.05), np.log(20), 40_001))
    losses = []
    for heat in grid[::40]:
        tempered = TRAINED * (posterior / TRAINED) ** (1 / heat)
        tempered /= tempered.sum(axis=1, keepdims=True)
        losses.append(-(weights * np.log(tempered[np.arange(300), truth])).sum() / weights.sum())
    result = fit(posterior, TRAINED, truth, weights)
    assert result.after <= min(losses) + 1e-12
    assert result.temperature == pytest.approx(grid[::40][np.argmin(losses)], rel=0.01)


@pytest.mark.parametrize("copies", [(1, 1, 1), (1, 4, 9), (20, 2, 1)])
def test_another_class_prior_does_not_move_the_temperature(copies):
    # each label's utterances so many times over: p(x|y) stays as it is to the last row, the prior does not
    x, truth = drawn(TRAINED, 2_000, seed=4)
    posterior = posterior_of(x, TRAINED, 2.0)
    counts = np.bincount(truth)
    expected = fit(posterior, TRAINED, truth, (TRAINED / counts)[truth])
    again = np.repeat(np.arange(len(truth)), np.array(copies)[truth])
    weights = weights_of(truth[again], TRAINED)
    np.testing.assert_allclose(np.bincount(truth[again], weights) / weights.sum(), TRAINED)
    result = fit(posterior[again], TRAINED, truth[again], weights)
    assert result.temperature == pytest.approx(expected.temperature, rel=1e-6)
    assert result.temperature == pytest.approx(2.0, rel=0.1)
    if copies == (1, 4, 9):  # and without the weights it does
        assert abs(fit(posterior[again], TRAINED, truth[again], ones(again)).temperature - expected.temperature) > 0.3


@pytest.mark.parametrize(("wrong", "bound"), [(0, temperature.LOWEST), (8, temperature.HIGHEST)])
def test_a_temperature_at_an_end_of_its_range_is_reported(wrong, bound):
    truth = np.array([1] * wrong + [0] * (8 - wrong))
    result = fit(np.tile([0.6, 0.4], (8, 1)), np.full(2, 0.5), truth, np.ones(8))
    assert result.at_bound and result.temperature == pytest.approx(bound)


def test_without_evidence_the_temperature_is_one_and_a_zero_on_the_truth_is_finite():
    assert fit(np.tile(TRAINED, (6, 1)), TRAINED, np.array([0, 1, 2] * 2), np.ones(6)).temperature == 1.0
    result = fit(np.array([[1.0, 0.0], [1.0, 0.0]]), np.full(2, 0.5), np.array([0, 1]), np.ones(2))
    assert np.isfinite([result.before, result.after]).all()
    with pytest.raises(ValueError, match="no utterance to fit a temperature on"):
        fit(np.empty((0, 2)), np.full(2, 0.5), np.array([], dtype=int), np.array([]))


# through the package

HOT = {"calibration": "temperature"}


def overconfident(of, power, training_prior=TRAINED, seed=7):
    """Return predictions over sadness, anger, neutral, O and X of Gaussians in the manifest's three labels."""
    truth = of.truth()
    x = CENTRES[np.maximum(truth, 0)] + np.random.default_rng(seed).normal(size=len(of))
    three = posterior_of(x, training_prior, power)  # anger, neutral, sadness
    with_pseudo = np.column_stack([three[:, [2, 0, 1]] * 0.9, np.full((len(of), 2), 0.05)])
    prior = np.array([*(0.9 * training_prior[[2, 0, 1]]), 0.05, 0.05])
    predicted = Predictions(of.ids, "audio", ("sadness", "anger", "neutral", "O", "X"), with_pseudo, prior)
    return predicted, posterior_of(x, training_prior), three


def test_the_stage_prints_the_temperature_and_calibrates_before_the_prior_is_replaced(capsys):
    of = corpus(n=20_000)
    predicted, right, _ = overconfident(of, 2.0)
    calibrated = rebalance(predicted, of, settings(**HOT, prior="none"))
    line = capsys.readouterr().out
    truth = of.truth()
    n = (of.mask("dev") & (truth >= 0)).sum()
    assert line.startswith("rebalancing.audio.temperature: ") and f"fitted on {n} utterances of 'dev'" in line
    assert float(line.split(": ")[1].split(",")[0]) == pytest.approx(2.0, rel=0.05)
    np.testing.assert_allclose(calibrated.posterior, right, atol=0.03)
    np.testing.assert_allclose(calibrated.training_prior, TRAINED)
    uniform = rebalance(predicted, of, settings(**HOT))
    np.testing.assert_allclose(uniform.posterior, reweigh(calibrated.posterior, TRAINED, UNIFORM), rtol=1e-10)
    np.testing.assert_allclose(uniform.training_prior, UNIFORM)
    test = of.mask("test") & (truth >= 0)
    sure = [rebalance(predicted, of, settings(prior="none", **options)).posterior[test] for options in ({}, HOT)]
    likelihood = [
        np.log(p[np.arange(test.sum()), truth[test]]) @ (TRAINED / np.bincount(truth[test]))[truth[test]] for p in sure
    ]
    assert likelihood[1] > likelihood[0]


@pytest.mark.parametrize(("on", "fitted_on"), [("dev", ("before", "dev")), ("dev_filt", ("before", "dev_filt"))])
def test_the_set_of_the_temperatures_fit_is_recorded(on, fitted_on):
    of = corpus()
    predicted = replace(expert(of), provenance=Provenance(("before",)))
    assert rebalance(predicted, of, settings(**HOT, temperature={"on": on})).fitted_on == fitted_on


def test_an_expert_whose_prior_is_not_known_is_tempered_as_it_is():
    of = corpus()
    predicted = expert(of, training_prior=None)
    result = rebalance(predicted, of, settings(**HOT, prior="none"))
    plain = rebalance(predicted, of, settings(prior="none")).posterior
    heats = np.log(plain[:, 0] / plain[:, 1]) / np.log(result.posterior[:, 0] / result.posterior[:, 1])
    np.testing.assert_allclose(heats, heats[0])
    assert result.training_prior is None


@pytest.mark.parametrize("method", ["none", "lda_logistic", "plda"])
def test_calibration_follows_every_method_and_no_argmax_moves_under_the_uniform_prior(method):
    of = corpus(n=300)
    plain, hot = (rebalance(expert(of), of, settings(method=method, **options)) for options in ({}, HOT))
    np.testing.assert_array_equal(plain.posterior.argmax(axis=1), hot.posterior.argmax(axis=1))
    assert not np.allclose(plain.posterior, hot.posterior)
    np.testing.assert_allclose(hot.posterior.sum(axis=1), 1)


def test_the_labels_of_the_test_split_are_not_read():
    of = corpus()
    result = rebalance(expert(of), of, settings(**HOT)).posterior
    hidden = of.frame["emotion"].where(of.frame["split"] != "test", "anger")
    other = rebalance(expert(of), Manifest(of.frame.assign(emotion=hidden), of.corpus, of.labels), settings(**HOT))
    np.testing.assert_array_equal(result, other.posterior)


def test_calibration_rights_the_prior_of_em():
    of = corpus(n=20_000, seed=1)
    frame = of.frame[of.frame["emotion"].isin(LABELS)].reset_index(drop=True)  # prior near (0.18, 0.59, 0.24)
    of = Manifest(frame, of.corpus, of.labels)
    true = np.bincount(of.truth()[of.mask("test")]) / of.mask("test").sum()
    predicted, _, _ = overconfident(of, 4.0)
    priors = [rebalance(predicted, of, settings(prior="em", **options)).training_prior for options in ({}, HOT)]
    wrong = [np.abs(estimated - true).max() for estimated in priors]
    assert wrong[1] < 0.02 and wrong[0] > 0.1


def test_an_end_of_the_range_is_warned_of(capsys):
    of = corpus()
    truth = of.truth(("sadness", "anger", "neutral", "O", "X"))
    prior = np.array([0.2, 0.15, 0.5, 0.1, 0.05])
    rebalance(expert(of, posterior=0.9 * prior + 0.1 * np.eye(5)[truth]), of, settings(**HOT))
    assert "warning: rebalancing.audio.temperature: 0.05 is an end of its range" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("on", "emotion", "message"),
    [
        ("dev", "X", "on is 'dev', of which the expert predicts no utterance with a label it was trained on"),
        ("mixed", None, r"on is 'mixed', which shares utterances with \['test'\]; expected development data only"),
        ("dev7", None, "has no split or subset 'dev7'"),
    ],
)
def test_a_set_that_cannot_serve_is_refused(on, emotion, message):
    of = corpus()
    frame = of.frame.copy()
    if emotion is not None:
        frame.loc[frame["split"] == "dev", "emotion"] = emotion
    frame["subsets"] = [["mixed"] if split in ("dev", "test") else [] for split in frame["split"]]
    with pytest.raises(InputError, match=message):
        rebalance(expert(of), Manifest(frame, of.corpus, of.labels), settings(**HOT, temperature={"on": on}))


@pytest.mark.parametrize("on", ["test", "test1", "test_bal"])
def test_a_test_split_is_refused_by_key(on):
    with pytest.raises(
        ParameterError, match=f"rebalancing.audio.temperature: on is '{on}', and .*fitted on development data only"
    ):
        settings(**HOT, temperature={"on": on})

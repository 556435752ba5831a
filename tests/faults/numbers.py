"""Numeric edge cases of everything that is fitted or scored: a finite result of the right form, or a clear error.

Singular covariances, fewer rows than dimensions, a class that is absent, one class alone, constant features, extreme
values, values that are no numbers, over classifiers, normalisation, priors, EM, temperature, fusion, metrics, losses.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pipeline_lib.classifiers.lda import LinearDiscriminantAnalysis
from pipeline_lib.classifiers.logistic import MultinomialLogisticRegression
from pipeline_lib.classifiers.normalisation import Normalisation
from pipeline_lib.classifiers.plda import PLDA
from pipeline_lib.errors import InputError
from pipeline_lib.fusion.fuse import FUSERS
from pipeline_lib.metrics.attributes import concordance
from pipeline_lib.metrics.calibration import expected_calibration_error
from pipeline_lib.metrics.categories import accuracy, macro_f1, unweighted_accuracy, weighted_f1
from pipeline_lib.metrics.words import word_error_rate, word_errors
from pipeline_lib.params.rebalancing import LdaLogisticSettings, PldaSettings
from pipeline_lib.rebalancing.backend import BackEnd
from pipeline_lib.rebalancing.em import estimate
from pipeline_lib.rebalancing.prior import rebalance
from pipeline_lib.rebalancing.temperature import fit, weights_of
from tests.faults.cases import Case, command, refused, share
from tests.faults.feature_rows import BAD, EXTREME, GOOD, Rows, drawn

CLASSIFIERS = {
    "LDA": lambda: LinearDiscriminantAnalysis(),
    "LDA, Ledoit-Wolf": lambda: LinearDiscriminantAnalysis(shrinkage="ledoit_wolf"),
    "PLDA": lambda: PLDA(),
    "PLDA, EM": lambda: PLDA(estimation="em", iterations=20),
    "logistic regression": lambda: MultinomialLogisticRegression(),
    "LDA and logistic regression": lambda: BackEnd(LdaLogisticSettings()),
    "LDA and PLDA": lambda: BackEnd(PldaSettings()),
}
WITHOUT_SPREAD = ("sure and right", "sure and wrong", "uniform", "one row a class", "probabilities of 1e-300")


def fits(make: Callable, rows: Callable[[], Rows], or_refuses: bool = False) -> Callable[[Path], None]:
    """Return the check that a classifier gives finite posteriors of the classes that occur, or refuses clearly."""

    def check(folder: Path) -> None:
        features, truth = rows()
        with np.errstate(all="ignore"):
            try:
                posterior = make().fit(features, truth).predict_proba(features)
            except InputError:
                if or_refuses:
                    return
                raise
        is_posterior(posterior, (len(features), len(np.unique(truth))))

    return check


def is_posterior(posterior: np.ndarray, shape: tuple[int, ...]) -> None:
    """Ask for rows that sum to 1."""
    assert posterior.shape == shape, posterior.shape
    assert np.isfinite(posterior).all() and (posterior >= 0).all(), "not finite, or below 0"
    np.testing.assert_allclose(posterior.sum(axis=-1), 1, atol=1e-9)


def refuses(make: Callable, rows: Callable[[], Rows], pattern: str) -> Callable[[Path], None]:
    """Return the check that a classifier refuses the rows."""

    def check(folder: Path) -> None:
        with refused(pattern, InputError):
            make().fit(*rows())

    return check


def flat(folder: Path) -> None:
    """Refuse classes that do not vary; of classes whose means are equal the posterior is the prior."""
    for make in (LinearDiscriminantAnalysis, PLDA):
        with refused("no class varies within itself"):
            make().fit(np.eye(3)[[0, 0, 1, 1, 2]], np.array([0, 0, 1, 1, 2]))
        with refused("no class varies within itself"):
            make().fit(np.full((6, 3), 7.1), np.arange(6) % 2)
    features = np.array([[1.0], [-1], [1], [-1]])
    posterior = LinearDiscriminantAnalysis().fit(features, np.array([0, 0, 1, 1])).predict_proba(features)
    assert np.allclose(posterior, 0.5, atol=1e-12), posterior


def normalised(folder: Path) -> None:
    """Normalise constants, one row, huge and tiny values."""
    for kind in ("none", "standardise", "length"):
        for features in (np.full((4, 2), 3.0), np.ones((1, 3)), drawn()[0] * 1e150, drawn()[0] * 1e-150):
            found = Normalisation(kind).fit(features).transform(features)
            assert np.isfinite(found).all(), f"{kind} of values up to {np.abs(features).max():g}"
        with refused("not finite"):
            Normalisation(kind).fit(np.array([[np.nan]]))


def priors(folder: Path) -> None:
    """Change priors of sure rows, of rows without evidence, and to labels never trained on."""
    sure = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1e-320, 1 - 1e-16, 0]])
    for expected in (np.ones(3), np.array([1.0, 1, 0]), np.array([1e-300, 1, 1]), np.array([0, 0, 1.0])):
        is_posterior(rebalance(sure, np.array([0.98, 0.01, 0.01]), expected), (4, 3))
    is_posterior(rebalance(sure, np.array([1e-300, 0.5, 0.5]), np.ones(3)), (4, 3))
    with refused(r"labels at \[2\] have no training example", ValueError):
        rebalance(sure, np.array([0.5, 0.5, 0]), np.ones(3))


def em(folder: Path) -> None:
    """Estimate priors of one row, of sure rows, of a label that nothing shows, of a flat posterior."""
    for posterior in (np.array([[0.2, 0.8]]), np.eye(2)[[0] * 50], np.full((9, 2), 0.5), np.array([[1.0, 0], [0, 1]])):
        for trained in (np.array([0.5, 0.5]), np.array([1e-12, 1 - 1e-12])):
            found = estimate(posterior, trained, 200)
            assert np.isfinite(found.prior).all() and abs(found.prior.sum() - 1) < 1e-9, found
    with refused("no utterance", ValueError):
        estimate(np.zeros((0, 2)), np.array([0.5, 0.5]))


def posteriors(kind: str, n: int = 60, labels: int = 3) -> Rows:
    """Return posteriors of two experts and the truth, one thing odd about them."""
    rng = np.random.default_rng(1)
    truth = np.arange(n) % labels
    found = rng.dirichlet(np.ones(labels), (2, n))
    match kind:
        case "sure and right":
            found = np.stack([np.eye(labels)[truth]] * 2)
        case "sure and wrong":
            found = np.stack([np.eye(labels)[(truth + 1) % labels]] * 2)
        case "uniform":
            found = np.full((2, n, labels), 1 / labels)
        case "one expert twice":
            found = np.stack([found[0]] * 2)
        case "an expert absent half the time":
            found[1, ::2] = np.nan
        case "probabilities of 1e-300":
            found = np.stack([np.eye(labels)[truth] * (1 - 2e-300) + 1e-300 * (1 - np.eye(labels)[truth])] * 2)
        case "a class nobody predicts":
            found[..., 2] = 0
            found /= found.sum(axis=-1, keepdims=True)
        case "one row a class":
            found, truth = found[:, :labels], truth[:labels]
    return found, truth


def fuses(method: str, kind: str) -> Callable[[Path], None]:
    """Return the check of one fuser."""

    def check(folder: Path) -> None:
        found, truth = posteriors(kind)
        try:
            fuser = FUSERS[method]().fit(found, truth)
        except InputError as error:
            assert kind in WITHOUT_SPREAD, error
            return
        is_posterior(fuser.predict_proba(found), found.shape[1:])

    return check


def categories(folder: Path) -> None:
    """Score an absent class, one row, one label; refuse none, and indices outside."""
    for truth, prediction, labels in (([0, 0], [0, 1], 3), ([2], [2], 3), ([0], [0], 1), ([0, 1], [1, 0], 2)):
        pair = np.array(truth), np.array(prediction)
        for score in (macro_f1, weighted_f1, unweighted_accuracy, accuracy):
            assert 0 <= score(*pair, labels) <= 1
    for truth, pattern in (
        ([], "at least one"),
        ([-1], "expected 0 to 1"),
        ([2], "expected 0 to 1"),
        ([0.5], "integer"),
    ):
        with refused(pattern, ValueError):
            macro_f1(np.array(truth), np.array(truth), 2)


def concordances(folder: Path) -> None:
    """Score constants, one value, huge, tiny and far-off values; refuse what is no number."""
    x = np.random.default_rng(3).normal(size=50)
    for truth, prediction in ((x, x), (x * 0, x), (x, x * 0 + 1), (x[:1], x[:1]), (x * 1e100, -x * 1e100)):
        assert -1 - 1e-12 <= concordance(truth, prediction) <= 1 + 1e-12
    for factor in (1e-100, 1e-12, 1e12, 1e100):
        assert abs(concordance(x * factor, x * factor) - 1) < 1e-9, f"values of {factor:g}"
    assert abs(concordance(x + 1e6, x + 1e6) - 1) < 1e-9
    for bad in (np.nan, np.inf):
        with refused("of utterance 0 is", ValueError):
            concordance(np.array([bad, 1]), np.array([1.0, 1]))


def calibrations(folder: Path) -> None:
    """Measure sure and wrong, one row, ties; refuse NaN."""
    for posterior, truth in ((np.eye(2)[[0, 1]], [1, 0]), (np.full((1, 4), 0.25), [3]), (np.eye(3), [0, 1, 2])):
        assert 0 <= expected_calibration_error(posterior, np.array(truth), 10) <= 1
    with refused("posterior of utterance 0 is not finite", ValueError):
        expected_calibration_error(np.array([[np.nan, 1]]), np.array([0]), 10)


def words(folder: Path) -> None:
    """Count words of nothing, of marks alone, of a thousand words; refuse no reference at all."""
    assert word_errors("", "") == (0, 0)
    assert word_errors("...", "a b") == (2, 0)
    assert word_error_rate(["a " * 1000], [""]) == 1
    assert word_error_rate(["a"], ["b " * 5]) == 5
    with refused("no word in any", ValueError):
        word_error_rate(["?"], [""])


def losses_of(folder: Path) -> None:
    """Take losses and gradients at extreme logits, of missing labels and of constants."""
    import torch

    from pipeline_lib import losses

    for scale in (0.0, 1.0, 1e4, 1e30):
        logits = (torch.tensor([[1.0, -1.0, 0.5], [-1.0, 1.0, 0.0]]) * scale).requires_grad_()
        for truth in ([0, 1], [2, -1], [-1, -1]):
            for gamma in (0.0, 0.5, 2.0):
                logits.grad = None
                loss = losses.focal(logits, torch.tensor(truth), gamma)
                loss.backward()
                assert torch.isfinite(loss) and torch.isfinite(logits.grad).all(), (scale, truth, gamma)
    nan = float("nan")
    for truth in ([[1.0], [1.0]], [[nan], [nan]], [[nan], [2.0]], [[0.0], [1e18]]):
        prediction = torch.zeros(2, 1, requires_grad=True)
        loss = losses.concordance(prediction, torch.tensor(truth))
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(prediction.grad).all(), truth


def temperature(folder: Path) -> None:
    """Calibrate posteriors that are sure, flat, or wrong throughout."""
    for kind in ("sure and right", "sure and wrong", "uniform", "probabilities of 1e-300", "one row a class"):
        found, truth = posteriors(kind)
        for trained in (np.full(3, 1 / 3), np.array([1e-9, 0.5, 0.5])):
            fitted = fit(found[0], trained, truth, weights_of(truth, trained))
            for value in (fitted.temperature, fitted.before, fitted.after):
                assert np.isfinite(value), f"{kind}: {fitted}"


def every() -> Iterator[Case]:
    """Yield all cases."""
    for model, make in CLASSIFIERS.items():
        for name, rows in GOOD:
            yield Case(f"{model}, {name}", "classifier", fits(make, rows))
        for name, rows in EXTREME:
            yield Case(f"{model}, {name}", "classifier", fits(make, rows, or_refuses=True))
        for name, rows, pattern in BAD:
            if isinstance(make(), BackEnd) and name == "no row":
                continue  # its caller refuses labels without utterance first
            yield Case(f"{model}, {name}", "classifier", refuses(make, rows, pattern))
    for method in FUSERS:
        for kind in ("drawn", "sure and right", "sure and wrong", "uniform", "one expert twice", "one row a class"):
            yield Case(f"{method}, {kind}", "fusion", fuses(method, kind))
        for kind in ("an expert absent half the time", "probabilities of 1e-300", "a class nobody predicts"):
            yield Case(f"{method}, {kind}", "fusion", fuses(method, kind))
    for check in (flat, normalised):
        yield Case(str(check.__doc__), "classifier", check)
    for check in (priors, em, temperature):
        yield Case(str(check.__doc__), "prior", check)
    for check in (categories, concordances, calibrations, words):
        yield Case(str(check.__doc__), "metric", check)
    yield Case(str(losses_of.__doc__), "loss", losses_of)


def cases(count: int, seed: int) -> list[Case]:
    """Return ``count`` of the cases, or all."""
    return share(every(), count, seed)


if __name__ == "__main__":
    command("numbers", cases, 1000)

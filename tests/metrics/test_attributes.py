"""CCC by hand, by Lin's equation written again, and against torchmetrics."""

import doctest

import numpy as np
import pytest
import torch
from torchmetrics.functional.regression import concordance_corrcoef

from pipeline_lib.metrics import attributes
from pipeline_lib.metrics.attributes import concordance, concordance_of, moments


def lin(x, y):
    """Lin's equation again, with rho and the standard deviations."""
    rho = np.corrcoef(x, y)[0, 1]
    return 2 * rho * x.std() * y.std() / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)


@pytest.mark.parametrize("offset", [0.0, 4.0, 1e4])
def test_concordance_is_lins_equation(offset):
    generator = np.random.default_rng(5)
    x = offset + generator.normal(size=300)
    y = offset + 0.4 * (x - offset) + generator.normal(size=300)
    assert concordance(x, y) == pytest.approx(lin(x, y), abs=1e-12 * max(1.0, offset))


def test_concordance_worked_out_by_hand():
    # means 2.5 and 2.5, variances 1.25 and 1.25, covariance 0.75
    assert concordance(np.array([1.0, 2, 3, 4]), np.array([2.0, 1, 4, 3])) == pytest.approx(0.6, abs=1e-15)
    assert concordance(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1.0, abs=1e-15)


def test_torchmetrics_divides_by_one_less_and_agrees_when_its_variances_are_scaled_back():
    generator = np.random.default_rng(6)
    x, y = generator.normal(size=40), generator.normal(size=40) + 0.5
    theirs = concordance_corrcoef(torch.tensor(y), torch.tensor(x)).item()
    denominator = x.var(ddof=1) + y.var(ddof=1) + (x.mean() - y.mean()) ** 2
    back = theirs * denominator * (39 / 40) / (x.var() + y.var() + (x.mean() - y.mean()) ** 2)
    assert concordance(x, y) == pytest.approx(back, abs=1e-12)
    assert abs(concordance(x, y)) < abs(theirs)


@pytest.mark.parametrize("constant", [0.1, 0.0, 3.3])
def test_nothing_that_varies_has_concordance_zero(constant):
    flat, varied = np.full(7, constant), np.arange(7.0)
    assert concordance(flat, flat) == 0.0
    assert concordance(flat, varied) == 0.0
    assert concordance(varied, flat) == pytest.approx(0.0, abs=1e-15)
    assert concordance(flat, flat + 1) == 0.0


def test_concordance_refuses_nan_by_index():
    with pytest.raises(ValueError, match=r"prediction of utterance 1 is nan \(drop utterances without a value"):
        concordance(np.array([1.0, 2.0]), np.array([1.0, np.nan]))


def test_moments_may_be_summed_in_any_grouping():
    generator = np.random.default_rng(8)
    x, y = generator.normal(4, 1, 60), generator.normal(3, 1, 60)
    groups = moments(x, y, 4.0).reshape(6, 10, 6).sum(axis=1)
    assert concordance_of(groups[[0, 0, 3]].sum(axis=0)) == pytest.approx(
        lin(np.concatenate([x[:10], x[:10], x[30:40]]), np.concatenate([y[:10], y[:10], y[30:40]])), abs=1e-13
    )


def test_the_examples_in_the_docstrings_run():
    result = doctest.testmod(attributes)
    assert result.failed == 0 and result.attempted >= 1

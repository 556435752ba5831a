"""A share of every suite of faults, as tests; the whole of each is its command."""

import pytest

from tests.faults import cases, numbers, parameters, tables

LISTED = [*tables.cases(1000, 1), *parameters.cases(25, 1), *numbers.cases(60, 1)]


@pytest.mark.parametrize("case", LISTED, ids=lambda case: f"{case.kind}: {case.name}")
def test_a_fault_is_met(case):
    found = cases.failure(case)
    assert found is None, str(found)

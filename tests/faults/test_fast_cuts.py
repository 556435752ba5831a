"""A share of every suite of faults, as tests; the whole of each is its command."""

import pytest

from tests.faults import bits, cases, checkpoints, damaged_audio, malice, mutants, numbers, parameters, tables

LISTED = [*tables.cases(1000, 1), *parameters.cases(25, 1), *numbers.cases(60, 1)]


@pytest.mark.parametrize("case", LISTED, ids=lambda case: f"{case.kind}: {case.name}")
def test_a_fault_is_met(case):
    found = cases.failure(case)
    assert found is None, str(found)


@pytest.mark.parametrize(
    ("suite", "count"),
    [(bits, 270), (checkpoints, 2), (damaged_audio, 48), (malice, 14)],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_a_share_of_what_is_drawn(suite, count):
    failed = [str(each) for each in map(cases.failure, suite.cases(count, 1)) if each is not None]
    assert not failed, "\n".join(failed)


def test_mutants_of_recordings_neither_crash_nor_hang_nor_pass_against_checksums():
    assert mutants.failures(mutants.tally(600, 1)) == 0

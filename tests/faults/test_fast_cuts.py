"""A share of every suite of faults, as tests; the whole of each is its command."""

import random

import pytest

from tests.faults import (
    bits,
    cases,
    checkpoints,
    damaged_audio,
    disk_full,
    kills,
    malice,
    mutants,
    neighbours,
    numbers,
    parameters,
    scratch,
    tables,
)

LISTED = [*tables.cases(1000, 1), *parameters.cases(25, 1), *numbers.cases(60, 1)]


@pytest.mark.parametrize("case", LISTED, ids=lambda case: f"{case.kind}: {case.name}")
def test_a_fault_is_met(case):
    found = cases.failure(case)
    assert found is None, str(found)


@pytest.mark.parametrize(
    ("suite", "count"),
    [(bits, 270), (checkpoints, 2), (damaged_audio, 48), (malice, 14), (neighbours, 51)],
    ids=lambda each: getattr(each, "__name__", str(each)),
)
def test_a_share_of_what_is_drawn(suite, count):
    failed = [str(each) for each in map(cases.failure, suite.cases(count, 1)) if each is not None]
    assert not failed, "\n".join(failed)


def test_mutants_of_recordings_neither_crash_nor_hang_nor_pass_against_checksums():
    assert mutants.failures(mutants.tally(600, 1)) == 0


def test_the_first_stages_killed_go_on_to_the_same_bytes(tmp_path):
    listed = kills.stage_kills(6, random.Random(1), tmp_path, scratch.LIGHT)
    failed = [str(each) for each in map(cases.failure, listed) if each is not None]
    assert not failed, "\n".join(failed)


@pytest.mark.acceptance
@pytest.mark.skipif(not disk_full.allowed(), reason="no tmpfs can be mounted here")
def test_the_first_stages_on_a_full_disk_say_so_and_go_on():
    failed = [str(each) for each in map(cases.failure, disk_full.cases(5, 1, scratch.LIGHT)) if each is not None]
    assert not failed, "\n".join(failed)

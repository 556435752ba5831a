"""What becomes of tasks that kill, without any process."""

import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.shards.job import Task
from pipeline_lib.shards.schedule import Schedule

IDS = [f"u{row}" for row in range(64)]


def play(schedule: Schedule, kills) -> list[list[int]]:
    """Do all tasks, one after the other; return the rows of each that was begun."""
    begun = []
    while len(schedule):
        task = schedule.take()
        begun.append(task.rows)
        if kills(task.rows):
            schedule.died(task, "killed by SIGTEST")
        else:
            schedule.done(task)
    return begun


def tasks(n: int = 4, size: int = 16) -> list[Task]:
    return [Task(number, list(range(number * size, (number + 1) * size))) for number in range(n)]


@pytest.mark.parametrize("poison", [{5}, {0, 63}, {16, 17, 31}, {7, 40}])
def test_exactly_the_rows_that_kill_are_named_after_everything_else_was_done(poison):
    schedule = Schedule(tasks(), 2, "work")
    begun = play(schedule, lambda rows: poison & set(rows))
    whole = [rows for rows in begun if len(rows) == 16]
    assert begun[:4] == [task.rows for task in tasks()]  # those that wait come before a second attempt
    assert len(whole) == 4 + len({row // 16 for row in poison})
    names = ", ".join(IDS[row] for row in sorted(poison))
    with pytest.raises(InputError, match=rf"{len(poison)} utterances .*killed by SIGTEST.*exclude: \[{names}\]"):
        schedule.refuse_poison_rows(IDS)
    alone = [rows for rows in begun if len(rows) == 1 and rows[0] in poison]
    assert len(alone) == 2 * len(poison)


def test_a_search_takes_about_twice_the_logarithm_of_the_shard():
    schedule = Schedule([Task(0, list(range(256)))], 3, "work")
    begun = play(schedule, lambda rows: 200 in rows)
    assert len(begun) == 3 + 2 * 8 + 2  # whole, then two halves of each size, of which the last is tried thrice


def test_a_death_by_chance_blames_nobody():
    schedule, met = Schedule(tasks(), 3, "work"), []

    def once(rows: list[int]) -> bool:
        met.append(rows)
        return rows[0] == 16 and met.count(rows) < 3

    play(schedule, once)
    schedule.refuse_poison_rows(IDS)
    assert met.count(tasks()[1].rows) == 3


def test_a_shard_that_kills_only_as_a_whole_blames_no_row():
    schedule = Schedule(tasks(), 2, "work")
    play(schedule, lambda rows: rows == tasks()[3].rows)
    with pytest.raises(InputError, match="1 shards killed their worker 2 times, shard 3 .* no part of them does on"):
        schedule.refuse_poison_rows(IDS)


def test_workers_that_die_whatever_they_are_given_end_the_run():
    with pytest.raises(InputError, match="work: 18 workers died one after the other and nothing was finished"):
        play(Schedule(tasks(), 1, "work"), lambda rows: True)


@pytest.mark.parametrize("poison_row", [0, 4095])
def test_the_limit_is_out_of_reach_of_a_single_poison_row_in_a_large_shard(poison_row):
    schedule = Schedule([Task(0, list(range(4096)))], 1, "work")
    play(schedule, lambda rows: poison_row in rows)
    with pytest.raises(InputError, match=rf"'{poison_row}'"):
        schedule.refuse_poison_rows([str(row) for row in range(4096)])

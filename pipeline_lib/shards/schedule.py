"""The order of tasks, and the retries of one that killed its worker.

A shard that kills its worker is tried ``max_attempts`` times in all, after the shards that wait. Then it is cut in
halves, and those that kill are cut again, until single rows are left; a row that kills ``max_attempts`` workers on its
own is a poison row. Parts are computed only to see whether they kill, their tables are dropped. The run goes on with
all other tasks, then stops with the names of the poison rows.
"""

from collections import Counter, deque
from collections.abc import Sequence

from pipeline_lib.errors import InputError
from pipeline_lib.shards.job import Task


class Schedule:
    """Tasks that wait, and the deaths of workers by task.

    Attributes:
        in_flight: number of tasks that were taken and are neither done, put back nor died with their worker
    """

    def __init__(self, tasks: Sequence[Task], max_attempts: int, description: str) -> None:
        """Queue the tasks.

        Args:
            tasks: in the order in which they are expected
            max_attempts: deaths after which a shard is cut, or a single row is a poison row; at least 1
            description: of the work, for messages
        """
        self.max_attempts, self.description = max_attempts, description
        self.in_flight = 0
        self._waiting = deque(tasks)
        self._deaths: Counter[tuple[int, ...]] = Counter()
        self._last: dict[int, str] = {}
        self._poison_rows: dict[int, int] = {}
        self._cut: dict[int, int] = {}  # shards that were cut: number of their parts that are not done
        self._deaths_in_a_row = self._deaths_before_ready = 0

    def __len__(self) -> int:
        """Return the number of tasks that wait or are in flight."""
        return len(self._waiting) + self.in_flight

    def take(self) -> Task | None:
        """Return the next task, None where none waits."""
        if not self._waiting:
            return None
        self.in_flight += 1
        return self._waiting.popleft()

    def put_back(self, task: Task) -> None:
        """Queue a task again, first, that no worker began."""
        self.in_flight -= 1
        self._waiting.appendleft(task)

    def ready(self) -> None:
        """Record that a worker has loaded its model."""
        self._deaths_before_ready = 0

    def done(self, task: Task) -> None:
        """Record that a task was finished."""
        self.in_flight -= 1
        self._deaths_in_a_row = 0
        if not task.whole:
            self._cut[task.number] -= 1

    def died(self, task: Task, how: str) -> None:
        """Record that a worker died with this task.

        Args:
            task: that it computed
            how: the way in which it died, for messages

        Raises:
            InputError: workers die whatever the task
        """
        self.in_flight -= 1
        self._last[task.number] = how
        self._deaths[tuple(task.rows)] += 1
        deaths = self._deaths[tuple(task.rows)]
        if not task.whole:
            self._cut[task.number] -= 1
        if deaths < self.max_attempts and (task.whole or len(task.rows) == 1):
            self._again(task)
        elif len(task.rows) == 1:
            self._poison_rows[task.rows[0]] = task.number
            self._cut.setdefault(task.number, 0)
        else:
            middle = -(-len(task.rows) // 2)
            for half in (task.rows[:middle], task.rows[middle:]):
                self._again(Task(task.number, half, whole=False))
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row >= 12 + 6 * self.max_attempts:
            raise InputError(
                f"{self.description}: {self._deaths_in_a_row} workers died one after the other and nothing was"
                f" finished in between, the last one {how}; no single utterance is to blame (does the memory suffice"
                " for executor.workers models? lower workers or the batch size)"
            )

    def died_unready(self, how: str) -> None:
        """Record that a worker died before it had loaded its model.

        Raises:
            InputError: the ``max_attempts``-th in a row did
        """
        self._deaths_before_ready += 1
        if self._deaths_before_ready >= self.max_attempts:
            raise InputError(
                f"{self.description}: {self._deaths_before_ready} workers died while they loaded the model, the last"
                f" one {how} (does the memory suffice for executor.workers models?)"
            )

    def refuse_poison_rows(self, ids: Sequence[str]) -> None:
        """Refuse to go on where a shard could not be computed, after all others are finished.

        Args:
            ids: names of the rows

        Raises:
            InputError: a row kills its workers, or a shard does so only as a whole
        """
        if self._poison_rows:
            named = [f"{ids[row]!r} ({self._last[number]})" for row, number in sorted(self._poison_rows.items())]
            names = ", ".join(str(ids[row]) for row in sorted(self._poison_rows))
            raise InputError(
                f"{self.description}: {len(named)} utterances killed every worker that took them, {self.max_attempts}"
                f" times each: {', '.join(named)}. All other shards are finished; the same command tries only their"
                f" shards again. Repair the recordings, give workers more memory, or set corpus.exclude: [{names}]"
            )
        if self._cut:
            first = min(self._cut)
            raise InputError(
                f"{self.description}: {len(self._cut)} shards killed their worker {self.max_attempts} times, shard"
                f" {first} {self._last[first]}, but no part of them does on its own (memory?); lower shard_size, the"
                " batch size or executor.workers. All other shards are finished"
            )

    def _again(self, task: Task) -> None:
        if not task.whole:
            self._cut[task.number] = self._cut.get(task.number, 0) + 1
        self._waiting.append(task)

"""Batches on their way through a model: made ready ahead by threads, and cut in two where memory runs out.

Embedding, transcription and prediction go through both; training recognises a lack of memory by ``is_out_of_memory``,
for it has gradients to undo. Nothing here imports torch, so that transcription starts without it.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from pipeline_lib.errors import InputError

Batch = TypeVar("Batch")
Inputs = TypeVar("Inputs")
Result = TypeVar("Result")


class Sliceable(Protocol):
    """Items in a row, a list or an array."""

    def __len__(self) -> int: ...

    def __getitem__(self, part: slice, /) -> Any: ...


Rows = TypeVar("Rows", bound=Sliceable)


def ahead(batches: Sequence[Batch], prepare: Callable[[Batch], Inputs], workers: int) -> Iterator[tuple[Batch, Inputs]]:
    """Yield each batch with its inputs, which threads prepare while the caller works on the batch before.

    Args:
        batches: in the order in which they are yielded
        prepare: a batch to its inputs; called in a thread
        workers: threads, at least 1; one batch more than there are threads is in memory ahead
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting = [pool.submit(prepare, batch) for batch in batches[: workers + 1]]
        for i, batch in enumerate(batches):
            inputs = waiting.pop(0).result()
            if i + workers + 1 < len(batches):
                waiting.append(pool.submit(prepare, batches[i + workers + 1]))
            yield batch, inputs


def size_on(device: str | None, size: int) -> int:
    """Return the items of a batch: on the CPU one, so that no bit of a value depends on the others of its batch.

    Sums over a batch of another size or width are taken in another order, which moves the last digits; a cached value
    would depend on what it was computed with. On a GPU batches are many times faster and stay: there, what was computed
    at once and what was added later differ by rounding.

    Args:
        device: kind of the device; None where no model of ours computes
        size: items at once elsewhere, at least 1
    """
    return 1 if device == "cpu" else size


def halves(batch: Rows) -> list[Rows]:
    """Return the batch in two parts of like size, or its only item."""
    middle = -(-len(batch) // 2)
    return [half for half in (batch[:middle], batch[middle:]) if len(half)]


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error means that memory ran out: Python's, torch's of a GPU, or torch's of the CPU."""
    if isinstance(error, MemoryError):
        return True
    is_gpu = type(error).__name__ == "OutOfMemoryError"  # torch's, by name: see above
    return isinstance(error, RuntimeError) and (is_gpu or "can't allocate memory" in str(error))


def memory_message(what: str, remedy: str, *, halved: bool) -> str:
    """Return the sentence with which a run ends when memory does not suffice.

    Args:
        what: that does not fit
        remedy: what to do
        halved: whether batches were cut in two before
    """
    return f"out of memory with {what}{', cut in two' if halved else ''}; {remedy}"


class Halving:
    """Batches are cut in two from the first lack of memory on, with a message; a second one ends the run.

    Attributes:
        halved: whether memory ran out before
        release: gives back what is cached on a GPU
    """

    def __init__(self, release: Callable[[], None] = lambda: None) -> None:
        """Begin with whole batches.

        Args:
            release: called when memory ran out, once the error and what it holds are gone
        """
        self.halved, self.release = False, release

    def parts(self, batch: Rows) -> list[Rows]:
        """Return the batch alone, or in halves where memory ran out before."""
        return halves(batch) if self.halved else [batch]

    def run(
        self, compute: Callable[[], Result], size: Callable[[], int], what: Callable[[], str], remedy: str
    ) -> Result:
        """Return what ``compute`` returns; where memory runs out for the first time, call it once more.

        Args:
            compute: cuts its batches by ``parts``
            size: items of the largest batch; a single one cannot be cut
            what: a phrase on the batch that does not fit, for messages
            remedy: what to do where half a batch does not fit either

        Raises:
            InputError: memory does not suffice for half a batch either
        """
        try:
            return compute()
        except (RuntimeError, MemoryError) as error:
            self.cut(error, size(), what(), remedy)
        self.release()
        return self.run(compute, size, what, remedy)

    def cut(self, error: Exception, size: int, what: str, remedy: str) -> None:
        """Cut batches in two from here on, with a message, where an error means that memory ran out; then ``release``.

        Args:
            error: what a batch ended with
            size: its items; a single one cannot be cut
            what: a phrase on the batch
            remedy: what to do where half a batch does not fit either

        Raises:
            Exception: the error itself, where it means something else
            InputError: memory does not suffice for half a batch either
        """
        if not is_out_of_memory(error):
            raise error
        if self.halved or size < 2:
            raise InputError(memory_message(what, remedy, halved=self.halved)) from None
        self.halved = True
        print(f"out of memory with {what}; going on with half as many at once", file=sys.stderr)

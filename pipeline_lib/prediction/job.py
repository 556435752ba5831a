"""Rows of many recordings in their order, each as soon as the system has it."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline_lib.audio.decoding import BadAudio, probe
from pipeline_lib.command import progress
from pipeline_lib.errors import InputError
from pipeline_lib.inference.prediction import Failure, Prediction, Recording
from pipeline_lib.inference.segmentation import How, parts
from pipeline_lib.prediction import rows
from pipeline_lib.prediction.inputs import Input
from pipeline_lib.prediction.output import Done
from pipeline_lib.prediction.rows import Row

Times = tuple[float, float] | None


class System(Protocol):
    """What is used of ``inference.pipeline.Pipeline``."""

    @property
    def longest_s(self) -> float | None:
        """Longest audio that every expert reads whole, in seconds."""

    def predict_many(
        self, recordings: Iterable[Recording], batch_size: int, prior: Mapping[str, float] | None
    ) -> Iterator[Prediction | Failure]:
        """Yield a prediction or a failure for each recording, in their order.

        Args:
            recordings: read ahead by one batch
            batch_size: recordings in a batch
            prior: share of each label
        """


class Rows(Protocol):
    """What is used of ``output.Output`` and ``output.Printed``."""

    def write(self, row: Row) -> None:
        """Write a row."""


@dataclass(frozen=True)
class Options:
    """How recordings are predicted.

    Attributes:
        segment: "none", "vad", or the longest part in seconds
        batch_size: parts that go through the models together
        prior: share of each label where the recordings come from, None for the system's own
    """

    segment: How = "none"
    batch_size: int = 1
    prior: Mapping[str, float] | None = None


@dataclass
class _Waiting:
    """A row in its turn; it is None until the system has predicted it."""

    given: Input
    number: int
    n_parts: int
    times: Times
    row: Row | None = None


class Job:
    """One run over recordings.

    Args:
        system: that predicts
        inputs: the recordings
        options: how
        done: what an earlier run wrote
        output: where rows go
        show_progress: whether a bar is shown

    Attributes:
        statuses: number of rows by status, those of the earlier run among them
        notes: of the predictions, each once
    """

    def __init__(
        self, system: System, inputs: Sequence[Input], options: Options, done: Done, output: Rows, show_progress: bool
    ) -> None:
        self._system, self._options, self._output, self._done = system, options, output, done
        self._todo = inputs[done.recordings :]
        self._n, self._show = len(inputs), show_progress
        self._of_parts = len(inputs) == 1  # the bar of a long recording counts its parts
        self._advance: Callable[[int], None] = lambda n: None
        self._waiting: deque[_Waiting] = deque()
        self.statuses: Counter[str] = Counter(done.statuses)
        self.notes: dict[str, None] = {}

    def run(self) -> None:
        """Predict and write every row that is not there yet.

        Raises:
            InputError: the output cannot be written, or see ``System.predict_many``
        """
        if not self._todo:
            return
        first = self._parts_of(self._todo[0]) if self._of_parts else None
        total, done = (self._n, self._done.recordings) if first is None else (len(first), self._done.parts)
        with progress(total if self._show else 0, "predicting", done) as self._advance:
            recordings = self._recordings(first)
            for result in self._system.predict_many(recordings, self._options.batch_size, self._options.prior):
                turn = next(each for each in self._waiting if each.row is None)
                turn.row = rows.of_part(turn.given, turn.number, turn.n_parts, turn.times, result)
                self._flush()
            if any(each.row is None for each in self._waiting):
                raise ValueError("the system returned fewer predictions than it was given recordings")

    def _recordings(self, first: list[_Waiting] | None) -> Iterator[Recording]:
        """Yield what the system predicts; rows without prediction are written in their turn."""
        for index, given in enumerate(self._todo):
            waiting = self._parts_of(given) if first is None else first
            for each in waiting[self._done.parts if index == 0 else 0 :]:
                self._waiting.append(each)
                if each.row is not None:
                    self._flush()
                    continue
                start, end = each.times or (given.start, given.end)
                number = f"{self._done.recordings + index}.{each.number}"
                yield Recording(number, given.path, given.text, start, end)

    def _parts_of(self, given: Input) -> list[_Waiting]:
        """Return the parts of a recording, or the one row that says why there is none."""
        if given.defect is not None:
            return [_without(given, "failed", given.defect)]
        try:
            times = self._times(given)
        except BadAudio as error:
            return [_without(given, "failed", str(error))]
        if not times:
            lasts = f"no speech in {given.recording}"
            return [_without(given, "no speech", lasts)]
        return [_Waiting(given, number, len(times), each) for number, each in enumerate(times, 1)]

    def _times(self, given: Input) -> list[Times]:
        how, longest_s = self._options.segment, self._system.longest_s
        if given.path is None:
            return [None]
        if how == "none":
            if longest_s is not None:
                _refuse_long(given, longest_s)
            return [None]
        return list(parts(given.path, how, longest_s, given.start, given.end))

    def _flush(self) -> None:
        """Write the rows whose turn it is."""
        while self._waiting and self._waiting[0].row is not None:
            turn = self._waiting.popleft()
            assert turn.row is not None
            self._output.write(turn.row)
            self.statuses[turn.row.status] += 1
            self.notes |= dict.fromkeys(turn.row.notes)
            if self._of_parts or turn.number == turn.n_parts:
                self._advance(1)


def _without(given: Input, status: rows.Status, reason: str) -> _Waiting:
    return _Waiting(given, 0, 0, None, rows.without_prediction(given, status, reason))


def _refuse_long(given: Input, longest_s: float) -> None:
    """Refuse a recording of which the experts would read the middle alone.

    Raises:
        BadAudio: it is too long, or cannot be opened
    """
    assert given.path is not None
    lasts_s = probe(given.path).duration_s
    end_s = lasts_s if given.end is None else min(given.end, lasts_s)
    if end_s - (given.start or 0.0) > longest_s + 1e-3:
        raise BadAudio(
            "too long",
            f"{given.recording} lasts {end_s - (given.start or 0.0):.2f} s, the experts read at most {longest_s:g} s"
            " whole; cut it with --segment vad or --segment SECONDS",
        )


def summary(statuses: Counter[str]) -> str:
    """Return the number of rows by status in a sentence.

    Args:
        statuses: number of rows by status
    """
    counts = [f"{statuses[name]} {text}" for name, text in _STATUSES.items() if statuses[name]]
    return f"{statuses.total()} row{'s' * (statuses.total() != 1)}: {', '.join(counts)}"


_STATUSES = {"predicted": "predicted", "no speech": "without speech", "failed": "failed, their reason beside them"}


def parse_segment(text: str, longest_s: float | None) -> How:
    """Return "none", "vad" or a number of seconds.

    Args:
        text: of the option
        longest_s: longest audio that the experts read whole, in seconds; None for any

    Raises:
        InputError: it is none of these, or longer
    """
    named: dict[str, How] = {"none": "none", "vad": "vad"}
    if text in named:
        return named[text]
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InputError(f"--segment is {text!r}, expected none, vad or a number of seconds above 0")
    if longest_s is not None and seconds > longest_s:
        raise InputError(f"--segment is {seconds:g} s, the experts read at most {longest_s:g} s whole; name fewer")
    return seconds


def parse_prior(text: str, labels: Sequence[str]) -> dict[str, float]:
    """Return the share of each label.

    Args:
        text: ``neutral=.7,happy=.3``
        labels: of the system

    Raises:
        InputError: a label is missing, unknown or named twice, a share is no number in [0, 1], or they do not sum to 1
    """
    prior: dict[str, float] = {}
    for part in text.split(","):
        name, _, share = (piece.strip() for piece in part.partition("="))
        try:
            value = float(share)
        except ValueError:
            value = -1.0
        if name not in labels or name in prior or not 0 <= value <= 1:
            raise InputError(f"--prior has {part.strip()!r}, expected LABEL=SHARE with each of {list(labels)} once")
        prior[name] = value
    missing = [label for label in labels if label not in prior]
    if missing or abs(sum(prior.values()) - 1) > 1e-6:
        lacks = f"leaves out {missing}" if missing else f"sums to {sum(prior.values()):g}"
        raise InputError(f"--prior {lacks}, expected a share of every label, 1 in all")
    return prior

"""What is given to a trained system, a recording, and what it returns of it, a prediction or the reason for none."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

Audio = Path | str | tuple[np.ndarray, int]


@dataclass(frozen=True)
class Recording:
    """A recording, or a part of one, to predict.

    Attributes:
        id: its name in the results, each once in a call
        audio: path of a file that the corpus stage takes, or samples, shape ``(n_samples,)`` or
            ``(n_samples, n_channels)``, float in [-1, 1], with their rate in Hz; None where there is text alone
        text: the words, in place of a transcript; None has them recognised where the system reads any
        start: beginning of the part, in seconds; None for the recording's own
        end: end of the part, in seconds; None for the recording's own
        fold: number of the fold that held the recording out, which a system of folds then predicts with that fold's
            member alone; None takes the mean of all members
    """

    id: str
    audio: Audio | None
    text: str | None = None
    start: float | None = None
    end: float | None = None
    fold: int | None = None


@dataclass(frozen=True)
class Prediction:
    """What a system predicts of a recording, or of a segment of one.

    Attributes:
        id: of the recording
        posterior: P(label | recording) by label, each in [0, 1], sums to 1; empty where the system has none
        label: the most probable one, None without a posterior
        attributes: by name, on the scale of the corpus that the system was trained on; empty where there are none
        experts: by entry what goes into the fusion: ``{"posterior": {label: share}, "attributes": {name: value}}``; an
            entry that lacks its modality is absent
        transcript: that was read, recognised or given; None where the system reads none
        segments: start and end in seconds of what was predicted, within the recording
        duration_s: of what was predicted, in seconds, 0 of text alone
        notes: sentences on what the numbers depend on
    """

    id: str
    posterior: dict[str, float]
    label: str | None
    attributes: dict[str, float]
    experts: dict[str, dict[str, dict[str, float]]]
    transcript: str | None
    segments: list[tuple[float, float]]
    duration_s: float
    notes: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {"segments": [list(segment) for segment in self.segments]}


@dataclass(frozen=True)
class Failure:
    """A recording that could not be predicted.

    Attributes:
        id: of the recording
        reason: one sentence
    """

    id: str
    reason: str

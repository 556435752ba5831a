"""Utterances without a usable recording: dropped, or kept with their text alone."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import pandas as pd

OnBad = Literal["drop", "keep_rest"]
NO_AUDIO = "no audio: the corpus names no recording of this utterance"
OF_THE_RECORDING = ("audio", "audio_sha256", "start_s", "end_s", "duration_s")


@dataclass(frozen=True)
class Rest:
    """Utterances that stay with their text alone.

    Attributes:
        recordings: rows of the quarantine, one for each recording that cannot be used
        reasons: a short word -> number of utterances
    """

    recordings: pd.DataFrame
    reasons: dict[str, int] = field(default_factory=dict)

    @property
    def warnings(self) -> list[str]:
        """Sentences to print and to write to metrics/corpus.json, one or none."""
        if not self.reasons:
            return []
        listed = ", ".join(f"{reason} {n}" for reason, n in self.reasons.items())
        n = sum(self.reasons.values())
        return [f"{n} utterances have text and no usable audio and stay with text alone: {listed} (corpus.on_bad)."]


def reject_without_audio(frame: pd.DataFrame) -> None:
    """Mark rows that name no recording where others name one, in place; a text-only corpus is left as it is."""
    without = frame["audio"].isna()
    if not without.all():
        frame.loc[without & frame["reject"].isna(), "reject"] = NO_AUDIO


def keep(frame: pd.DataFrame, tried: np.ndarray, on_bad: OnBad) -> Rest:
    """Take back the rejection of rows whose recording alone is the cause and which have text, in place.

    Args:
        frame: see ``layout``; a taken-back row has no recording any more
        tried: mask of the rows whose recordings were opened, bool, shape ``(n,)``
        on_bad: "drop" leaves the frame as it is
    """
    has_text = frame["reference_text"].map(lambda text: isinstance(text, str) and bool(text.strip()))
    of_the_recording = (tried & frame["reject"].notna()) | (frame["reject"] == NO_AUDIO)
    rows = of_the_recording & has_text & (on_bad == "keep_rest")
    kept = frame[rows]
    named = kept[kept["audio"].notna()]
    recordings = pd.DataFrame(
        {"utterance_id": None, "file": named["audio"], "stage": "corpus", "reason": named["reject"]}
    )
    frame.loc[rows, [*OF_THE_RECORDING, "reject"]] = [None, None, np.nan, np.nan, np.nan, None]
    return Rest(recordings, dict(Counter(reason.partition(":")[0] for reason in kept["reject"]).most_common()))

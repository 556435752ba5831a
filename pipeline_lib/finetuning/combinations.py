"""What of audio and text each utterance has, and which combinations it therefore takes part in."""

from collections.abc import Iterable, Sequence
from functools import partial
from operator import is_not

import numpy as np

from pipeline_lib.finetuning.readers import has_words
from pipeline_lib.params.branches import Combination
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.tables.manifest import Manifest


def present(corpus: Manifest, texts: Sequence[str | None] | None, settings: FinetuningSettings) -> np.ndarray:
    """Return which utterances have audio and which have text that the expert reads, bool, shape ``(n, 2)``.

    To a text expert an empty text is a text, a missing one is none; to a joint one both are none, for the audio says
    more.
    """
    nothing = np.zeros(len(corpus), dtype=bool)
    audio = nothing if settings.modality == "text" else corpus.has_audio
    if settings.modality == "audio" or (texts is None and settings.is_joint):
        return np.stack([audio, nothing], axis=1)
    if texts is None:
        return np.stack([audio, ~nothing], axis=1)
    is_text = has_words if settings.is_joint else partial(is_not, None)
    return np.stack([audio, np.array([is_text(text) for text in texts], dtype=bool)], axis=1)


def shows(present: np.ndarray, combination: Combination) -> np.ndarray:
    """Return which utterances have anything of the combination, bool, shape ``(n,)``; of both, one will do."""
    match combination:
        case "audio":
            return present[:, 0]
        case "text":
            return present[:, 1]
        case "both":
            return present.any(axis=1)


def takes_part(present: np.ndarray, passes: Iterable[Combination]) -> np.ndarray:
    """Return which utterances take part in any of the passes, bool, shape ``(n,)``; all where there are none named."""
    masks = [shows(present, combination) for combination in passes]
    return np.logical_or.reduce(masks) if masks else present.any(axis=1)


def measured_combinations(settings: FinetuningSettings, passes: Sequence[Combination]) -> list[Combination]:
    """Return what of the development utterances is shown in a phase with these passes."""
    return list(passes) if settings.early_stopping.shown is None else [settings.early_stopping.shown]


def presence_lines(present: np.ndarray, modality: str) -> list[str]:
    """Return how many utterances have what; of an audio or text expert a line only where some lack what it reads."""
    neither = int((~present.any(axis=1)).sum())
    if modality != "joint":
        message = f"{neither} of {len(present)} utterances have no {modality} and are neither trained on nor predicted"
        return [message] if neither else []
    both = int(present.all(axis=1).sum())
    audio, text = (int(column.sum()) - both for column in present.T)
    alone = f"{audio} with audio alone, {text} with text alone"
    return [f"{both} utterances with audio and text, {alone}, {neither} with neither"]

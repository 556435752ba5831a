"""Modalities that an utterance has, and the combinations that it takes part in."""

from collections.abc import Iterable, Sequence
from functools import partial
from operator import is_not

import numpy as np

from pipeline_lib.experts.utterances import has_words
from pipeline_lib.params.branches import Combination
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.tables.manifest import Manifest


def present(corpus: Manifest, texts: Sequence[str | None] | None, settings: FinetuningSettings) -> np.ndarray:
    """Return which utterances have audio and which have text that the expert reads.

    To a text expert an empty text is a text, a missing one is none; to a joint one both are none, for the audio holds
    more.

    Args:
        corpus: the manifest
        texts: one a row, None where there is none; None in place of all where the expert reads no texts
        settings: the entry

    Returns:
        bool, shape ``(n, 2)``
    """
    nothing = np.zeros(len(corpus), dtype=bool)
    audio = nothing if settings.modality == "text" else corpus.has_audio
    if settings.modality == "audio" or (texts is None and len(settings.branches) > 1):
        return np.stack([audio, nothing], axis=1)
    if texts is None:
        return np.stack([audio, ~nothing], axis=1)
    is_text = has_words if len(settings.branches) > 1 else partial(is_not, None)
    return np.stack([audio, np.array([is_text(text) for text in texts], dtype=bool)], axis=1)


def shows(present: np.ndarray, combination: Combination) -> np.ndarray:
    """Return which utterances have anything of the combination; of both, one will do.

    Args:
        present: which have audio and which text, bool, shape ``(n, 2)``
        combination: audio, text or both

    Returns:
        bool, shape ``(n,)``
    """
    match combination:
        case "audio":
            return present[:, 0]
        case "text":
            return present[:, 1]
        case "both":
            return np.logical_or.reduce(present, axis=1)


def takes_part(present: np.ndarray, passes: Iterable[Combination]) -> np.ndarray:
    """Return which utterances take part in any of the passes; all that have anything where no pass is named.

    Args:
        present: which have audio and which text, bool, shape ``(n, 2)``
        passes: combinations

    Returns:
        bool, shape ``(n,)``
    """
    masks = [shows(present, combination) for combination in passes]
    return np.logical_or.reduce(masks) if masks else shows(present, "both")


def measured_combinations(settings: FinetuningSettings, passes: Sequence[Combination]) -> list[Combination]:
    """Return the combinations in which a phase measures the development utterances.

    Args:
        settings: the entry, with ``early_stopping.shown``
        passes: of the phase
    """
    return list(passes) if settings.early_stopping.shown is None else [settings.early_stopping.shown]


def presence_lines(present: np.ndarray, modality: str) -> list[str]:
    """Return lines that count utterances by modality; of an audio or text expert one where some lack its modality.

    Args:
        present: which have audio and which text, bool, shape ``(n, 2)``
        modality: of the expert
    """
    neither = int((~present.any(axis=1)).sum())
    if modality != "joint":
        message = f"{neither} of {len(present)} utterances have no {modality} and are neither trained on nor predicted"
        return [message] if neither else []
    both = int(present.all(axis=1).sum())
    audio, text = (int(column.sum()) - both for column in present.T)
    alone = f"{audio} with audio alone, {text} with text alone"
    return [f"{both} utterances with audio and text, {alone}, {neither} with neither"]

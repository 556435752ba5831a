"""What of audio and text each utterance has, and which combinations it therefore takes part in."""

from collections.abc import Iterable, Sequence

import numpy as np

from pipeline_lib.finetuning.joint_settings import Combination
from pipeline_lib.finetuning.reading import has_words
from pipeline_lib.finetuning.settings import FinetuningSettings
from pipeline_lib.tables.manifest import Manifest


def present(corpus: Manifest, texts: Sequence[str | None] | None, settings: FinetuningSettings) -> np.ndarray:
    """Return which utterances have audio and which have text that the expert reads, bool, shape ``(n, 2)``.

    To a text expert an empty text is a text; to a joint one it is none, for the audio says more.
    """
    nothing = np.zeros(len(corpus), dtype=bool)
    audio = nothing if settings.modality == "text" else corpus.frame["audio"].notna().to_numpy()
    if settings.is_joint and texts is not None:
        return np.stack([audio, np.array([has_words(text) for text in texts], dtype=bool)], axis=1)
    return np.stack([audio, ~nothing if settings.modality == "text" else nothing], axis=1)


def shows(present: np.ndarray, combination: Combination) -> np.ndarray:
    """Return which utterances have anything of the combination, bool, shape ``(n,)``; of both, one will do."""
    match combination:
        case "audio":
            return present[:, 0]
        case "text":
            return present[:, 1]
        case "both":
            return present.any(axis=1)


def trained(present: np.ndarray, passes: Iterable[Combination]) -> np.ndarray:
    """Return which utterances take part in any of the passes, bool, shape ``(n,)``; all where there are none named."""
    masks = [shows(present, each) for each in passes]
    return np.logical_or.reduce(masks) if masks else present.any(axis=1)


def measured(settings: FinetuningSettings, passes: Sequence[Combination]) -> list[Combination]:
    """Return what of the development utterances is shown in a phase with these passes."""
    return list(passes) if settings.early_stopping.shown is None else [settings.early_stopping.shown]


def said_of(present: np.ndarray) -> str:
    """Return how many utterances have what."""
    both, neither = int(present.all(axis=1).sum()), int((~present.any(axis=1)).sum())
    audio, text = (int(column.sum()) - both for column in present.T)
    alone = f"{audio} with audio alone, {text} with text alone"
    return f"{both} utterances with audio and text, {alone}, {neither} with neither"

"""How good the transcripts are: word error rate against the human text, empty and looping outputs.

A transcript *loops* when some stretch of one to six words stands in it at least four times in a row and the repetition
covers at least eight words: "no no no no" is speech, "i am i am i am i am" is a decoder that does not stop. Words are
those of ``metrics.normalise_words``.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib import whole
from pipeline_lib.metrics import normalise_words, word_error_rate
from pipeline_lib.tables.manifest import Manifest, keep

LONGEST_STRETCH = 6  # words
TIMES = 4
COVERS = 8  # words


def measure(manifest: Manifest, texts: Sequence[str], heard: np.ndarray | None = None) -> dict[str, Any]:
    """Return the metrics of all utterances and of each split.

    Args:
        manifest: the utterances
        texts: what was heard, one text an utterance
        heard: which utterances an engine transcribed, bool; None for all. The others, which have no audio, are counted
            and not measured.

    Returns:
        for ``all`` and each split: utterances, with_reference, empty, looping and, where some reference has a word,
        wer (errors divided by reference words); the corpus's notice where it has one, and ``without_audio`` where some
        utterances were not heard
    """
    found: dict[str, Any] = {"notice": manifest.notice} if manifest.notice else {}
    if heard is not None and not heard.all():
        found["without_audio"] = int((~heard).sum())
        manifest, texts = keep(manifest, heard), [text for text, one in zip(texts, heard, strict=True) if one]
    splits = manifest.frame["split"].tolist()
    references = manifest.frame["reference_text"].tolist()
    found["all"] = _of(references, texts)
    for split in sorted(set(splits)):
        rows = [i for i, name in enumerate(splits) if name == split]
        found[split] = _of([references[i] for i in rows], [texts[i] for i in rows])
    return found


def report(found: dict[str, Any], path: Path) -> None:
    """Write the metrics as JSON and print them, a line a split."""
    whole.write(path, json.dumps(found, indent=2, sort_keys=True, allow_nan=False) + "\n")
    if "notice" in found:
        print(found["notice"])
    for split, values in found.items():
        if isinstance(values, dict):
            rate = f"WER {values['wer']:.2%} over {values['with_reference']}" if "wer" in values else "no human text"
            odd = f"{values['empty']} empty, {values['looping']} looping"
            print(f"{split}: {values['utterances']} utterances, {rate}, {odd}")


def loops(text: str) -> bool:
    """Return whether the text repeats itself, see the module."""
    words = normalise_words(text).split()
    for length in range(1, LONGEST_STRETCH + 1):
        wanted = max(TIMES * length, COVERS) - length  # so many words in a row equal the word one stretch earlier
        run = 0
        for earlier, word in zip(words, words[length:], strict=False):
            run = run + 1 if earlier == word else 0
            if run >= wanted:
                return True
    return False


def _of(references: Sequence[str | None], texts: Sequence[str]) -> dict[str, Any]:
    pairs = [(reference, text) for reference, text in zip(references, texts, strict=True) if reference is not None]
    found: dict[str, Any] = {
        "utterances": len(texts),
        "with_reference": len(pairs),
        "empty": sum(not text.strip() for text in texts),
        "looping": sum(loops(text) for text in texts),
    }
    if any(normalise_words(reference) for reference, _ in pairs):
        found["wer"] = word_error_rate(*map(list, zip(*pairs, strict=True)))
        if not math.isfinite(found["wer"]):
            raise ValueError(f"word error rate is {found['wer']}")
    return found

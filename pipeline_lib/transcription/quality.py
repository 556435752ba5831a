"""Quality of ASR transcripts: word error rate against the reference transcripts, empty and looping outputs.

A transcript *loops* when a stretch occurs at least four times in a row and covers at least ``COVERS`` units:

- a stretch of one to six words that covers eight words: "no no no no" is speech, "i am i am i am i am" is a decoder
  that does not stop;
- a stretch of one to thirty characters of Han, Kana, Hangul, Thai and the like that covers sixteen of them, blanks and
  punctuation between them left out;
- a stretch of one to thirty letters inside one word that covers twenty-four letters.

Laughter (``LAUGHTER``: haha, 哈哈, ㅋㅋ) is speech for half as long again: below twelve words, 24 characters, 36
letters, nearly four seconds of it. Words and units of the error rate are those of ``words``.
"""

import json
import math
import unicodedata
from collections.abc import Sequence
from itertools import compress, groupby
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib.metrics.words import normalise_words, unit_name, without_blanks, word_error_rate
from pipeline_lib.storage import atomic
from pipeline_lib.tables.manifest import Manifest, keep

TIMES = 4
LONGEST_STRETCH = {"words": 6, "characters": 30, "letters": 30}
COVERS = {"words": 8, "characters": 16, "letters": 24}
_LAUGHS = """
    ha he hi ho hu ja je ji ah eh ih kk ха хе хи 哈 呵 嘿 嘻 は ひ ふ へ ほ ハ ヒ フ ヘ ホ ㅋ ㅎ 하 허 호 히 크 5
"""  # 5 is said "ha" in Thai
LAUGHTER = tuple(unicodedata.normalize("NFKC", _LAUGHS).split())


def measure(manifest: Manifest, texts: Sequence[str], transcribed: np.ndarray | None = None) -> dict[str, Any]:
    """Return the metrics of all utterances and of each split.

    Args:
        manifest: the utterances
        texts: the transcripts, one an utterance
        transcribed: which utterances an engine transcribed, bool, shape ``(n_utterances,)``; None for all. The others,
            which have no audio, are counted and not measured.

    Returns:
        for ``all`` and each split: utterances, with_reference, empty, looping and, where some reference has a word,
        wer (errors divided by the units of the references, 0 or more) and its unit ("words", "characters", "words and
        characters"); the corpus's notice where it has one, and ``without_audio`` where some utterances were not
        transcribed
    """
    metrics: dict[str, Any] = {"notice": manifest.notice} if manifest.notice else {}
    if transcribed is not None and not transcribed.all():
        metrics["without_audio"] = int((~transcribed).sum())
        manifest, texts = keep(manifest, transcribed), list(compress(texts, transcribed))
    splits = manifest.frame["split"].tolist()
    references = manifest.frame["reference_text"].tolist()
    metrics["all"] = _of(references, texts)
    for split in sorted(set(splits)):
        rows = [i for i, name in enumerate(splits) if name == split]
        metrics[split] = _of([references[i] for i in rows], [texts[i] for i in rows])
    return metrics


def report(metrics: dict[str, Any], path: Path) -> None:
    """Write the metrics as JSON and print them, a line a split.

    Args:
        metrics: see ``measure``
        path: of the JSON file
    """
    atomic.write_file(path, json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False) + "\n")
    if "notice" in metrics:
        print(metrics["notice"])
    for split, values in metrics.items():
        if isinstance(values, dict):
            rate = _rate(values) if "wer" in values else "no reference transcript"
            counts = f"{values['empty']} empty, {values['looping']} looping"
            print(f"{split}: {values['utterances']} utterances, {rate}, {counts}")


def loops(text: str) -> bool:
    """Return whether the text repeats itself, as the module's docstring defines."""
    words = normalise_words(text).split()
    runs = groupby("".join(words), key=lambda c: without_blanks(c) or unicodedata.name(c, "").startswith("HANGUL "))
    return (
        _repeats(words, "words")
        or any(_repeats(list(run), "characters") for dense, run in runs if dense)
        or any(_repeats(word, "letters") for word in words)
    )


def _repeats(items: Sequence[str], kind: str) -> bool:
    """Return whether some stretch of the items is repeated often enough."""
    for length in range(1, min(LONGEST_STRETCH[kind], len(items) // TIMES) + 1):
        run = 0  # so many items in a row equal the item one stretch earlier
        for i in range(length, len(items)):
            run = run + 1 if items[i] == items[i - length] else 0
            if run + length >= max(TIMES * length, COVERS[kind]):
                laughing = _is_laughter("".join(items[i + 1 - length : i + 1]))
                if not laughing or run + length >= 1.5 * COVERS[kind]:
                    return True
    return False


def _is_laughter(stretch: str) -> bool:
    return any(stretch in laugh * (len(stretch) + 2) for laugh in LAUGHTER)


def _rate(values: dict[str, Any]) -> str:
    name = "WER" if values["unit"] == "words" else f"error rate in {values['unit']}"
    return f"{name} {values['wer']:.2%} over {values['with_reference']}"


def _of(references: Sequence[str | None], texts: Sequence[str]) -> dict[str, Any]:
    pairs = [(reference, text) for reference, text in zip(references, texts, strict=True) if reference is not None]
    metrics: dict[str, Any] = {
        "utterances": len(texts),
        "with_reference": len(pairs),
        "empty": sum(not text.strip() for text in texts),
        "looping": sum(loops(text) for text in texts),
    }
    if any(normalise_words(reference) for reference, _ in pairs):
        metrics["wer"] = word_error_rate(*map(list, zip(*pairs, strict=True)))
        metrics["unit"] = unit_name([reference for reference, _ in pairs])
        if not math.isfinite(metrics["wer"]):
            raise ValueError(f"word error rate is {metrics['wer']}, expected a finite number")
    return metrics

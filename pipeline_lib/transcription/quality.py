"""Quality of ASR transcripts: word error rate against the reference transcripts, empty and looping outputs.

A transcript *loops* when a stretch occurs at least four times in a row and covers at least ``COVERS`` units:

- a stretch of one to six words that covers eight words: "no no no no" is speech, "i am i am i am i am" is a decoder
  that does not stop;
- a stretch of one to thirty characters of Han, Kana, Hangul, Thai and the like that covers sixteen of them, blanks and
  punctuation between them left out;
- a stretch of one to thirty letters inside one word that covers twenty-four letters.

Laughter (``LAUGHTER``: haha, 哈哈, ㅋㅋ) is speech for half as long again: below twelve words, 24 characters, 36
letters, nearly four seconds of it. Words and units of the error rate are those of ``words``; beside it stands the rate
of Whisper-normalised texts (``normalisation``). Intervals are over speakers (``jackknife``); utterances without one
count as one speaker.
"""

import json
import unicodedata
from collections.abc import Sequence
from itertools import compress, groupby
from pathlib import Path
from typing import Any

import numpy as np

from pipeline_lib.metrics.jackknife import rate_bounds
from pipeline_lib.metrics.word_errors import WordErrors, count_errors
from pipeline_lib.metrics.words import normalise_words, unit_name, units, without_blanks
from pipeline_lib.storage import atomic
from pipeline_lib.tables.manifest import Manifest, keep
from pipeline_lib.transcription.normalisation import Normaliser, whisper_units

CONFIDENCE = 0.95  # of the intervals
TIMES = 4
LONGEST_STRETCH = {"words": 6, "characters": 30, "letters": 30}
COVERS = {"words": 8, "characters": 16, "letters": 24}
_LAUGHS = """
    ha he hi ho hu ja je ji ah eh ih kk ха хе хи 哈 呵 嘿 嘻 は ひ ふ へ ほ ハ ヒ フ ヘ ホ ㅋ ㅎ 하 허 호 히 크 5
"""  # 5 is said "ha" in Thai
LAUGHTER = tuple(unicodedata.normalize("NFKC", _LAUGHS).split())


def measure(
    manifest: Manifest,
    texts: Sequence[str],
    transcribed: np.ndarray | None = None,
    normaliser: Normaliser | None = None,
) -> dict[str, Any]:
    """Return the metrics of all utterances and of each split.

    Args:
        manifest: the utterances
        texts: the transcripts, one an utterance
        transcribed: which utterances an engine transcribed, bool, shape ``(n_utterances,)``; None for all. The others,
            which have no audio, are counted and not measured.
        normaliser: whose rate is given beside the raw one, None for no other

    Returns:
        for ``all`` and each split: utterances, with_reference, empty, looping and, where some reference has a word,
        wer (errors divided by the units of the references, 0 or more), its unit ("words", "characters", "words and
        characters"), substitutions, deletions, insertions and words (units of the references), wer_lo and wer_hi of
        five speakers or more, and ``whisper_normalised`` with the same after the normaliser, which it names; the
        corpus's notice where it has one, and ``without_audio`` where some utterances were not transcribed
    """
    metrics: dict[str, Any] = {"notice": manifest.notice} if manifest.notice else {}
    if transcribed is not None and not transcribed.all():
        metrics["without_audio"] = int((~transcribed).sum())
        manifest, texts = keep(manifest, transcribed), list(compress(texts, transcribed))
    splits = manifest.frame["split"].tolist()
    references, speakers = (manifest.frame[name].tolist() for name in ("reference_text", "speaker"))
    metrics["all"] = _of(references, texts, speakers, normaliser)
    for split in sorted(set(splits)):
        rows = [i for i, name in enumerate(splits) if name == split]
        of_references, of_texts, of_speakers = ([column[i] for i in rows] for column in (references, texts, speakers))
        metrics[split] = _of(of_references, of_texts, of_speakers, normaliser)
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
    sentence = f"{name} {_with_errors(values)} over {values['with_reference']}"
    if "whisper_normalised" in values:
        normalised = values["whisper_normalised"]
        sentence += f", Whisper-normalised ({normalised['normaliser']}) {_with_errors(normalised)}"
    return sentence


def _with_errors(values: dict[str, Any]) -> str:
    """Return a rate with its interval and the three kinds of errors."""
    between = f"{values['wer_lo']:.2%}, {values['wer_hi']:.2%}" if "wer_lo" in values else "—"
    counts = ", ".join(f"{values[kind]} {kind}" for kind in ("substitutions", "deletions", "insertions"))
    return f"{values['wer']:.2%} [{between}] ({counts} in {values['words']})"


def _of(
    references: Sequence[str | None],
    texts: Sequence[str],
    speakers: Sequence[str | None],
    normaliser: Normaliser | None,
) -> dict[str, Any]:
    rows = [i for i, reference in enumerate(references) if reference is not None]
    pairs = [(str(references[i]), texts[i]) for i in rows]
    of_rows = [speakers[i] for i in rows]
    metrics: dict[str, Any] = {
        "utterances": len(texts),
        "with_reference": len(pairs),
        "empty": sum(not text.strip() for text in texts),
        "looping": sum(loops(text) for text in texts),
    }
    errors = [count_errors(units(reference), units(text)) for reference, text in pairs]
    if any(each.words for each in errors):
        metrics |= _rates(errors, of_rows) | {"unit": unit_name([reference for reference, _ in pairs])}
        if normaliser is not None:
            both = [[whisper_units(text, normaliser) for text in pair] for pair in pairs]
            errors = [count_errors(*pair) for pair in both]
            if any(each.words for each in errors):
                metrics["whisper_normalised"] = {"normaliser": normaliser, **_rates(errors, of_rows)}
    return metrics


def _rates(errors: Sequence[WordErrors], speakers: Sequence[str | None]) -> dict[str, Any]:
    """Return the counts of errors and words, their rate, and its interval where there are speakers enough."""
    names = {speaker: i for i, speaker in enumerate(dict.fromkeys(speakers))}
    sums = np.zeros((len(names), len(WordErrors._fields)))
    np.add.at(sums, [names[speaker] for speaker in speakers], np.array(errors, dtype=np.float64))
    total = sums.sum(axis=0)
    rates: dict[str, Any] = dict(zip(WordErrors._fields, map(int, total), strict=True))
    rates["wer"] = float(total[:3].sum() / total[3])
    between = rate_bounds(sums[:, :3].sum(axis=1), sums[:, 3], CONFIDENCE)
    return rates if between is None else {**rates, "wer_lo": between[0], "wer_hi": between[1]}

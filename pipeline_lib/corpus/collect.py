"""Read a corpus, cut it, check every recording, and describe the result."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline_lib.corpus import (
    checking,
    checksums,
    copies,
    crossing,
    emotions,
    folds,
    identity,
    items,
    layout,
    leaks,
    losses,
    readers,
    rest,
    several,
    splits,
    subsets,
)
from pipeline_lib.corpus.describe import describe
from pipeline_lib.errors import InputError
from pipeline_lib.metrics.words import count_marks
from pipeline_lib.params.corpus import CorpusSettings, check_root
from pipeline_lib.params.split import SplitSettings
from pipeline_lib.tables import segments
from pipeline_lib.tables.leaks import Leaks
from pipeline_lib.tables.manifest import Manifest

READERS = {**readers.READERS, "several": several}
CLIPPED = 1e-3  # share of samples at full scale from which a recording is counted as clipped


@dataclass(frozen=True)
class Collected:
    """A corpus ready for the stages.

    Attributes:
        manifest: the usable utterances
        quarantine: the others: utterance_id, file, stage, reason
        metrics: counts for metrics/corpus.json
        notices: sentences for the terminal on rows that are left out
        leaks: what crosses splits or folds
    """

    manifest: Manifest
    quarantine: pd.DataFrame
    metrics: dict[str, Any]
    notices: tuple[str, ...] = ()
    leaks: Leaks = Leaks()


def collect(settings: CorpusSettings, workers: int = 1, *, cut: bool = True) -> Collected:
    """Return the corpus; what stops the run is tested before a recording is opened, and without those refused.

    Args:
        settings: the section corpus
        workers: processes that decode, 1 or more
        cut: whether it is cut for training; else every utterance has its own split, ``test`` where it has none, and the
            labels are those of ``corpus.labels`` that utterances have

    Raises:
        InputError: see the readers; labels that nothing has, speakers in train and test
    """
    check_root(settings)
    if not cut and settings.split.method != "column":
        settings = settings.model_copy(update={"split": SplitSettings(method="random")})  # a row may have none
    reader, root = READERS[settings.reader], Path(settings.root)
    sums, unverified = several.sums(root, settings) if settings.corpora else (checksums.read(root), [])
    checksums.check_labels(root, sums or {})
    frame, unreadable, notes, forms = _read(reader, root, settings)
    notes += unverified
    n_read = len(frame) + len(unreadable)
    _exclude(root, frame, unreadable, settings.exclude)
    scale = settings.attribute_scale or reader.CUSTOM.attribute_scale
    emotions.check_scale(root, frame, scale)
    emotions.check_merge(frame, settings.merge or {})
    frame = emotions.merged(frame, emotions.merges(reader.CUSTOM, settings))
    labels = emotions.scored(frame, reader.CUSTOM, settings)
    if not cut:
        settings = settings.model_copy(update={"split": SplitSettings()})
        frame["split"] = frame["split"].where(frame["split"].notna(), "test")
        labels = tuple(label for label in labels if (frame["emotion"] == label).any())
    frame["split"] = _split(frame, settings, reader.CUSTOM, labels)
    emotions.check_labels(frame, labels if cut else ())
    is_folded = settings.split.method == "folds"
    frame["fold"] = folds.draw(frame, settings.split, labels) if is_folded else folds.NO_FOLD
    warnings = leaks.leak_warnings(frame, settings, reader.CUSTOM, forms) if cut else []
    everything = frame
    frame, quarantine, words, recordings, text_alone = _without_bad(frame, unreadable, root, settings, sums, workers)
    if cut:
        losses.explain_label(root, everything, frame, labels)
        emotions.check_labels(frame, labels)
    if n_read != len(frame) + len(quarantine):
        raise AssertionError(f"{n_read} rows read, {len(frame)} kept and {len(quarantine)} quarantined")
    quarantine = pd.concat([quarantine, text_alone.recordings], ignore_index=True)
    frame, short, of_folds = _with_subsets(frame, labels, settings)
    sides = leaks.sides(frame)
    crossed = crossing.find(frame.assign(side=sides))
    notice = " ".join(part for part in (settings.notice, *warnings) if part)
    warnings += [
        *notes,
        *forms,
        *identity.alike(frame),
        *copies.crossing(frame.assign(split=sides)),
        *crossed.sentences(("sound", "text", "speaker")),
        *_count_warnings(frame.assign(split=sides), settings, short),
        *of_folds,
        *_channel_warnings(recordings),
        *text_alone.warnings,
    ]
    manifest = Manifest(
        frame.drop(columns=["group", "reject", "sound", "fingerprint", "fold"]),
        settings.name or settings.reader,
        labels,
        (scale[0], scale[1]),
        notice,
    )
    metrics = describe(manifest, sides, words, warnings, recordings) | {"text_alone": text_alone.reasons}
    metrics |= {"leaks": crossed.counts(), "protocol": crossed.protocol}
    return Collected(manifest, quarantine, metrics, tuple(losses.notices(n_read, words)), crossed)


def _read(reader: Any, root: Path, settings: CorpusSettings) -> tuple[pd.DataFrame, pd.DataFrame, list[str], list[str]]:
    """Return the rows that could be read, those that could not, notes on the reading, and on speakers in two forms.

    Raises:
        InputError: see the readers; or there is no utterance
    """
    frame = reader.read(root, settings)
    notes, forms = frame.attrs.pop("notes", []), identity.normalise(frame)
    marks = sum(count_marks(text) for text in frame["reference_text"] if isinstance(text, str))
    if marks:
        counted = f"{marks} marks in brackets, [LAUGHTER] for example, are words to a text expert"
        notes.append(f"{counted}; error rates leave them out.")
    frame = frame.sort_values(["utterance_id", "audio"], kind="stable").reset_index(drop=True)
    if frame.empty:
        raise InputError(f"{root}: reader {settings.reader} reads no utterance (corpus.reader, corpus.root)")
    unreadable = frame["reject"].map(lambda reason: losses.word(str(reason)) in items.UNREADABLE)
    good, bad = (frame[rows].reset_index(drop=True) for rows in (~unreadable, unreadable))
    return good, bad, notes, forms


def _split(frame: pd.DataFrame, settings: CorpusSettings, custom: layout.Custom, labels: Sequence[str]) -> pd.Series:
    """Return the split of each row, drawn once for all copies of an utterance."""
    if settings.split.method == "folds":
        return pd.Series(folds.split(frame), dtype=object)
    once = frame.drop_duplicates("utterance_id").reset_index(drop=True)
    of_once = pd.Series(splits.split(once, settings.split, custom, labels), dtype=object)
    if of_once.equals(once["split"]):  # not drawn: rows that contradict each other keep their own
        return pd.Series(splits.split(frame, settings.split, custom, labels), dtype=object)
    return frame["utterance_id"].map(of_once.set_axis(once["utterance_id"])).astype(object)


def _exclude(root: Path, frame: pd.DataFrame, unreadable: pd.DataFrame, excluded: Sequence[str]) -> None:
    """Mark utterances that the settings leave out, in place.

    Raises:
        InputError: the corpus lacks one of them
    """
    excluded = [identity.composed(name) for name in excluded]
    known = [*frame["utterance_id"], *unreadable["utterance_id"]]
    unknown = sorted({*excluded} - {*known})
    if unknown:
        near = get_close_matches(unknown[0], known, n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"{root}: corpus.exclude names {unknown[0]!r}, which no utterance is{meant}")
    for rows in (frame, unreadable):
        rows.loc[rows["utterance_id"].isin(excluded), "reject"] = "excluded: corpus.exclude names it"


def _without_bad(
    frame: pd.DataFrame,
    unreadable: pd.DataFrame,
    root: Path,
    settings: CorpusSettings,
    sums: Mapping[str, str] | None,
    workers: int,
) -> tuple[pd.DataFrame, pd.DataFrame, list[str], dict[str, int], rest.Rest]:
    """Return the usable rows, the quarantine, each of its rows' short reason, counts of the good, and text alone.

    Raises:
        InputError: more is lost than ``corpus.max_quarantined`` allows
    """
    near = _find_paths(root, frame)
    rest.reject_without_audio(frame)
    to_open = (frame["audio"].notna() & frame["reject"].isna()).to_numpy()
    paths, parts = frame["audio"][to_open].tolist(), segments.times(frame[to_open])
    limits = checking.Limits(settings.min_duration_s, settings.max_duration_s, settings.max_clipped_share)
    checked = checking.check_all(root, paths, limits, workers, sums, parts) if paths else []
    frame.loc[to_open, "duration_s"] = [np.nan if c.duration_s is None else c.duration_s for c in checked]
    frame.loc[to_open, "audio_sha256"] = [c.sha256 for c in checked]
    frame.loc[to_open, "reject"] = [
        f"{c.message} ({near[path]})" if path in near and c.reason == "missing" else c.message
        for path, c in zip(paths, checked, strict=True)
    ]
    for name in ("sound", "fingerprint"):
        values = iter(checked)
        column = [getattr(next(values), name) if opened else None for opened in to_open]
        frame[name] = pd.Series(column, index=frame.index, dtype=object)
    again = copies.settle(root, frame)
    named = frame["audio"].notna() & ~again
    text_alone = rest.keep(frame, to_open & ~again, settings.on_bad)
    losses.check_recordings(root, frame[named], text_alone.recordings, settings.max_quarantined)
    lost = ~again | (frame["reject"].map(lambda reason: losses.word(str(reason))) == copies.CONTRADICTORY)
    losses.check(root, pd.concat([frame[lost], unreadable], ignore_index=True), settings.max_quarantined)
    frame = pd.concat([frame, unreadable], ignore_index=True)
    bad = frame["reject"].notna()
    rows = frame[bad]
    quarantine = pd.DataFrame(
        {"utterance_id": rows["utterance_id"], "file": rows["audio"], "stage": "corpus", "reason": rows["reject"]}
    )
    kept = frame[~bad].reset_index(drop=True)
    if kept.empty:
        raise InputError(f"{root}: all {len(frame)} utterances are unusable, the first: {rows['reject'].iloc[0]}")
    kept_rows = (frame["reject"].isna() & frame["audio"].notna())[: len(to_open)].to_numpy()[to_open]
    good = [result for is_kept, result in zip(kept_rows, checked, strict=True) if is_kept]
    recordings = {
        "clipped_recordings": sum(result.clipped > CLIPPED for result in good),
        "centre_recordings": sum(result.mixing == "centre" for result in good),
        "one_channel_recordings": sum(result.mixing == "loudest" for result in good),
    }
    words = [losses.word(reason) for reason in rows["reject"]]
    return kept, quarantine.reset_index(drop=True), words, recordings, text_alone


def _find_paths(root: Path, frame: pd.DataFrame) -> dict[str, str]:
    """Bring paths into the Unicode form that they have on the disk, in place; return hints on missing ones."""
    same, near = identity.find_paths(root, frame["audio"].dropna())
    frame["audio"] = pd.Series([same.get(path, path) for path in frame["audio"]], index=frame.index, dtype=object)
    return near


def _with_subsets(
    frame: pd.DataFrame, labels: Sequence[str], settings: CorpusSettings
) -> tuple[pd.DataFrame, dict[str, int], list[str]]:
    """Return the frame with subsets, the labels of which dev_bal has too few, and warnings on folds."""
    if settings.split.method == "folds":
        frame = frame.assign(fold=folds.keep_copies_together(frame))
        folds.check(frame, labels)
        added, short, messages = folds.with_subsets(frame, settings, labels)
        every = [sorted({*names, *more}) for names, more in zip(frame["subsets"], added, strict=True)]
        messages = [*folds.warnings(frame, settings.split, labels), *messages]
        return frame.assign(subsets=pd.Series(every, dtype=object)), short, messages
    filtered = subsets.dev_filt(frame, labels)
    balanced, short = subsets.dev_bal(frame, labels, settings.dev_bal)
    named = [
        sorted({*names, *(["dev_filt"] if filt else []), *(["dev_bal"] if bal else [])})
        for names, filt, bal in zip(frame["subsets"], filtered, balanced, strict=True)
    ]
    return frame.assign(subsets=pd.Series(named, dtype=object)), short, []


def _count_warnings(frame: pd.DataFrame, settings: CorpusSettings, short: Mapping[str, int]) -> list[str]:
    warnings = []
    is_folded = settings.split.method == "folds"
    if short and (is_folded or (frame["split"] == "dev").any()):
        counts = ", ".join(f"{label} {n}" for label, n in short.items())
        warnings.append(
            f"dev_bal expects {settings.dev_bal.per_class} of each label and takes what there is: {counts}."
        )
    slow = sum(bool(start) and file.lower().endswith((".mp3", ".opus")) for file, (start, _) in segments.named(frame))
    if slow:
        warnings.append(
            f"{slow} utterances are parts of MP3 or Opus recordings, which every stage decodes from their beginning;"
            " convert them to FLAC or WAV where that takes too long."
        )
    cut = frame[frame["split"] != "unlabelled"]
    nameless = int(cut["speaker"].isna().sum())
    if nameless and cut["split"].nunique() > 1:
        warnings.append(f"{nameless} utterances have no speaker: whether it is in two splits was not checked for them.")
    missing = [name for name in splits.PARTS if name not in set(frame["split"])]
    if missing and not is_folded:
        warnings.append(f"no utterance is in {' or '.join(missing)}.")
    return warnings


def _channel_warnings(recordings: Mapping[str, int]) -> list[str]:
    centre, one = recordings["centre_recordings"], recordings["one_channel_recordings"]
    lines = [f"{centre} recordings are surround sound, whose centre channel was taken."] if centre else []
    if one:
        lines.append(f"{one} recordings have channels that cancel or are empty; their loudest channel was taken.")
    return lines

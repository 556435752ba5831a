"""Read a corpus, cut it, check every recording, and say what it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pipeline_lib import segments
from pipeline_lib.corpus import (
    checking,
    checksums,
    crema_d,
    emodb,
    iemocap,
    layout,
    meld,
    msp_podcast,
    nemo,
    ravdess,
    rest,
    splits,
    subsets,
    table,
    tess,
)
from pipeline_lib.corpus.describe import describe
from pipeline_lib.corpus.settings import CorpusSettings, check_root
from pipeline_lib.errors import InputError
from pipeline_lib.labels import ATTRIBUTES, PRIMARY, PSEUDO
from pipeline_lib.tables.manifest import Manifest

READERS = {
    "ravdess": ravdess,
    "emodb": emodb,
    "crema_d": crema_d,
    "nemo": nemo,
    "tess": tess,
    "msp_podcast": msp_podcast,
    "iemocap": iemocap,
    "meld": meld,
    "table": table,
}
CLIPPED = 1e-3  # share of samples at full scale from which a recording is counted as clipped


@dataclass(frozen=True)
class Collected:
    """A corpus ready for the stages.

    Attributes:
        manifest: what can be used
        quarantine: what cannot: utterance_id, file, stage, reason
        metrics: counts for metrics/corpus.json
    """

    manifest: Manifest
    quarantine: pd.DataFrame
    metrics: dict[str, Any]


def collect(settings: CorpusSettings) -> Collected:
    """Return the corpus that the settings name.

    Everything that stops the run is looked at before the first recording is opened, then once more without those that
    were refused.

    Raises:
        InputError: see the readers; labels that nothing has, speakers in train and test
    """
    check_root(settings)
    reader, root = READERS[settings.reader], Path(settings.root)
    sums = checksums.read(root)
    checksums.check_labels(root, sums or {})
    frame = reader.read(root, settings).sort_values(["utterance_id", "audio"], kind="stable").reset_index(drop=True)
    notes = frame.attrs.pop("notes", [])
    if frame.empty:
        raise InputError(f"{root}: reader {settings.reader} found no utterance (corpus.reader, corpus.root)")
    n_read = len(frame)
    _exclude(root, frame, settings.exclude)
    scale = settings.attribute_scale or reader.CUSTOM.attribute_scale
    _check_scale(root, frame, scale)
    _check_merge(frame, settings.merge or {})
    frame = merged(frame, _merge(reader.CUSTOM, settings))
    labels = _labels(frame, reader.CUSTOM, settings)
    frame["split"] = splits.split(frame, settings.split, reader.CUSTOM)
    if settings.split.folds:
        added = splits.folds(frame, settings.split.folds)
        frame["subsets"] = [[*names, fold] for names, fold in zip(frame["subsets"], added, strict=True)]
    check_labels(frame, labels)
    warnings = _leak_warnings(frame, settings, reader.CUSTOM)
    frame, quarantine, words, recordings, text_alone = _without_bad(frame, root, settings, sums)
    check_labels(frame, labels)
    if n_read != len(frame) + len(quarantine):
        raise AssertionError(f"{n_read} rows read, {len(frame)} kept and {len(quarantine)} quarantined")
    quarantine = pd.concat([quarantine, text_alone.recordings], ignore_index=True)
    frame, short = _with_subsets(frame, labels, settings)
    notice = " ".join(part for part in (settings.notice, *warnings) if part)
    warnings += [*_count_warnings(frame, settings, short), *_channel_warnings(recordings)]
    warnings += [*text_alone.warnings, *notes]
    manifest = Manifest(
        frame.drop(columns=["group", "reject"]), settings.name or settings.reader, labels, (scale[0], scale[1]), notice
    )
    metrics = describe(manifest, words, warnings, recordings) | {"text_alone": text_alone.reasons}
    return Collected(manifest, quarantine, metrics)


def merged(frame: pd.DataFrame, merge: Mapping[str, str]) -> pd.DataFrame:
    """Return the frame with each emotion and vote counted as ``merge`` says."""
    if not merge:
        return frame
    emotions = frame["emotion"].map(lambda emotion: merge.get(emotion, emotion) if emotion else None)
    votes = frame["votes"].map(lambda cast: _merged_votes(cast, merge) if isinstance(cast, dict) else None)
    return frame.assign(emotion=emotions.astype(object), votes=votes.astype(object))


def check_labels(frame: pd.DataFrame, labels: Sequence[str]) -> None:
    """Refuse labels on which nothing could be trained.

    Raises:
        InputError: a label that no utterance has, or none of the split train
    """
    found = sorted(frame["emotion"].dropna().unique())
    train = frame["split"] == "train"
    for label in labels:
        if label not in found:
            near = get_close_matches(label, found, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(f"label {label!r} is on no utterance{meant}; corpus.labels may name {found}")
        if train.any() and not (train & (frame["emotion"] == label)).any():
            raise InputError(
                f"label {label!r} has no utterance in train, so nothing can learn it; leave it out of corpus.labels,"
                " merge it, or cut the corpus otherwise (corpus.split)"
            )


def _exclude(root: Path, frame: pd.DataFrame, excluded: Sequence[str]) -> None:
    """Mark utterances that the settings leave out, in place.

    Raises:
        InputError: one of them is not there
    """
    unknown = sorted({*excluded} - {*frame["utterance_id"]})
    if unknown:
        near = get_close_matches(unknown[0], frame["utterance_id"].tolist(), n=1)
        meant = f" (did you mean {near[0]!r}?)" if near else ""
        raise InputError(f"{root}: corpus.exclude names {unknown[0]!r}, which no utterance is{meant}")
    frame.loc[frame["utterance_id"].isin(excluded), "reject"] = "excluded: corpus.exclude names it"


def _check_scale(root: Path, frame: pd.DataFrame, scale: Sequence[float]) -> None:
    for name in ATTRIBUTES:
        off = frame[(frame[name] < scale[0]) | (frame[name] > scale[1])]
        if len(off):
            first = f"of {off['utterance_id'].iloc[0]!r} {name} is {off[name].iloc[0]:g}"
            raise InputError(
                f"{root}: {first}, the corpus's scale goes from {scale[0]:g} to {scale[1]:g} ({len(off)} utterances)"
            )


def _check_merge(frame: pd.DataFrame, merge: Mapping[str, str]) -> None:
    voted = {label for cast in frame["votes"] if isinstance(cast, dict) for label in cast}
    known = sorted({*frame["emotion"].dropna(), *voted})
    for old in merge:
        if old not in known:
            near = get_close_matches(old, known, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(f"corpus.merge names {old!r}, which is on no utterance{meant}; the corpus has {known}")


def _merge(custom: layout.Custom, settings: CorpusSettings) -> dict[str, str]:
    """Return what is to be merged; the corpus's custom yields to labels that are named."""
    if settings.merge is not None:
        return settings.merge
    return {old: new for old, new in custom.merge.items() if old not in (settings.labels or [])}


def _labels(frame: pd.DataFrame, custom: layout.Custom, settings: CorpusSettings) -> tuple[str, ...]:
    """Return the scored emotions in order: the settings', the corpus's own, or what the data hold."""
    merge = _merge(custom, settings)
    if settings.labels is not None:
        return tuple(settings.labels)
    if custom.labels is not None:
        return tuple(dict.fromkeys(merge.get(label, label) for label in custom.labels))
    found = {*frame["emotion"].dropna()} - {*PSEUDO}
    return (*(label for label in PRIMARY if label in found), *sorted(found - {*PRIMARY}))


def _leak_warnings(frame: pd.DataFrame, settings: CorpusSettings, custom: layout.Custom) -> list[str]:
    """Return what every report must say of speakers that cross splits.

    Raises:
        InputError: they do, and neither the settings nor the corpus's official protocol allow it
    """
    crossing = splits.leaks(frame)
    if not crossing:
        return []
    if custom.leak and settings.split.method in (None, "official"):
        return [custom.leak]
    if settings.allow_speaker_leak:
        return [
            f"{len(crossing)} speakers have utterances in two of train, dev and test: scores hold for known voices."
        ]
    named = ", ".join(crossing[:5]) + (" ..." if len(crossing) > 5 else "")
    raise InputError(
        f"{len(crossing)} speakers have utterances in two of train, dev and test: {named}. Cut by speaker"
        " (corpus.split.method: speakers), or set corpus.allow_speaker_leak: true and every report will say so"
    )


def _without_bad(
    frame: pd.DataFrame, root: Path, settings: CorpusSettings, sums: Mapping[str, str] | None
) -> tuple[pd.DataFrame, pd.DataFrame, list[str], dict[str, int], rest.Rest]:
    """Return the usable rows, the quarantine, each of its rows' short reason, counts of the good, and text alone."""
    twice = frame["utterance_id"].duplicated()  # sorted by path: the first copy stays
    frame.loc[twice, "reject"] = "duplicate utterance_id: another recording or row has it already"
    rest.reject_without_audio(frame)
    to_open = (frame["audio"].notna() & frame["reject"].isna()).to_numpy()
    paths, parts = frame["audio"][to_open].tolist(), segments.times(frame[to_open])
    limits = checking.Limits(settings.min_duration_s, settings.max_duration_s, settings.max_clipped_share)
    checked = checking.check_all(root, paths, limits, settings.workers, sums, parts) if paths else []
    frame.loc[to_open, "duration_s"] = [np.nan if c.duration_s is None else c.duration_s for c in checked]
    frame.loc[to_open, "audio_sha256"] = [c.sha256 for c in checked]
    frame.loc[to_open, "reject"] = [c.message for c in checked]
    text_alone = rest.keep(frame, to_open, settings.on_bad)
    bad = frame["reject"].notna()
    rows = frame[bad]
    quarantine = pd.DataFrame(
        {"utterance_id": rows["utterance_id"], "file": rows["audio"], "stage": "corpus", "reason": rows["reject"]}
    )
    kept = frame[~bad].reset_index(drop=True)
    if kept.empty:
        raise InputError(f"{root}: all {len(frame)} utterances are unusable, the first: {rows['reject'].iloc[0]}")
    good = [each for each in checked if each.reason is None]
    recordings = {
        "clipped_recordings": sum(each.clipped > CLIPPED for each in good),
        "centre_recordings": sum(each.mixing == "centre" for each in good),
        "one_channel_recordings": sum(each.mixing == "loudest" for each in good),
    }
    words = [reason.partition(":")[0] for reason in rows["reject"]]
    return kept, quarantine.reset_index(drop=True), words, recordings, text_alone


def _with_subsets(
    frame: pd.DataFrame, labels: Sequence[str], settings: CorpusSettings
) -> tuple[pd.DataFrame, dict[str, int]]:
    filtered = subsets.dev_filt(frame, labels)
    balanced, short = subsets.dev_bal(frame, labels, settings.dev_bal)
    named = [
        sorted({*names, *(["dev_filt"] if filt else []), *(["dev_bal"] if bal else [])})
        for names, filt, bal in zip(frame["subsets"], filtered, balanced, strict=True)
    ]
    return frame.assign(subsets=pd.Series(named, dtype=object)), short


def _count_warnings(frame: pd.DataFrame, settings: CorpusSettings, short: Mapping[str, int]) -> list[str]:
    found = []
    if short and (frame["split"] == "dev").any():
        counts = ", ".join(f"{label} {n}" for label, n in short.items())
        found.append(f"dev_bal wants {settings.dev_bal.per_class} of each label and takes what there is: {counts}.")
    slow = sum(bool(start) and file.lower().endswith((".mp3", ".opus")) for file, (start, _) in segments.named(frame))
    if slow:
        found.append(
            f"{slow} utterances are parts of MP3 or Opus recordings, which every stage decodes from their beginning;"
            " convert them to FLAC or WAV where that takes too long."
        )
    missing = [name for name in ("train", "dev", "test") if name not in set(frame["split"])]
    if missing:
        found.append(f"no utterance is in {' or '.join(missing)}.")
    return found


def _channel_warnings(recordings: Mapping[str, int]) -> list[str]:
    centre, one = recordings["centre_recordings"], recordings["one_channel_recordings"]
    lines = [f"{centre} recordings are surround sound, whose centre channel was taken."] if centre else []
    if one:
        lines.append(f"{one} recordings have channels that cancel or are empty; their loudest channel was taken.")
    return lines


def _merged_votes(cast: Mapping[str, int], merge: Mapping[str, str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for label, n in cast.items():
        label = merge.get(label, label)
        counts[label] = counts.get(label, 0) + n
    return counts

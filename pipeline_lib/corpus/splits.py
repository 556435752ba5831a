"""Split utterances into train, dev and test without a speaker in two of them; list speakers that are."""

import re
from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd

from pipeline_lib.corpus.identity import composed
from pipeline_lib.corpus.layout import Custom
from pipeline_lib.errors import InputError
from pipeline_lib.params.corpus import SplitSettings

SCORED = re.compile(r"test\d*")


def split(frame: pd.DataFrame, settings: SplitSettings, custom: Custom) -> np.ndarray:
    """Return the split of each row.

    Args:
        frame: see ``layout``
        settings: method, shares, speakers and seed
        custom: the reader's defaults, among them the usual test speakers

    Returns:
        names of splits, object, shape ``(n,)``

    Raises:
        InputError: a row has no split or speaker, a named speaker does not exist, or there are too few of them
    """
    has = frame["split"].notna()
    method = settings.method or ("official" if has.any() and not settings.test_speakers else "speakers")
    if method == "random":
        return _random(frame, settings)
    if method == "speakers":
        return _by_speakers(frame, settings, custom)
    if not has.all():
        first = frame["utterance_id"][~has].iloc[0]
        raise InputError(f"{(~has).sum()} utterances have no split, {first!r} first (corpus.split.method: {method})")
    return frame["split"].to_numpy(dtype=object)


def folds(frame: pd.DataFrame, k: int) -> list[str]:
    """Return each row's fold, ``fold0`` ... ``fold{k-1}``; speakers, dealt by gender, never cross.

    Folds are made of groups where the corpus has at least ``k`` (IEMOCAP's sessions), of speakers otherwise.

    Args:
        frame: see ``layout``
        k: number of folds

    Raises:
        InputError: fewer than ``k`` speakers, or a row without speaker
    """
    units = _units(frame, "corpus.split.folds")
    if units.nunique() < k:
        units = _known_speakers(frame, "corpus.split.folds")
    if units.nunique() < k:
        raise InputError(f"corpus.split.folds is {k}, the corpus has {units.nunique()} speakers")
    dealt = [unit for stratum in _strata(frame, units).values() for unit in stratum]
    fold_of = {unit: f"fold{i % k}" for i, unit in enumerate(dealt)}
    return [fold_of[unit] for unit in units]


def leaks(frame: pd.DataFrame) -> list[str]:
    """Return the speakers with utterances in two of train, dev and test; tests may share speakers among themselves.

    Rows without a speaker, and the split ``unlabelled``, are left out.
    """
    kinds = frame["split"].map(lambda name: "test" if SCORED.fullmatch(name) else name)
    inside = kinds.isin(["train", "dev", "test"]) & frame["speaker"].notna()
    counts = kinds[inside].groupby(frame["speaker"][inside]).nunique()
    return sorted(counts.index[counts > 1])


def _by_speakers(frame: pd.DataFrame, settings: SplitSettings, custom: Custom) -> np.ndarray:
    speakers = _known_speakers(frame, "corpus.split.method 'speakers'")
    drawn = not (settings.test_speakers or settings.dev_speakers)
    test = _named("test_speakers", settings.test_speakers or (custom.test_speakers if drawn else ()), speakers)
    dev = _named("dev_speakers", settings.dev_speakers or (custom.dev_speakers if drawn else ()), speakers)
    units = _units(frame, "corpus.split.method 'speakers'")
    taken = {*units[speakers.isin(test)], *units[speakers.isin(dev)]}
    free = {
        gender: [u for u in stratum if u not in taken]
        for gender, stratum in _strata(frame, units, settings.seed).items()
    }
    n = units.nunique()
    chosen = {"test": speakers.isin(test), "dev": speakers.isin(dev)}
    for name, share in (("test", settings.shares.test), ("dev", settings.shares.dev)):
        if not chosen[name].any():
            chosen[name] = units.isin(_draw(free, max(1, round(share * n))))
    result = np.full(len(frame), "train", dtype=object)
    for name, rows in chosen.items():
        result[rows.to_numpy()] = name
    empty = [name for name in ("train", "dev", "test") if name not in result]
    if empty:
        raise InputError(
            f"{n} speakers are too few for train, dev and test, nothing is left for {empty[0]}; to cut through speakers"
            " set corpus.split.method: random and corpus.allow_speaker_leak: true"
        )
    return result


def _random(frame: pd.DataFrame, settings: SplitSettings) -> np.ndarray:
    """Draw utterances of each emotion; speakers of several utterances may cross splits."""
    result = np.full(len(frame), "train", dtype=object)
    emotions = frame["emotion"].fillna("").to_numpy(dtype=object)
    order = np.argsort(frame["utterance_id"].to_numpy(dtype=str), kind="stable")
    for i, emotion in enumerate(sorted(set(emotions))):
        rows = np.random.default_rng([settings.seed, i]).permutation(order[emotions[order] == emotion])
        n_test, n_dev = (round(share * len(rows)) for share in (settings.shares.test, settings.shares.dev))
        result[rows[:n_test]] = "test"
        result[rows[n_test : n_test + n_dev]] = "dev"
    return result


def _strata(frame: pd.DataFrame, units: pd.Series, seed: int = 0) -> dict[str, list[str]]:
    """Return each gender's units, shuffled; a unit of several genders (a session) is a stratum of its own kind."""
    genders = frame["gender"].fillna("unknown").groupby(units).agg(lambda g: "+".join(sorted(set(g))))
    strata = {}
    for i, gender in enumerate(sorted(genders.unique())):
        names = sorted(genders.index[genders == gender])
        strata[gender] = [names[j] for j in np.random.default_rng([seed, i]).permutation(len(names))]
    return strata


def _draw(free: dict[str, list[str]], n: int) -> list[str]:
    """Take ``n`` units out of ``free``, from each stratum its share by largest remainder."""
    total = sum(map(len, free.values()))
    shares = {gender: min(n, total) * len(stratum) / total for gender, stratum in free.items() if stratum}
    counts = {gender: int(share) for gender, share in shares.items()}
    for gender in sorted(shares, key=lambda g: (counts[g] - shares[g], g))[: min(n, total) - sum(counts.values())]:
        counts[gender] += 1
    drawn = []
    for gender, count in counts.items():
        drawn += free[gender][:count]
        free[gender] = free[gender][count:]
    return drawn


def _units(frame: pd.DataFrame, what: str) -> pd.Series:
    return frame["group"] if frame["group"].notna().all() else _known_speakers(frame, what)


def _known_speakers(frame: pd.DataFrame, what: str) -> pd.Series:
    unknown = frame["speaker"].isna()
    if unknown.any():
        first = frame["utterance_id"][unknown].iloc[0]
        raise InputError(f"{what} needs every speaker; {unknown.sum()} utterances have none, {first!r} first")
    return frame["speaker"]


def _named(key: str, names: Sequence[str], speakers: pd.Series) -> list[str]:
    known, names = sorted(speakers.unique()), [composed(name) for name in names]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f" (did you mean {near[0]!r}?)" if near else ""
            raise InputError(
                f"corpus.split.{key} names {name!r}, who is not in the corpus{meant}; speakers are {known}"
            )
    return names

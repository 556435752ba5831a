"""Split utterances into train, dev and test without a speaker in two of them, and without a label lacking in any."""

from collections.abc import Sequence
from difflib import get_close_matches

import numpy as np
import pandas as pd

from pipeline_lib.corpus import allocation
from pipeline_lib.corpus.identity import composed
from pipeline_lib.corpus.layout import Custom
from pipeline_lib.errors import InputError
from pipeline_lib.params.split import SplitSettings

PARTS = ("train", "dev", "test")
CLOSE = 0.1  # a drawn set is taken as it is where at most this share of it would have to have another label
CUT = "to cut through speakers set corpus.split.method: random and corpus.allow_speaker_leak: true"


def split(frame: pd.DataFrame, settings: SplitSettings, custom: Custom, labels: Sequence[str] = ()) -> np.ndarray:
    """Return the split of each row.

    Args:
        frame: see ``layout``
        settings: method, shares, speakers and seed; not those of method folds
        custom: the reader's defaults, among them the usual test speakers
        labels: scored emotions; those that utterances have are in every set that is drawn

    Returns:
        names of splits, object, shape ``(n,)``

    Raises:
        InputError: a row has no split or speaker, a named speaker does not exist, there are too few of them, or a set
            that is drawn lacks a label
    """
    has = frame["split"].notna()
    method = settings.method or ("official" if has.any() and not settings.test_speakers else "speakers")
    if method == "random":
        return _random(frame, settings, labels)
    if method == "speakers":
        return _by_speakers(frame, settings, custom, labels)
    if not has.all():
        first = frame["utterance_id"][~has].iloc[0]
        raise InputError(f"{(~has).sum()} utterances have no split, {first!r} first (corpus.split.method: {method})")
    return frame["split"].to_numpy(dtype=object)


def units_of_draw(frame: pd.DataFrame, what: str) -> pd.Series:
    """Return what is drawn as a whole: each row's group where all rows have one, its speaker elsewhere.

    Args:
        frame: see ``layout``
        what: draws them, for the message

    Raises:
        InputError: a row has no speaker
    """
    return frame["group"] if frame["group"].notna().all() else known_speakers(frame, what)


def known_speakers(frame: pd.DataFrame, what: str) -> pd.Series:
    """Return each row's speaker.

    Args:
        frame: see ``layout``
        what: needs them, for the message

    Raises:
        InputError: a row has none
    """
    unknown = frame["speaker"].isna()
    if unknown.any():
        first = frame["utterance_id"][unknown].iloc[0]
        raise InputError(f"{what} needs every speaker; {unknown.sum()} utterances have none, {first!r} first")
    return frame["speaker"]


def carried(frame: pd.DataFrame, units: pd.Series, labels: Sequence[str], what: str = "speakers") -> str:
    """Return the number of utterances and units of labels: "fear 3 of 1 speakers (anna)".

    Args:
        frame: with ``emotion``
        units: name of each row's unit
        labels: that are listed
        what: the units are
    """
    listed = []
    for label in labels:
        names = sorted(set(units[frame["emotion"] == label]))
        shown = f" ({', '.join(names)})" if len(names) <= 3 else ""
        listed.append(f"{label} {(frame['emotion'] == label).sum()} of {len(names)} {what}{shown}")
    return ", ".join(listed)


def _by_speakers(frame: pd.DataFrame, settings: SplitSettings, custom: Custom, labels: Sequence[str]) -> np.ndarray:
    speakers = known_speakers(frame, "corpus.split.method 'speakers'")
    drawn = not (settings.test_speakers or settings.dev_speakers)
    test = _named("test_speakers", settings.test_speakers or (custom.test_speakers if drawn else ()), speakers)
    dev = _named("dev_speakers", settings.dev_speakers or (custom.dev_speakers if drawn else ()), speakers)
    units = units_of_draw(frame, "corpus.split.method 'speakers'")
    taken = {*units[speakers.isin(test)], *units[speakers.isin(dev)]}
    free = {
        gender: [u for u in stratum if u not in taken]
        for gender, stratum in _strata(frame, units, settings.seed).items()
    }
    n = units.nunique()
    chosen = {"test": speakers.isin(test), "dev": speakers.isin(dev)}
    given = [name for name, rows in chosen.items() if rows.any()]
    for name, share in (("test", settings.shares.test), ("dev", settings.shares.dev)):
        if name not in given:
            chosen[name] = units.isin(_draw(free, max(1, round(share * n))))
    result = np.full(len(frame), "train", dtype=object)
    for name, rows in chosen.items():
        result[rows.to_numpy()] = name
    empty = [name for name in PARTS if name not in result]
    if empty:
        raise InputError(f"{n} speakers are too few for train, dev and test, nothing is left for {empty[0]}; {CUT}")
    return _with_every_label(frame, units, result, given, labels, settings)


def _with_every_label(
    frame: pd.DataFrame,
    names: pd.Series,
    result: np.ndarray,
    given: Sequence[str],
    labels: Sequence[str],
    settings: SplitSettings,
) -> np.ndarray:
    """Return the draw as it is where its sets have the corpus's labels, else the one nearest to these.

    As many units are taken as the shares say, more where these cannot have every label, up to two thirds of all.

    Raises:
        InputError: no draw has every label in train and in the sets that are drawn
    """
    units = allocation.units_of(frame, names, labels)
    rows = units.rows(names)
    parts = np.zeros(len(units.names), dtype=np.int64)
    parts[rows] = [PARTS.index(name) for name in result]
    if not (cut := _drawn(result, given)) or _is_close(units, parts, cut):
        return result
    free = ~np.isin(parts, [PARTS.index(name) for name in given])
    checked = [0, *(PARTS.index(name) for name in cut)]
    shares = (1 - settings.shares.dev - settings.shares.test, settings.shares.dev, settings.shares.test)
    while True:
        assigned = allocation.allocate(units, shares, parts, free, keep_sizes=True, seed=settings.seed)
        lacks = allocation.lacking(units, assigned, len(PARTS))[checked]
        if not lacks.any():
            return np.array(PARTS, dtype=object)[assigned[rows]]
        grown = _grown(assigned, free, checked[1:], settings.seed)
        if grown is None:
            break
        parts = grown
    lacked = [labels[int(i)] for i in np.flatnonzero(lacks.any(axis=0))]
    raise InputError(
        f"no draw of {len(units.names)} speakers has every label in train and in {' and '.join(cut)}:"
        f" {carried(frame, names, lacked)}; expected {len(checked)} speakers of each label or more. Leave such a label"
        f" out (corpus.labels), merge it (corpus.merge), take folds (corpus.split.method: folds), or, {CUT}"
    )


def _drawn(result: np.ndarray, given: Sequence[str]) -> list[str]:
    return [name for name in ("dev", "test") if name not in given and name in result]


def _is_close(units: allocation.Units, parts: np.ndarray, drawn: Sequence[str]) -> bool:
    """Return whether no set lacks a label, and those drawn have each label in nearly the corpus's share.

    The distance is the total variation, half the sum of the differences of shares.
    """
    totals = units.labels.sum(axis=0)
    checked = [0, *(PARTS.index(name) for name in drawn)]
    if not totals.sum():
        return True
    if allocation.lacking(units, parts, len(PARTS))[checked].any():
        return False
    counts = [units.labels[parts == part].sum(axis=0) for part in checked[1:]]
    return all(np.abs(each / each.sum() - totals / totals.sum()).sum() / 2 <= CLOSE for each in counts)


def _grown(parts: np.ndarray, free: np.ndarray, drawn: Sequence[int], seed: int) -> np.ndarray | None:
    """Return the assignment with one unit more of train in each drawn set, None where train would become too small."""
    train = np.flatnonzero((parts == 0) & free)
    if 3 * ((parts == 0).sum() - len(drawn)) < len(parts) or len(train) <= len(drawn):
        return None
    result = parts.copy()
    result[np.random.default_rng([seed, len(train)]).permutation(train)[: len(drawn)]] = drawn
    return result


def _random(frame: pd.DataFrame, settings: SplitSettings, labels: Sequence[str]) -> np.ndarray:
    """Draw utterances of each emotion; speakers of several utterances may cross splits."""
    result = np.full(len(frame), "train", dtype=object)
    emotions = frame["emotion"].fillna("").to_numpy(dtype=object)
    order = np.argsort(frame["utterance_id"].to_numpy(dtype=str), kind="stable")
    least = dict.fromkeys(labels, 1)  # of a scored label in dev and in test
    for i, emotion in enumerate(sorted(set(emotions))):
        rows = np.random.default_rng([settings.seed, i]).permutation(order[emotions[order] == emotion])
        if emotion in least and len(rows) < len(PARTS):
            raise InputError(
                f"label {emotion!r} has {len(rows)} utterances, expected one or more in each of train, dev and test:"
                " leave it out of corpus.labels, or merge it (corpus.merge)"
            )
        n_test, n_dev = (
            max(least.get(emotion, 0), round(share * len(rows)))
            for share in (settings.shares.test, settings.shares.dev)
        )
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

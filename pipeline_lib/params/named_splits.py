"""Splits and subsets that params.yaml names, and whether something is fitted or chosen on them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pipeline_lib.params.scoring import ComparisonSettings

TEST = "test"  # a split whose name begins so is scored only


@dataclass(frozen=True)
class Named:
    """A split or subset that params.yaml names.

    Attributes:
        where: dotted name of the key
        name: of the split or subset
        is_tuned_on: whether something is fitted or chosen on its labels
        may_be_test: whether ``allow_test_tuning`` beside the key is true
        in_folds: whether the key is read once a fold, by the names of the fold's view
    """

    where: str
    name: str
    is_tuned_on: bool = False
    may_be_test: bool = False
    in_folds: bool = False


def named(values: Mapping[str, Any]) -> Iterator[Named]:
    """Yield the splits and subsets that are named where they are read; what is malformed is left to the sections.

    Args:
        values: of params.yaml as read, or of its sections with their defaults
    """
    for each in _named(values):
        if isinstance(each.name, str):
            yield each


def on_test(each: Named, held_out: Sequence[str] = ()) -> str:
    """Return the message about a test split that would be tuned on.

    Args:
        each: the name
        held_out: test splits that it shares utterances with; none where it is one by its name
    """
    what = f"which shares utterances with {[*held_out]}" if held_out else "a test split"
    key = each.where.rpartition(".")[2]
    return (
        f"{each.where} is {each.name!r}, {what}; expected development data, 'dev' or a subset of it, since a score on"
        f" what was tuned on is no test score (the split that is scored, in place of the one to tune on?); set {key} to"
        " 'dev' or a subset of it, or allow_test_tuning: true beside it, which every report says"
    )


def meant(name: str, known: Sequence[str]) -> str:
    """Return which name was probably meant, for a message; empty where none is near.

    Args:
        name: as it stands
        known: names
    """
    near = get_close_matches(name, known, n=1)  # names of splits are short: one letter weighs more than in a key
    return f" (did you mean {near[0]!r}?)" if near else ""


def _named(values: Mapping[str, Any]) -> Iterator[Named]:
    scoring, fusion = _section(values, "scoring"), _section(values, "fusion")
    splits, comparison = scoring.get("splits"), _section(scoring, "comparison")
    yield from (Named("scoring.splits", name) for name in (splits if isinstance(splits, list) else []))
    against = comparison.get("against", ComparisonSettings().against)
    if isinstance(against, list) and len(against) > 1 and "chosen_on" in comparison:
        tuned = {"is_tuned_on": True, "may_be_test": comparison.get("allow_test_tuning") is True}
        yield Named("scoring.comparison.chosen_on", comparison["chosen_on"], **tuned)
    if (on := _section(scoring, "expected").get("on")) is not None:
        yield Named("scoring.expected.on", on)
    experts, biases = fusion.get("experts"), _section(fusion, "class_biases").get("objective", "none")
    if isinstance(experts, list) and (len(experts) > 1 or biases != "none") and "tuning" in fusion:
        tuned = {"is_tuned_on": True, "may_be_test": fusion.get("allow_test_tuning") is True}
        yield Named("fusion.tuning", fusion["tuning"], **tuned, in_folds=fusion.get("folds") is True)
    for name in _section(values, "rebalancing"):
        yield from _named_by_entry(f"rebalancing.{name}", _section(_section(values, "rebalancing"), name))


def _named_by_entry(where: str, entry: Mapping[str, Any]) -> Iterator[Named]:
    """Yield the names of an entry of rebalancing."""
    in_folds, heat = entry.get("folds") is True, _section(entry, "temperature")
    if entry.get("prior") == "em" and "on" in _section(entry, "em"):
        yield Named(f"{where}.em.on", _section(entry, "em")["on"], in_folds=in_folds)
    if entry.get("calibration") == "temperature" and "on" in heat:
        tuned = {"is_tuned_on": True, "may_be_test": heat.get("allow_test_tuning") is True}
        yield Named(f"{where}.temperature.on", heat["on"], **tuned, in_folds=in_folds)
    for key in ("fitted_on", "chosen_on"):
        names = _section(entry, "posteriors").get(key)
        yield from (Named(f"{where}.posteriors.{key}", name) for name in (names if isinstance(names, list) else []))


def _section(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = values.get(name)
    return value if isinstance(value, Mapping) else {}

"""metrics/report.md: the scores as a Markdown page."""

from collections.abc import Sequence
from typing import Any

from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.score import Scored

CATEGORIES = {"macro_f1": "macro-F1", "ua": "UA", "wa": "WA", "weighted_f1": "weighted F1", "ece": "ECE"}
CONCORDANCES = {**{f"ccc_{name}": f"CCC {name}" for name in ATTRIBUTES}, "ccc_mean": "CCC mean"}


def report(scored: Scored, settings: ScoringSettings) -> str:
    """Return the page: notice, warnings, the comparison, and a table of systems for each split.

    Args:
        scored: scores and warnings
        settings: the options they were made with
    """
    scores, options = scored.scores, settings.bootstrap
    lines = [f"# Scores on {scores['corpus']}", ""]
    if scores["notice"]:
        lines += [f"> **{scores['notice']}**", ""]
    lines += [f"> Warning: {warning}  " for warning in scored.warnings] + ([""] if scored.warnings else [])
    chance = f" Chance is UA {scores['chance']['ua']:.3f}." if "ua" in scores["chance"] else ""
    brackets = f"{options.confidence:.0%} intervals from {options.samples} resamples of speakers"
    fitted = "`_resubstitution` marks a system that was fitted on a part of what it is scored on"
    lines += [f"Brackets are {brackets}.{chance} {fitted}.", ""]
    for split in settings.splits:
        lines += [f"## {split}", ""]
        difference = scores[split].get(f"{settings.comparison.system}_minus_best")
        lines += [_sentence(difference, settings), ""] if difference else []
        systems = {name: values for name, values in scores[split].items() if "n" in values}
        lines += _table(systems, CATEGORIES, "n") + _table(systems, CONCORDANCES, "n_attributes")
    return "\n".join(lines).rstrip() + "\n"


def _sentence(difference: dict[str, Any], settings: ScoringSettings) -> str:
    options = settings.comparison
    metric = {**CATEGORIES, **CONCORDANCES}[options.metric]
    names, best = " and ".join(options.against), difference["best"]
    sentence = f"{options.system} less {best}"
    sentence += f" (the better of {names} on {options.chosen_on})" if len(options.against) > 1 else ""
    sentence += (
        f": {metric} {_number(difference, options.metric, '+.3f')}, p = {difference['p']:.4f} (speakers swapped)"
    )
    return sentence + (f", McNemar p = {difference['p_mcnemar']:.4g}." if "p_mcnemar" in difference else ".")


def _table(systems: dict[str, dict[str, Any]], columns: dict[str, str], count: str) -> list[str]:
    """Return a Markdown table of the systems that have any of these columns, nothing where none has."""
    present = [key for key in columns if any(key in values for values in systems.values())]
    if not present:
        return []
    lines = _row(["system", "n", "speakers", *(columns[key] for key in present)]) + _row(["---"] * (len(present) + 3))
    for name, values in systems.items():
        if any(key in values for key in present):
            numbers = [_number(values, key, ".3f") if key in values else "" for key in present]
            lines += _row([name, str(values[count]), str(values["n_speakers"]), *numbers])
    return [*lines, ""]


def _row(cells: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(cells)} |"]


def _number(values: dict[str, Any], key: str, form: str) -> str:
    """Return the score with its interval, where it has one."""
    if f"{key}_lo" not in values:
        return format(values[key], form)
    return f"{values[key]:{form}} [{values[f'{key}_lo']:{form}}, {values[f'{key}_hi']:{form}}]"

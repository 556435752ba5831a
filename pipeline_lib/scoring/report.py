"""metrics/report.md: the scores as a Markdown page."""

from collections.abc import Sequence
from typing import Any

from pipeline_lib.labels import ATTRIBUTES
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.cells import brackets, number
from pipeline_lib.scoring.headline import METRICS
from pipeline_lib.scoring.permutation import LEVEL, POWER
from pipeline_lib.scoring.score import Scored
from pipeline_lib.scoring.splits import FOLDS, unmarked
from pipeline_lib.tables import folds

CATEGORIES = {"macro_f1": "macro-F1", "ua": "UA", "wa": "WA", "weighted_f1": "weighted F1", "ece": "ECE"}
MEANINGS = (
    "`_resubstitution` marks a system that was fitted on a part of what it is scored on: the score says nothing of"
    " other utterances. `_selection` marks one of which something was only chosen there (an epoch, a layer): the score"
    " is optimistic by that choice."
)
POOLED = (
    "Pooled: each utterance is predicted by the model of its own fold, which was neither trained, chosen nor stopped on"
    " it, and all of them are one test set; intervals are over all speakers."
)
CONCORDANCES = {**{f"ccc_{name}": f"CCC {name}" for name in ATTRIBUTES}, "ccc_mean": "CCC mean"}


def report(scored: Scored, settings: ScoringSettings, notes: Sequence[str] = ()) -> str:
    """Return the page: systems below a baseline, notice, warnings, the comparison, a table of systems for each split.

    Args:
        scored: scores and warnings
        settings: the options they were made with
        notes: lines for the end of the page
    """
    scores = scored.scores
    lines = [f"**{sentence}**  " for sentence in below_baselines(scores)]
    lines += ([""] if lines else []) + [f"# Scores on {scores['corpus']}", ""]
    if scores["notice"]:
        lines += [f"> **{scores['notice']}**", ""]
    lines += [f"> Warning: {warning}  " for warning in scored.warnings] + ([""] if scored.warnings else [])
    chance = ""
    if "ua" in scores["chance"]:
        chance = f" Chance is UA {scores['chance']['ua']:.3f} on {settings.plotted_split}."
    lines += [f"{brackets(scores['intervals'])}{chance} {MEANINGS}", ""]
    lines += [f"- {sentence}" for sentence in not_computed(settings)] + ([""] if settings.not_computed else [])
    for split in settings.splits:
        lines += [f"## {split}", ""]
        chances = scores["chance"].get("splits", {}).get(split)
        lines += [_chance(chances), ""] if chances else []
        if split == folds.SPLIT and "over_folds" in scores:
            lines += [POOLED, ""]
        difference = scores[split].get(f"{settings.comparison.system}_minus_best")
        lines += [_sentence(difference, settings), ""] if difference else []
        systems = {_marked(name, settings): values for name, values in scores[split].items() if "n" in values}
        lines += _table(systems, CATEGORIES, "n") + _table(systems, CONCORDANCES, "n_attributes")
        if split == settings.plotted_split:
            lines += _labels(systems)
        if split == folds.SPLIT:
            lines += _folds(scores.get("over_folds", {}), settings)
    lines += _expected(scores.get("expected", {}), settings)
    lines += _provenance(scores.get("provenance", {}))
    return "\n".join([*lines, *notes]).rstrip() + "\n"


def below_baselines(scores: dict[str, Any]) -> list[str]:
    """Return a sentence for each system that scores less than a baseline on the same utterances.

    Args:
        scores: as in metrics/details.json
    """
    sentences = []
    for system, baselines in scores.get("beside_baselines", {}).items():
        for baseline, values in baselines.items():
            if values["difference"] >= 0:
                continue
            metric = {**CATEGORIES, **CONCORDANCES}[values["metric"]]
            own, other, n = f"{values['score']:.3f}", f"{values['baseline']:.3f}", values["n"]
            sentence = (
                f"{system} ({metric} {own}) is below the baseline {baseline} ({other}) on the same {n} utterances"
            )
            sentence += f"; difference {number(values, 'difference', '+.3f')}"
            may_be = values.get("difference_hi", 0) >= 0  # without an interval nothing says that it is not
            sentence += ", which may be chance" if may_be else ""
            sentences.append(f"{sentence}{_chosen(values)}.")
    return sentences


def not_computed(settings: ScoringSettings) -> list[str]:
    """Return a sentence for each baseline without predictions.

    Args:
        settings: the baselines, and why some are missing
    """
    return [f"The baseline {name} was not computed: {reason}" for name, reason in settings.not_computed.items()]


def _marked(name: str, settings: ScoringSettings) -> str:
    return f"{name} (baseline)" if unmarked(name) in settings.baselines else name


def _chosen(values: dict[str, Any]) -> str:
    """Return the mark of a comparison on a split where something of a side was chosen, empty elsewhere."""
    if "chosen_on" not in values:
        return ""
    return f" (selection: a side or the opponent was chosen on {', '.join(values['chosen_on'])}, which flatters it)"


def _provenance(systems: dict[str, dict[str, Any]]) -> list[str]:
    """Return a table of what each system was fitted and chosen on, nothing where there is none."""
    if not systems:
        return []
    lines = ["## What was fitted and chosen on which labels", "", *_row(["system", "fitted on", "chosen on"])]
    lines += _row(["---"] * 3)
    for name, values in systems.items():
        rest = f"not recorded of {', '.join(values['not_recorded'])}" if values["not_recorded"] else ""
        cells = (", ".join(filter(None, [*values[key], rest])) or "nothing" for key in ("fitted_on", "chosen_on"))
        lines += _row([f"{name} (out of fold)" if values.get("out_of_fold") else name, *cells])
    return [*lines, ""]


def _chance(values: dict[str, Any]) -> str:
    """Return labels, chance and ceiling of a split in words."""
    counts = values["counts"]
    present = ", ".join(f"{label} {count}" for label, count in counts.items() if count)
    absent = [label for label, count in counts.items() if not count]
    guesses = [
        f"UA {values[guess]['ua']:.3f} and macro-F1 {values[guess]['macro_f1']:.3f} by {what}"
        for guess, what in (("uniform", "guessing"), ("majority", "always saying its most frequent label"))
    ]
    sentence = f"Labels: {present}. Chance here: {', '.join(guesses)}."
    if absent:
        sentence += f" Without {', '.join(absent)} no system exceeds UA and macro-F1 {values['ceiling']:.3f}."
    return sentence


def _expected(systems: dict[str, dict[str, Any]], settings: ScoringSettings) -> list[str]:
    """Return a table of what to expect of a balanced test, nothing where it was not predicted."""
    if not systems:
        return []
    how = f"from {settings.expected.on} with every label weighing alike; intervals are over its speakers"
    lines = [
        "## A hidden test with as many utterances of each label",
        "",
        f"Macro-F1 to expect, {how}, and know nothing of other recordings or of how few a hidden test may have.",
        "",
        *_row(["system", "n", "macro-F1"]),
        *_row(["---"] * 3),
    ]
    for name, values in systems.items():
        lines += _row([_marked(name, settings), str(values["n"]), number(values, "macro_f1", ".3f")])
    return [*lines, ""]


def _folds(over: dict[str, dict[str, Any]], settings: ScoringSettings) -> list[str]:
    """Return a table of the mean and deviation over folds, nothing without folds."""
    metrics = {key: name for key, name in {**CATEGORIES, **CONCORDANCES}.items() if key in METRICS}
    present = [key for key in metrics if any(key in values for values in over.values())]
    if not present:
        return []
    lines = _row(["system", "folds", *(f"{metrics[key]}, mean ± deviation over folds" for key in present)])
    lines += _row(["---"] * (len(present) + 2))
    for name, values in over.items():
        cells = [f"{v['mean']:.3f} ± {v['deviation']:.3f}" if (v := values.get(key)) else "" for key in present]
        counted = max(len(value["by_fold"]) for value in values.values())
        lines += _row([_marked(name, settings), str(counted), *cells])
    return [*lines, ""]


def _sentence(difference: dict[str, Any], settings: ScoringSettings) -> str:
    options = settings.comparison
    metric = {**CATEGORIES, **CONCORDANCES}[options.metric]
    names, best = " and ".join(options.against), difference["best"]
    sentence = f"{options.system} less {best}"
    if len(options.against) > 1:
        harder = ", the harder opponent: chosen on what is compared" if options.chosen_on == folds.SPLIT else ""
        sentence += f" (the better of {names} on {options.chosen_on}{harder})"
    sentence += f": {metric} {number(difference, options.metric, '+.3f')}{_chosen(difference)}"
    return f"{sentence}, {_tested(difference)}"


def _tested(difference: dict[str, Any]) -> str:
    """Return the test of a comparison in words, with what it could have shown."""
    speakers = f"{difference['n_speakers']} speakers"
    if "p" not in difference:
        return "not tested: the test swaps whole speakers, and two are not known."
    least = f"{difference['p_least']:.4f}"
    p = f"p = {difference['p']:.4f} (speakers swapped; the smallest that these {speakers} allow is {least})"
    if difference["p_least"] > LEVEL:
        return f"{p}: no difference, however large, can be significant here, {FOLDS}."
    if "detectable" not in difference:
        return f"{p}; with so few speakers only differences beyond the metric's range have a power of {POWER:.0%}."
    return f"{p}; a difference of {difference['detectable']:.3f} would be detected with a power of {POWER:.0%}."


def _table(systems: dict[str, dict[str, Any]], columns: dict[str, str], count: str) -> list[str]:
    """Return a Markdown table of the systems that have any of these columns, nothing where none has."""
    present = [key for key in columns if any(key in values for values in systems.values())]
    if not present:
        return []
    lines = _row(["system", "n", "speakers", *(columns[key] for key in present)]) + _row(["---"] * (len(present) + 3))
    for name, values in systems.items():
        if any(key in values for key in present):
            numbers = [number(values, key, ".3f") if key in values else "" for key in present]
            lines += _row([name, str(values[count]), str(values["n_speakers"]), *numbers])
    return [*lines, ""]


def _labels(systems: dict[str, dict[str, Any]]) -> list[str]:
    """Return a Markdown table of F1 by label, nothing where no system has categories."""
    by_label = {name: values["labels"] for name, values in systems.items() if "labels" in values}
    labels = [*dict.fromkeys(label for values in by_label.values() for label in values)]
    if not labels:
        return []
    lines = _row(["F1 of", *labels]) + _row(["---"] * (len(labels) + 1))
    for name, values in by_label.items():
        lines += _row([name, *(number(values[label], "f1", ".3f") if values[label]["n"] else "–" for label in labels)])
    return [*lines, ""]


def _row(cells: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(cells)} |"]

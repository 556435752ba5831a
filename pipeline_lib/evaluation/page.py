"""metrics/evaluation/<name>.md: a system on another corpus, as a Markdown page."""

from collections.abc import Mapping, Sequence
from typing import Any

from pipeline_lib.evaluation.score import ALL, RESTRICTED
from pipeline_lib.scoring.cells import brackets, number

WAYS = (
    "The posterior is restricted to the labels in common and scaled to sum to 1; in *of all labels* it is not, and the"
    " choice of a label that the corpus lacks is an error."
)
METRICS = {"ua": "UA", "macro_f1": "macro-F1", "wa": "WA"}


def page(result: Mapping[str, Any], labels: str) -> str:
    """Return the page.

    Args:
        result: as ``evaluate`` writes it as JSON
        labels: sentence on the labels in common
    """
    own, systems = result["own"], result["systems"]
    of = f", {result['split']}" if result["split"] else ""
    lines = [f"# {result['system']} on {result['corpus']}{of}", ""]
    lines += [f"> **{result['notice']}**", ""] if result["notice"] else []
    lines += [f"> Warning: {note}  " for note in result["notes"]] + ([""] if result["notes"] else [])
    lines += [f"Trained on {result['system']}, nothing is fitted on {result['corpus']}. {labels}", ""]
    lines += [_chance(result["chance"]), ""]
    lines += [f"{brackets(result['intervals'])} {WAYS}", ""]
    lines += _table(systems)
    lines += _missing(systems)
    lines += _of_own(result, own)
    lines += _by_label(systems, result["labels"])
    return "\n".join(lines).rstrip() + "\n"


def _chance(chance: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{label} {n}" for label, n in chance["counts"].items())
    guess, most = chance["uniform"], chance["majority"]
    sentence = (
        f"Utterances: {counts}. Chance: UA {guess['ua']:.3f} and macro-F1 {guess['macro_f1']:.3f} by guessing, UA"
        f" {most['ua']:.3f} and macro-F1 {most['macro_f1']:.3f} by always choosing the most frequent label."
    )
    return f"{sentence} No system exceeds UA and macro-F1 {chance['ceiling']:.3f}."


def _table(systems: Mapping[str, Any]) -> list[str]:
    lines = _row(["system", "n", "speakers", *METRICS.values(), "UA of all labels", "chose another label"])
    lines += _row(["---"] * (5 + len(METRICS)))
    for name, values in systems.items():
        if RESTRICTED in values:
            numbers = [number(values[RESTRICTED], key, ".3f") for key in METRICS]
            further = [number(values[ALL], "ua", ".3f"), f"{values['others_chosen']:.1%}"]
            lines += _row([name, str(values["n"]), str(values["n_speakers"]), *numbers, *further])
    return [*lines, ""]


def _missing(systems: Mapping[str, Any]) -> list[str]:
    lines = [
        f"{name} does not predict {values['n_missing']} of the scored utterances, which lack what it reads.  "
        for name, values in systems.items()
        if values["n_missing"]
    ]
    return [*lines, ""] if lines else []


def _of_own(result: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return the table of the system on its own corpus, over the same labels."""
    if "reason" in own:
        return [f"On its own corpus: not computed, since {own['reason']}.", ""]
    how = "out of fold" if own["split"] == "folds" else "never fitted on"
    lines = [f"On its own corpus, {own['corpus']}, split {own['split']} ({how}), over the same labels:", ""]
    lines += _row(["system", "n", "speakers", *METRICS.values(), f"UA less that on {result['corpus']}"])
    lines += _row(["---"] * (4 + len(METRICS)))
    for name, values in own["systems"].items():
        if RESTRICTED not in values:
            continue
        other = result["systems"].get(name, {}).get(RESTRICTED)
        lost = f"{values[RESTRICTED]['ua'] - other['ua']:+.3f}" if other else ""
        numbers = [number(values[RESTRICTED], key, ".3f") for key in METRICS]
        lines += _row([name, str(values["n"]), str(values["n_speakers"]), *numbers, lost])
    return [*lines, ""]


def _by_label(systems: Mapping[str, Any], labels: Sequence[str]) -> list[str]:
    """Return recall and F1 by label, and each system's confusions."""
    scored = {name: values for name, values in systems.items() if RESTRICTED in values}
    lines = ["## By label", "", *_row(["label", "n", *(f"{name}: recall, F1" for name in scored)])]
    lines += _row(["---"] * (2 + len(scored)))
    for label in labels:
        each = [values["labels"][label] for values in scored.values()]
        cells = [f"{of['recall']:.3f}, {number(of, 'f1', '.3f')}" for of in each]
        lines += _row([label, str(each[0]["n"] if each else 0), *cells])
    for name, values in scored.items():
        lines += ["", f"{name}: true labels (rows) and chosen ones (columns)", ""]
        lines += _row(["", *labels]) + _row(["---"] * (1 + len(labels)))
        for label, row in zip(labels, values["confusion"], strict=True):
            lines += _row([label, *map(str, row)])
    return lines


def _row(cells: Sequence[str]) -> list[str]:
    return [f"| {' | '.join(cells)} |"]

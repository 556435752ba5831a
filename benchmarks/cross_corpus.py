"""RAVDESS and nEMO across each other: the table of metrics/paper_tables/cross_corpus.md.

    python -m benchmarks.cross_corpus RAVDESS NEMO BOTH

Three clones in which ``dvc repro`` has run: recipe small_corpus on RAVDESS and on nEMO, and open_cross_corpus. In the
first, ``ser evaluate <nEMO>`` and ``ser evaluate <nEMO> --merge calm=neutral --name nemo_merged``, in the second, ``ser
evaluate <RAVDESS>`` wrote metrics/evaluation/. Nothing is computed here.
"""

import datetime
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline_lib.command import run
from pipeline_lib.scoring.cells import brackets, number
from pipeline_lib.storage import atomic

METRICS = {"ua": "UA", "macro_f1": "macro-F1", "wa": "WA"}
COLUMNS = ["trained on", "tested on", "system", "n", *METRICS.values(), "UA on its own corpus, same labels"]
HEAD = """# Across corpora: RAVDESS and nEMO

English and Polish, read sentences, 24 and 9 actors; Whisper base, frozen, at the clips' true length. Nothing is fitted
on the corpus that is tested. Scored are the six emotions that both have ({labels}),
chance UA {chance:.3f}. {brackets} Systems that were trained on one corpus are the mean
of five folds' members (recipe `small_corpus`), their posteriors restricted to these labels; RAVDESS's has calm and
disgust as well. Those of both, leave one corpus out (`open_cross_corpus`), know these six alone. `audio_speaker`
normalises by speaker, which uses the unlabelled recordings of the tested speakers.
"""


def main(ravdess: Path, nemo: Path, both: Path, out: Path = Path("metrics/paper_tables/cross_corpus.md")) -> None:
    """Write the table from what the three clones measured."""
    rows = [
        *_evaluated(ravdess / "metrics/evaluation/nemo.json", "RAVDESS", "nEMO"),
        *_evaluated(ravdess / "metrics/evaluation/nemo_merged.json", "RAVDESS, calm counts as neutral", "nEMO"),
        *_evaluated(nemo / "metrics/evaluation/ravdess.json", "nEMO", "RAVDESS"),
    ]
    details = json.loads((both / "metrics/details.json").read_text())
    for split, trained, tested in (("nemo", "RAVDESS", "nEMO"), ("ravdess", "nEMO", "RAVDESS")):
        rows += _left_out(details[split], f"all but {tested}: {trained}", tested)
    evaluated = json.loads((ravdess / "metrics/evaluation/nemo.json").read_text())
    labels, chance = ", ".join(evaluated["labels"]), evaluated["chance"]["uniform"]["ua"]
    head = HEAD.format(labels=labels, chance=chance, brackets=brackets(evaluated["intervals"]))
    lines = [_row(COLUMNS), _row(["---"] * len(COLUMNS)), *map(_row, rows)]
    made = (
        f"Put together on {datetime.date.today()}, by `python -m benchmarks.cross_corpus` (its first lines: from what)."
    )
    atomic.write_file(out, "\n".join([head, *lines, "", f"{made} {_processor()}"]) + "\n")
    print(f"{out} is written")


def _evaluated(path: Path, trained: str, tested: str) -> Iterator[list[str]]:
    result = json.loads(path.read_text())
    for name, values in result["systems"].items():
        own = result["own"]["systems"][name]["restricted"]
        scores = [_number(values["restricted"], key) for key in METRICS]
        yield [trained, tested, name, str(values["n"]), *scores, _number(own, "ua")]


def _left_out(systems: dict[str, Any], trained: str, tested: str) -> Iterator[list[str]]:
    for name, values in systems.items():
        if "ua" in values and "n" in values:
            yield [trained, tested, name, str(values["n"]), *(_number(values, key) for key in METRICS), ""]


def _number(values: dict[str, Any], key: str) -> str:
    return number(values, key, ".3f")


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _processor() -> str:
    """Return the processor by its instructions, which rounding depends on."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    flags = next((line.split(":")[1].split() for line in text.splitlines() if line.startswith("flags")), [])
    known = [flag for flag in ("sse4_2", "avx", "fma", "avx2", "avx512f", "amx_tile") if flag in flags]
    return f"Processor: {', '.join(known) or 'unknown'}; float32."


if __name__ == "__main__":
    run(main)

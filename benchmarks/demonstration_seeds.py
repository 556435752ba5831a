"""The demonstration under several seeds, each from its own corpus to its own scores.

``python -m benchmarks.demonstration_seeds`` runs every stage but embedding for seeds 1 to 5 (corpus, experts and all)
in folders of their own under ``work/seeds/`` and prints a row a seed. With ``--shuffle`` the training labels are
shuffled first: experts that still beat chance would show a leak.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ruamel.yaml import YAML

from pipeline_lib.command import run
from pipeline_lib.recipes import apply
from pipeline_lib.scoring.cells import number
from pipeline_lib.tables import manifest

BEFORE = ["check", "demonstration english", "corpus"]
AFTER = [
    "transcription",
    "finetuning audio",
    "finetuning text",
    "rebalancing audio",
    "rebalancing text",
    "fusion",
    "scoring",
]
SHOWN = ("audio", "text", "fused")


def lay(folder: Path, seed: int) -> None:
    """Make a folder in which the stages can run: the code and checkpoints by link, the default parameters seeded."""
    for name in ("pipeline_lib", "stages", "models/demo"):
        link = folder / name
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path(name).absolute())
    yaml = YAML()
    params = yaml.load(apply.compose("default"))
    params["demonstration"]["english"]["seed"] = seed
    for expert in params["finetuning"].values():
        expert["seed"] = seed
    yaml.dump(params, folder / "params.yaml")


def shuffle(path: Path, seed: int) -> None:
    """Shuffle emotions and attributes among the training utterances of a manifest."""
    corpus = manifest.read(path)
    train = np.flatnonzero(corpus.mask("train"))
    order = np.random.default_rng([seed, 99]).permutation(train)
    for column in ("emotion", "votes", "arousal", "valence", "dominance"):
        values = corpus.frame[column].to_numpy(copy=True)
        values[train] = values[order]
        corpus.frame[column] = values
    manifest.write(path, corpus)


def stages(folder: Path, names: list[str]) -> None:
    """Run stages in the folder, stopping at the first that fails."""
    for name in names:
        subprocess.run([sys.executable, "-m", f"stages.{name.split()[0]}", *name.split()[1:]], cwd=folder, check=True)


def row(seed: int, scores: dict[str, Any], transcription: dict[str, Any]) -> str:
    """Return one line: WER, macro-F1 with its interval a system, the gain of fusion and its p-value."""
    test = scores["test"]
    cells = [str(seed), f"{transcription['test']['wer']:.2%}"]
    for name in SHOWN:
        cells.append(number(test[name], "macro_f1", ".3f"))
    gain = test["fused_minus_best"]
    cells += [gain["best"], number(gain, "macro_f1", "+.3f"), f"{gain['p']:.4f}"]
    return f"| {' | '.join(cells)} |"


def main(
    seeds: Annotated[list[int] | None, typer.Option(help="which seeds; 1 to 5 by default")] = None,
    shuffled: Annotated[bool, typer.Option("--shuffle", help="shuffle the training labels first")] = False,
    work: Path = Path("work/seeds"),
) -> None:
    """Run the demonstration under each seed and print a table."""
    rows = []
    for seed in seeds or range(1, 6):
        folder = work / (f"{seed}_shuffled" if shuffled else str(seed))
        lay(folder, seed)
        stages(folder, BEFORE)
        if shuffled:
            shuffle(folder / "data/manifest.parquet", seed)
        stages(folder, AFTER)
        metrics = [json.loads((folder / f"metrics/{name}.json").read_text()) for name in ("details", "transcription")]
        rows.append(row(seed, *metrics))
    print("| seed | WER test | audio macro-F1 | text | fused | better expert | gain | p swapped |")
    print("|---|---|---|---|---|---|---|---|")
    print("\n".join(rows))


if __name__ == "__main__":
    run(main)

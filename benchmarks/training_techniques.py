"""Techniques of training that later systems credit, each with and without, on the demonstration.

``python -m benchmarks.training_techniques`` trains the default's audio expert with soft labels, and the same with one
technique more, under three seeds of training each, on one corpus, in ``work/techniques/``. It prints macro-F1 and mean
CCC on test, their mean over the seeds, and the difference to the expert without with its interval over speakers, in
pairs. A run that was finished is not repeated. ``--only mixing --only average`` chooses techniques.
"""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ruamel.yaml import YAML

from benchmarks.demonstration_seeds import BEFORE, lay, stages
from pipeline_lib.command import run
from pipeline_lib.recipes.compose import merge
from pipeline_lib.scoring.bootstrap import Tally, clusters, interval, resampled, tally_attributes, tally_categories
from pipeline_lib.tables import manifest, predictions

EXPERT, SEEDS = "audio", (1, 2, 3)
SAMPLES, CONFIDENCE, DRAWS = 2000, 0.95, 1
METRICS = ("macro_f1", "ccc_mean")
WITHOUT = "without"
BASE = {"targets": {"soft_labels": True}}
TECHNIQUES: dict[str, dict[str, Any]] = {
    WITHOUT: {},
    "mixing": {"augmentation": {"mixing": {"probability": 0.5, "alpha": 1.0}}},
    "annotators": {"targets": {"annotator_dropout": 0.2}},
    "smoothing": {"losses": {"label_smoothing": 0.1}},
    "average": {"phases": {"main": {"ema_decay": 0.99}}},
}


def trained(folder: Path, technique: str, seed: int) -> Path:
    """Train one expert where it is not there yet and return its predictions.

    Args:
        folder: of the corpus and the code
        technique: by its name
        seed: of the training
    """
    own = folder / "runs" / f"{technique}_{seed}"
    table = own / "predictions" / f"{EXPERT}.parquet"
    if table.exists():
        return table
    yaml = YAML()
    params = yaml.load(folder / "params.yaml")
    for change in (BASE, TECHNIQUES[technique], {"seed": seed}):
        merge(params, {"finetuning": {EXPERT: change}}, technique)
    own.mkdir(parents=True, exist_ok=True)
    yaml.dump(params, own / "params.yaml")
    options = {"params": "params.yaml", "models": "models", "out": "predictions", "curves": "curves", "work": "work"}
    arguments = [text for name, path in options.items() for text in (f"--{name}", str((own / path).absolute()))]
    subprocess.run([sys.executable, "-m", "stages.finetuning", EXPERT, *arguments], cwd=folder, check=True)
    return table


def tallies(corpus: manifest.Manifest, path: Path) -> dict[str, Tally]:
    """Return the sums over speakers that each metric on test is a function of.

    Args:
        corpus: the manifest
        path: of predictions
    """
    result, test = predictions.read(path), corpus.mask("test")
    rows = {name: i for i, name in enumerate(result.utterance_ids.tolist())}
    order = [rows[name] for name in corpus.ids[test]]
    truth, cluster = corpus.truth()[test], clusters(corpus.frame["speaker"][test].tolist())
    guess, known = result.posterior[order, : len(corpus.labels)].argmax(axis=1), truth >= 0
    names = list(result.attribute_names)
    attributes = corpus.attributes(names)[test], result.attributes[order]
    return {
        "macro_f1": tally_categories(truth[known], guess[known], cluster[known], len(corpus.labels)),
        "ccc_mean": tally_attributes(*attributes, cluster, names),
    }


def row(technique: str, own: list[dict[str, Tally]], base: list[dict[str, Tally]]) -> str:
    """Return one line: each metric a seed, its mean, and the mean difference with its interval.

    Args:
        technique: by its name
        own: sums by metric, one a seed
        base: the same without the technique
    """
    cells = [technique]
    for metric in METRICS:
        scores = [seed[metric].score(metric) for seed in own]
        cells += [" ".join(f"{score:.3f}" for score in scores), f"{np.mean(scores):.3f}"]
        pairs = [(one[metric], other[metric]) for one, other in zip(own, base, strict=True)]
        drawn = np.mean([_drawn(one, metric) - _drawn(other, metric) for one, other in pairs], axis=0)
        low, high = interval(drawn, CONFIDENCE)
        gain = np.mean(scores) - np.mean([seed[metric].score(metric) for seed in base])
        cells.append("–" if technique == WITHOUT else f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]")
    return f"| {' | '.join(cells)} |"


def _drawn(tally: Tally, metric: str) -> np.ndarray:
    return tally.scores[metric](resampled(tally.sums, SAMPLES, DRAWS))


def main(
    only: Annotated[list[str] | None, typer.Option(help="techniques; all by default")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="seeds of training; 1 to 3 by default")] = None,
    work: Path = Path("work/techniques"),
) -> None:
    """Train each technique under each seed and print a table."""
    if not (work / "data/manifest.parquet").exists():
        lay(work, 1)
        stages(work, BEFORE)
    corpus = manifest.read(work / "data/manifest.parquet")
    names = [WITHOUT, *(name for name in only or list(TECHNIQUES) if name != WITHOUT)]
    sums = {name: [tallies(corpus, trained(work, name, seed)) for seed in seeds or SEEDS] for name in names}
    print("| technique | macro-F1 a seed | mean | difference | mean CCC a seed | mean | difference |")
    print("|---|---|---|---|---|---|---|")
    print("\n".join(row(name, own, sums[WITHOUT]) for name, own in sums.items()))


if __name__ == "__main__":
    run(main)

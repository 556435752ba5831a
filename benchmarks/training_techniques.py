"""Techniques of training that later systems credit, each with and without.

``python -m benchmarks.training_techniques`` trains the default's audio expert on the demonstration, with soft labels,
and the same with one technique more, under three seeds of training each, on one corpus, in ``work/techniques/``. It
prints macro-F1, UA and mean CCC on test, their mean over the seeds, and the difference to the expert without with its
interval over speakers, in pairs. A run that was finished is not repeated.

``--project FOLDER --expert NAME --fold 0 --fold 1`` does it for another expert of audio: of a project with folds, the
test parts of these folds together. ``--only smoothing --only average`` chooses techniques, ``--base`` changes every
row's entry, as YAML. Without annotators' votes in the corpus its labels are the plurality, and nobody can be left out.
"""

from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from ruamel.yaml import YAML

from benchmarks.demonstration_seeds import lay, run_stages, seeded, stages_of
from pipeline_lib.command import run
from pipeline_lib.finetuning.finetune import discard, finetune
from pipeline_lib.metrics.jackknife import degrees_of_freedom, standard_error, student
from pipeline_lib.params.base import read_value
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.machine import read_machine
from pipeline_lib.scoring.tallies import (
    CATEGORY_METRICS,
    Tally,
    category_scores,
    clusters,
    tally_attributes,
    tally_categories,
)
from pipeline_lib.storage.fingerprint import fingerprint
from pipeline_lib.tables import folds, manifest, predictions
from pipeline_lib.tables.manifest import Manifest

SEEDS, CONFIDENCE = (1, 2, 3), 0.95
WITHOUT = "without"
SOFT = {"targets": {"soft_labels": True}}
TECHNIQUES: dict[str, dict[str, Any]] = {
    WITHOUT: {},
    "mixing": {
        "augmentation": {"mixing": {"probability": 0.5, "alpha": 1.0}},
        "cache_embeddings": False,  # frames of mixtures differ from epoch to epoch
        "embedding": None,
    },
    "annotators": {"targets": {"annotator_dropout": 0.2}},
    "smoothing": {"losses": {"label_smoothing": 0.1}},
    "average": {"phases": {"main": {"ema_decay": 0.99}}},
}


def trained(
    expert: str, technique: str, seed: int, corpus: Manifest, fold: tuple[int, int] | None, base: dict[str, Any]
) -> Path:
    """Train one expert of the project in this folder, where it is not there yet, and return its predictions.

    Args:
        expert: entry of ``finetuning``
        technique: by its name
        seed: of the training
        corpus: the manifest, or the view of one fold
        fold: number from 0 and how many there are; None without folds
        base: what every row changes of the entry
    """
    runs = Path("work/techniques_runs") / (f"{expert}_{fingerprint(base)[:8]}" if base else expert)
    own = runs / f"{technique}_{seed}{'' if fold is None else f'_{fold[0]}'}"
    table = own / "predictions.parquet"
    if table.exists():
        return table
    entry, soft = read_value(f"finetuning.{expert}"), corpus.frame["votes"].notna().any()
    for change in (base, SOFT if soft else {}, TECHNIQUES[technique], {"seed": seed}):
        entry = merged(entry, change)
    settings = FinetuningSettings.parse(entry, f"finetuning.{expert}")
    paths = {"expert": own / "expert", "curve": own / "curve.csv", "work": own / "work"}
    done = finetune(
        expert,
        settings,
        corpus,
        Path(read_value("corpus.root")),
        None,
        machine=read_machine().finetuning,
        fold=fold,
        **paths,
    )
    assert done is not None  # one process
    predictions.write(table, done[0])
    discard(done[1])
    return table


def merged(values: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    """Return nested mappings with a change put in.

    Args:
        values: an entry
        change: of it
    """
    result = dict(values)
    for name, each in change.items():
        result[name] = merged(result[name], each) if isinstance(each, dict) else each
    return result


def tallies(corpus: Manifest, path: Path) -> dict[str, Tally]:
    """Return the sums over speakers that each metric on test is a function of.

    Args:
        corpus: the manifest, or the view of one fold
        path: of predictions
    """
    result, test = predictions.read(path), corpus.mask("test")
    rows = {name: i for i, name in enumerate(result.utterance_ids.tolist())}
    order = [rows[name] for name in corpus.ids[test]]
    truth, cluster = corpus.truth()[test], clusters(corpus.frame["speaker"][test].tolist())
    guess, known = result.posterior[order, : len(corpus.labels)].argmax(axis=1), truth >= 0
    categories = tally_categories(truth[known], guess[known], cluster[known], len(corpus.labels))
    sums = {"macro_f1": categories, "ua": categories}
    names = list(result.attribute_names)
    if names:
        sums["ccc_mean"] = tally_attributes(corpus.attributes(names)[test], result.attributes[order], cluster, names)
    return sums


def together(parts: list[dict[str, Tally]]) -> dict[str, Tally]:
    """Return the sums of several folds, whose test speakers are others."""
    joined = {}
    for metric, first in parts[0].items():
        sums = np.concatenate([part[metric].sums for part in parts])
        sizes = np.concatenate([part[metric].sizes for part in parts])
        scores = category_scores(sums.sum(axis=0)) if metric in CATEGORY_METRICS else first.scores
        joined[metric] = replace(first, sums=sums, sizes=sizes, scores=scores)
    return joined


def row(technique: str, own: list[dict[str, Tally]], base: list[dict[str, Tally]]) -> str:
    """Return one line: each metric a seed, its mean, and the mean difference with its jackknife-t interval.

    Args:
        technique: by its name
        own: sums by metric, one a seed
        base: the same without the technique
    """
    cells = [technique]
    for metric in own[0]:
        scores = [seed[metric].score(metric) for seed in own]
        cells += [" ".join(f"{score:.3f}" for score in scores), f"{np.mean(scores):.3f}"]
        pairs = [(one[metric], other[metric]) for one, other in zip(own, base, strict=True)]
        left_out = np.mean([_left_out(one, metric) - _left_out(other, metric) for one, other in pairs], axis=0)
        half = student(degrees_of_freedom(own[0][metric].sizes), (1 + CONFIDENCE) / 2) * standard_error(left_out)
        gain = np.mean(scores) - np.mean([seed[metric].score(metric) for seed in base])
        low, high = gain - half, gain + half
        cells.append("–" if technique == WITHOUT else f"{gain:+.3f} [{low:+.3f}, {high:+.3f}]")
    return f"| {' | '.join(cells)} |"


def _left_out(tally: Tally, metric: str) -> np.ndarray:
    return tally.scores[metric](tally.sums.sum(axis=0) - tally.sums)


def main(
    only: Annotated[list[str] | None, typer.Option(help="techniques; all by default")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="seeds of training; 1 to 3 by default")] = None,
    project: Annotated[Path | None, typer.Option(help="null: the demonstration in work/techniques")] = None,
    expert: str = "audio",
    fold: Annotated[list[int] | None, typer.Option(help="numbers from 0, of a corpus with folds")] = None,
    base: Annotated[str, typer.Option(help="changes of every row's entry, as YAML")] = "{}",
) -> None:
    """Train each technique under each seed and print a table."""
    if project is None:
        project = Path("work/techniques")
        if not (project / "data/manifest.parquet").exists():
            params = seeded(1, [])
            names = stages_of(params)
            lay(project, params)
            run_stages(project, names[: names.index("corpus") + 1], fingerprint(params), threads=1, shuffle_seed=None)
    changes = YAML(typ="safe").load(base)
    with chdir(project):
        corpus = manifest.read(Path("data/manifest.parquet"))
        parts: list[tuple[Manifest, tuple[int, int] | None]] = [(corpus, None)]
        if fold:
            parts = [(folds.view(corpus, number), (number, folds.count(corpus))) for number in fold]
        names = [WITHOUT, *(name for name in only or TECHNIQUES if name != WITHOUT)]
        sums: dict[str, list[dict[str, Tally]]] = {name: [] for name in names}
        for seed in seeds or SEEDS:
            for name in names:
                sums[name].append(
                    together([tallies(view, trained(expert, name, seed, view, part, changes)) for view, part in parts])
                )
    metrics = [f"{metric} a seed | mean | difference" for metric in sums[WITHOUT][0]]
    print(f"\n| technique | {' | '.join(metrics)} |\n|{'---|' * (1 + 3 * len(metrics))}")
    print("\n".join(row(name, own, sums[WITHOUT]) for name, own in sums.items()))


if __name__ == "__main__":
    run(main)

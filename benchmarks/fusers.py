"""Ways of fusing many experts, each beside interpolation on the same utterances, under several draws of the folds.

``python -m benchmarks.fusers PROJECT`` takes a project whose corpus is in folds and whose stored embeddings (data/) are
those of frozen encoders. Under each seed the speakers are dealt into folds anew; every layer is an expert twice, by LDA
and logistic regression and by PLDA, fitted on a fold's training part; the fusions are fitted on its development part;
what is printed is macro-F1 of all utterances, out of fold. With ``--tables`` the experts are the tables of
data/rebalanced/ of a project without folds, scored on test; a seed draws dev_bal anew, ``--tuning dev`` fits on all of
dev, whose label shares are those of the corpus. ``--cost`` measures the selection on drawn posteriors of 30 experts and
150,000 utterances.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
import typer

from pipeline_lib.command import run
from pipeline_lib.corpus import folds as corpus_folds
from pipeline_lib.corpus import subsets as corpus_subsets
from pipeline_lib.fusion.fuse import fuse
from pipeline_lib.fusion.selection import Selection
from pipeline_lib.params.base import load_yaml
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.params.rebalancing import RebalancingSettings
from pipeline_lib.params.scoring import IntervalSettings
from pipeline_lib.rebalancing import model, rebalance, source
from pipeline_lib.scoring.cells import number
from pipeline_lib.scoring.intervals import difference_bounds, named
from pipeline_lib.scoring.permutation import difference
from pipeline_lib.scoring.scored_rows import category_rows, tally
from pipeline_lib.scoring.systems import align
from pipeline_lib.tables import folds, manifest, predictions
from pipeline_lib.tables.manifest import Manifest
from pipeline_lib.tables.predictions import Predictions

BIASES = {"class_biases": {"objective": "macro_f1"}}
BALANCED = {"logreg": {"class_weights": "balanced"}}
WAYS: dict[str, dict[str, Any]] = {
    "interpolation": {"method": "interpolation"},
    "interpolation, biases": {"method": "interpolation", **BIASES},
    "logreg": {"method": "logreg"},
    "logreg, balanced": {"method": "logreg", **BALANCED},
    "logreg, balanced, biases": {"method": "logreg", **BALANCED, **BIASES},
    "plda": {"method": "plda"},
    "plda, biases": {"method": "plda", **BIASES},
    "selection": {"method": "selection"},
    "selection, biases": {"method": "selection", **BIASES},
    "selection, one bag": {"method": "selection", "selection": {"bags": 1, "bag_share": 1.0}},
    "vote": {"method": "vote"},
    "vote, biases": {"method": "vote", **BIASES},
}
BACK_ENDS = {
    "logistic": {"method": "lda_logistic", "lda_logistic": {"shrinkage": 0.5}},
    "plda": {"method": "plda", "plda": {"shrinkage": "ledoit_wolf"}},
}


def dealt(corpus: Manifest, settings: CorpusSettings, seed: int) -> Manifest:
    """Return the corpus with its speakers dealt into folds under a seed."""
    by_speakers = settings.split.folds.model_copy(update={"by": "speakers"})
    split = settings.split.model_copy(update={"seed": seed, "folds": by_speakers})
    frame = corpus.frame.assign(reject=None, group=None, sound=None)
    frame["fold"] = corpus_folds.draw(frame, split, corpus.labels)
    subsets, _, _ = corpus_folds.with_subsets(frame, settings.model_copy(update={"split": split}), corpus.labels)
    return replace(corpus, frame=corpus.frame.assign(subsets=pd.Series(subsets, dtype=object)))


def experts_of(project: Path, corpus: Manifest) -> Iterator[list[Predictions]]:
    """Yield each fold's experts: two back ends a layer of every stored embedding."""
    sources = {}
    for folder in sorted((project / "data/embeddings").iterdir()):
        layers = source.of_embedding(folder, corpus, settings_of(folder, [0], "logistic").source, folder.name)
        sources[folder] = layers
    for fold in range(folds.count(corpus)):
        view, tables = folds.view(corpus, fold), []
        for folder, stored in sources.items():
            for layer in stored.stored:
                for kind in BACK_ENDS:
                    settings = settings_of(folder, [layer], kind)
                    name = f"{folder.name}_{layer}_{kind}"
                    tables.append(model.apply(rebalance.fit(stored, view, settings, name), stored))
        yield without_attributes(tables)


def without_attributes(tables: Sequence[Predictions]) -> list[Predictions]:
    """Return the tables with posteriors alone."""
    return [replace(table, attributes=None, attribute_names=()) for table in tables]


def settings_of(folder: Path, layers: list[int], kind: str) -> RebalancingSettings:
    """Return the entry of one layer."""
    slot = f"data/embeddings/{folder.name}"
    values = {"reads": {"source": slot}, "source": {"layers": layers}, **BACK_ENDS[kind]}
    return RebalancingSettings.parse(values, folder.name)


def redrawn(corpus: Manifest, settings: CorpusSettings, seed: int) -> Manifest:
    """Return the corpus with dev_bal drawn under a seed."""
    drawing = settings.dev_bal.model_copy(update={"seed": seed})
    drawn, _ = corpus_subsets.dev_bal(corpus.frame, corpus.labels, drawing)
    before = corpus.frame["subsets"]
    names = [[n for n in row if n != "dev_bal"] + ["dev_bal"] * int(k) for row, k in zip(before, drawn, strict=True)]
    return replace(corpus, frame=corpus.frame.assign(subsets=pd.Series(names, dtype=object)))


def fused(tables: Sequence[Predictions], corpus: Manifest, options: dict[str, Any], way: dict[str, Any]) -> Predictions:
    """Return the fused predictions of one split."""
    names = [table.expert for table in tables]
    settings = FusionSettings.parse({"experts": names, **options, **way}, "fusion")
    return fuse(tables, corpus, settings, crossfit=False).fused


def compared(
    parts: Sequence[tuple[Manifest, Sequence[Predictions]]], corpus: Manifest, options: dict[str, Any], rows: np.ndarray
) -> dict[str, tuple[float, dict[str, float]]]:
    """Return of each way its macro-F1, what it is above interpolation, and the bounds of that."""
    predicted = {}
    for name, way in WAYS.items():
        of_parts = [fused(tables, view, options, way) for view, tables in parts]
        predicted[name] = of_parts[0] if len(of_parts) == 1 else folds.out_of_fold(corpus, of_parts)
    predicted["equal weights"] = joined(parts, corpus, lambda tables: np.mean([t.posterior for t in tables], axis=0))
    result = {}
    tallies = {}
    for name, table in predicted.items():
        system = align(name, Path(name), table, corpus)
        tallies[name] = tally(corpus, system, category_rows(corpus, system, rows))
    for name, each in tallies.items():
        gain = difference(each, tallies["interpolation"], "macro_f1")
        between = difference_bounds(each, tallies["interpolation"], "macro_f1", IntervalSettings())
        result[name] = (each.score("macro_f1"), named("gain", gain, between))
    return result


def joined(parts: Sequence[tuple[Manifest, Sequence[Predictions]]], corpus: Manifest, of: Any) -> Predictions:
    """Return a table of what ``of`` makes of each fold's experts; all of them predict the same utterances."""
    made = [replace(tables[0], posterior=of(tables)) for _, tables in parts]
    return made[0] if len(made) == 1 else folds.out_of_fold(corpus, made)


def cost() -> None:
    """Print the time of a selection among 30 experts on 150,000 utterances of 8 labels."""
    generator, n_experts, n, n_labels = np.random.default_rng(0), 30, 150_000, 8
    truth = generator.integers(0, n_labels, n)
    posteriors = np.empty((n_experts, n, n_labels))
    for expert in range(n_experts):
        evidence = generator.normal(size=(n, n_labels)) + generator.uniform(0.3, 1.3) * np.eye(n_labels)[truth]
        posteriors[expert] = np.exp(evidence) / np.exp(evidence).sum(axis=1, keepdims=True)
    before = time.process_time()
    fuser = Selection().fit(posteriors, truth)
    print(f"{n_experts} experts, {n:,} utterances: {time.process_time() - before:.1f} s, macro-F1 {fuser.score_:.4f}")


def main(
    project: Annotated[Path | None, typer.Argument(help="a project folder with data/ and params.yaml")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="which seeds; 1 to 3 by default")] = None,
    tables: Annotated[bool, typer.Option(help="fuse the tables of data/rebalanced, scored on test")] = False,
    tuning: Annotated[str, typer.Option(help="split or subset that is fitted on")] = "dev_bal",
    measure: Annotated[bool, typer.Option("--cost", help="measure the selection's time")] = False,
) -> None:
    """Print a table: a row a way of fusing, a column a seed."""
    if measure:
        cost()
    if project is None:
        return
    corpus, results = manifest.read(project / "data/manifest.parquet"), []
    seeds = seeds or [1, 2, 3]
    params = CorpusSettings.parse(load_yaml(project / "params.yaml")["corpus"], "corpus")
    for seed in seeds:
        options = {"seed": seed, "tuning": tuning}
        if tables:
            paths = sorted((project / "data/rebalanced").glob("*.parquet"))
            experts = without_attributes([predictions.read(path) for path in paths])
            parts = [(redrawn(corpus, params, seed), experts)]
            results.append(compared(parts, corpus, options, corpus.mask("test")))
            continue
        again = dealt(corpus, params, seed)
        parts = [(folds.view(again, fold), each) for fold, each in enumerate(experts_of(project, again))]
        results.append(compared(parts, again, options, again.mask(folds.SPLIT)))
    print(f"{len(parts[0][1])} experts, {len(corpus)} utterances of {corpus.corpus}")
    print(f"| fusion | {' | '.join(f'seed {seed}' for seed in seeds)} | mean above interpolation |")
    print(f"|---|{'---|' * len(seeds)}---|")
    for name in results[0]:
        cells = [f"{score:.3f} ({number(gain, 'gain', '+.3f')})" for score, gain in (r[name] for r in results)]
        print(f"| {name} | {' | '.join(cells)} | {np.mean([r[name][1]['gain'] for r in results]):+.3f} |")


if __name__ == "__main__":
    run(main)

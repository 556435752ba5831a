"""rebalancing: data/predictions/ or data/embeddings/ -> data/rebalanced/<entry>.parquet, models/rebalancing/<entry>/

An entry with folds reads the folds' tables of an expert, data/predictions_folds/<expert>/, or an embedding; its table
is out of fold, and data/rebalanced_folds/<entry>/ has a table a fold. An entry without has none.txt there.
"""

from contextlib import nullcontext
from pathlib import Path

from threadpoolctl import threadpool_limits

from pipeline_lib.command import run
from pipeline_lib.params.rebalancing import RebalancingSettings
from pipeline_lib.rebalancing import folds, learning, probe
from pipeline_lib.tables import manifest, named_splits

FEW = 20_000  # utterances: of fewer, products are so small that BLAS's threads wait longer than they compute


def main(
    entry: str,
    manifest_path: Path = Path("data/manifest.parquet"),
    out: Path = Path("data/rebalanced"),
    learned: Path = Path("models/rebalancing"),
    metrics: Path = Path("metrics/rebalancing"),
    plots: Path = Path("metrics/plots"),
) -> None:
    """Fit the entry that params.yaml names on its source, and write its tables and its curves."""
    settings = RebalancingSettings.read(f"rebalancing.{entry}")
    corpus = manifest.read(manifest_path)
    named_splits.refuse_wrong(corpus)
    with threadpool_limits(1, "blas") if len(corpus) < FEW else nullcontext():
        parts = folds.fit_parts(settings, corpus, entry)
        tables = out.with_name(f"{out.name}_folds") / entry
        folds.write_parts(parts, settings, corpus, learned / entry, out / f"{entry}.parquet", tables)
        layers, further = settings.source, folds.summary(parts, settings)
        curve: probe.Curve = {}
        if layers is not None and layers.has_curve:
            curve = probe.mean([probe.probe(part.source, part.manifest, layers, entry) for part in parts])
        if growth := learning.learning_curve(parts, settings, entry):
            further["learning_curve"] = growth
            print(f"rebalancing.{entry}: {growth['sentences'][0]}")
    learning.write(growth, plots / "learning" / f"{entry}.csv")
    probe.write(curve, further, plots / "layers" / f"{entry}.csv", metrics / f"{entry}.json", corpus.notice)


if __name__ == "__main__":
    run(main)

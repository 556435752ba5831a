"""rebalancing: data/predictions/ or data/embeddings/ -> data/rebalanced/<entry>.parquet, models/rebalancing/<entry>/"""

from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.params.rebalancing import RebalancingSettings
from pipeline_lib.rebalancing import model, probe, source
from pipeline_lib.rebalancing.rebalance import fit
from pipeline_lib.tables import manifest, predictions


def main(
    entry: str,
    manifest_path: Path = Path("data/manifest.parquet"),
    out: Path = Path("data/rebalanced"),
    learned: Path = Path("models/rebalancing"),
    metrics: Path = Path("metrics/rebalancing"),
    plots: Path = Path("metrics/plots/layers"),
) -> None:
    """Fit the entry that params.yaml names on its source, and write its table and its layer curve."""
    settings = RebalancingSettings.read(f"rebalancing.{entry}")
    corpus = manifest.read(manifest_path)
    read = source.read(settings, corpus, entry)
    fitted = fit(read, corpus, settings, entry)
    predictions.write(out / f"{entry}.parquet", model.apply(fitted, read))
    model.write(learned / entry, fitted)
    layers = settings.source
    curve = probe.probe(read, corpus, layers, entry) if layers is not None and layers.has_curve else {}
    probe.write(curve, fitted.temperature, plots / f"{entry}.csv", metrics / f"{entry}.json", corpus.notice)


if __name__ == "__main__":
    run(main)

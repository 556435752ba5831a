"""rebalancing: data/predictions/ or data/embeddings/ -> data/rebalanced/<entry>.parquet, models/rebalancing/<entry>/"""

from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.params.rebalancing import RebalancingSettings
from pipeline_lib.rebalancing import model, source
from pipeline_lib.rebalancing.rebalance import fit
from pipeline_lib.tables import manifest, predictions


def main(
    entry: str,
    manifest_path: Path = Path("data/manifest.parquet"),
    out: Path = Path("data/rebalanced"),
    learned: Path = Path("models/rebalancing"),
) -> None:
    """Fit the entry that params.yaml names on its source, and write its table."""
    settings = RebalancingSettings.read(f"rebalancing.{entry}")
    corpus = manifest.read(manifest_path)
    read = source.read(settings, corpus, entry)
    fitted = fit(read, corpus, settings, entry)
    predictions.write(out / f"{entry}.parquet", model.apply(fitted, read))
    model.write(learned / entry, fitted)


if __name__ == "__main__":
    run(main)

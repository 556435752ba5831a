"""rebalancing: data/predictions/<expert>.parquet -> data/rebalanced/<expert>.parquet"""

from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.params.rebalancing import RebalancingSettings
from pipeline_lib.rebalancing.rebalance import rebalance
from pipeline_lib.tables import manifest, predictions


def main(
    expert: str,
    manifest_path: Path = Path("data/manifest.parquet"),
    predicted: Path = Path("data/predictions"),
    out: Path = Path("data/rebalanced"),
) -> None:
    """Rebalance the posterior of the expert that params.yaml names."""
    settings = RebalancingSettings.read(f"rebalancing.{expert}")
    said = predictions.read(predicted / f"{expert}.parquet")
    predictions.write(out / f"{expert}.parquet", rebalance(said, manifest.read(manifest_path), settings))


if __name__ == "__main__":
    run(main)

"""fusion: data/rebalanced/<expert>.parquet -> data/fused.parquet, data/fused_crossfitted.parquet, models/fusion/"""

from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.fusion import model
from pipeline_lib.fusion.describe import describe
from pipeline_lib.fusion.fuse import fuse
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.tables import manifest, predictions


def main(
    manifest_path: Path = Path("data/manifest.parquet"),
    rebalanced: Path = Path("data/rebalanced"),
    out: Path = Path("data/fused.parquet"),
    crossfitted: Path = Path("data/fused_crossfitted.parquet"),
    learned: Path = Path("models/fusion"),
) -> None:
    """Fuse the experts that params.yaml names into one posterior an utterance."""
    settings = FusionSettings.read("fusion")
    experts = [predictions.read(rebalanced / f"{name}.parquet") for name in settings.experts]
    fusion = fuse(experts, manifest.read(manifest_path), settings)
    predictions.write(out, fusion.fused)
    predictions.write(crossfitted, fusion.crossfitted)
    model.write(learned, fusion, settings)
    print("\n".join(describe(fusion, settings)))


if __name__ == "__main__":
    run(main)

"""fusion: data/rebalanced/<expert>.parquet -> data/fused.parquet, data/fused_crossfitted.parquet, models/fusion/

With folds it reads data/rebalanced_folds/<expert>/; both tables are then the same one, out of fold.
"""

from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.fusion import model, out_of_fold
from pipeline_lib.fusion.describe import describe
from pipeline_lib.fusion.fuse import fuse, resolved
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
    settings, corpus = resolved(FusionSettings.read("fusion")), manifest.read(manifest_path)
    if settings.folds:
        fusions, fused = out_of_fold.fuse_folds(rebalanced.with_name(f"{rebalanced.name}_folds"), corpus, settings)
        for path in (out, crossfitted):
            predictions.write(path, fused)
        out_of_fold.write(learned, fusions, settings)
    else:
        fusions = [
            fuse([predictions.read(rebalanced / f"{name}.parquet") for name in settings.experts], corpus, settings)
        ]
        predictions.write(out, fusions[0].fused)
        predictions.write(crossfitted, fusions[0].crossfitted)
        model.write(learned, fusions[0], settings)
    print("\n".join(line for fusion in fusions for line in describe(fusion, settings)))


if __name__ == "__main__":
    run(main)

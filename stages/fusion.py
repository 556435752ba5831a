"""fusion: data/rebalanced/<expert>.parquet -> data/fused.parquet, data/fused_crossfitted.parquet, models/fusion/

With folds: data/rebalanced_folds/<expert>/ -> the same files; both tables are then the one of all folds, out of fold.
"""

from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.fusion import cross_validation, model
from pipeline_lib.fusion.describe import describe
from pipeline_lib.fusion.fuse import fuse
from pipeline_lib.params.fusion import FusionSettings
from pipeline_lib.tables import folds, manifest, named_splits, predictions


def main(
    manifest_path: Path = Path("data/manifest.parquet"),
    rebalanced: Path = Path("data/rebalanced"),
    out: Path = Path("data/fused.parquet"),
    crossfitted: Path = Path("data/fused_crossfitted.parquet"),
    learned: Path = Path("models/fusion"),
) -> None:
    """Fuse the experts that params.yaml names into one posterior an utterance."""
    settings, corpus = FusionSettings.read("fusion"), manifest.read(manifest_path)
    named_splits.refuse_wrong(corpus)
    if settings.folds:
        tables = rebalanced.with_name(f"{rebalanced.name}_folds")
        fusions, joined = cross_validation.fuse_folds(tables, corpus, settings)
        predictions.write(out, joined)
        predictions.write(crossfitted, joined)
        cross_validation.write_models(learned, fusions, settings)
        for fold, fitted in enumerate(fusions):
            print("\n".join(f"{folds.name_of(fold)}: {line}" for line in describe(fitted, settings)))
        return
    experts = [predictions.read(rebalanced / f"{name}.parquet") for name in settings.experts]
    fusion = fuse(experts, corpus, settings)
    assert fusion.crossfitted is not None
    predictions.write(out, fusion.fused)
    predictions.write(crossfitted, fusion.crossfitted)
    model.write(learned, fusion, settings)
    print("\n".join(describe(fusion, settings)))


if __name__ == "__main__":
    run(main)

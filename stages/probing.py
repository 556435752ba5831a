"""probing: data/manifest.parquet, data/embeddings/<name>/ -> its layer curve

A stage of its own, so that another strength of the probe does not embed the corpus again.
"""

from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.embedding import probe
from pipeline_lib.params.embedding import ProbeSettings
from pipeline_lib.tables import manifest


def main(
    name: str,
    manifest_path: Path = Path("data/manifest.parquet"),
    embeddings: Path = Path("data/embeddings"),
    metrics: Path = Path("metrics/embedding"),
    plots: Path = Path("metrics/plots/layers"),
) -> None:
    """Measure what linear models read from each layer of an embedding."""
    settings = ProbeSettings.read(f"embedding.{name}.probe")
    corpus = manifest.read(manifest_path)
    curve = probe.probe(embeddings / name, corpus, settings) if settings.enabled else {}
    probe.write(curve, plots / f"{name}.csv", metrics / f"{name}.json", corpus.notice)


if __name__ == "__main__":
    run(main)

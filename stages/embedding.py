"""embedding: data/manifest.parquet (and transcripts) -> data/embeddings/<name>/"""

from collections.abc import Sequence
from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.embedding.embed import embed
from pipeline_lib.encoders.text import Text
from pipeline_lib.experts.utterances import in_context, reference_texts
from pipeline_lib.params.base import read_value
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.machine import read_machine
from pipeline_lib.shards import packs
from pipeline_lib.tables import dialogues, manifest, named_splits, transcripts


def main(
    name: str,
    manifest_path: Path = Path("data/manifest.parquet"),
    transcripts_path: Path = Path("data/transcripts.parquet"),
    out: Path = Path("data/embeddings"),
    work: Path = Path("work"),
) -> None:
    """Embed every utterance with the encoder that params.yaml names."""
    settings, machine = EmbeddingSettings.read(f"embedding.{name}"), read_machine()
    corpus = manifest.read(manifest_path)
    named_splits.refuse_wrong(corpus)
    texts: Sequence[Text | None] | None = None
    if settings.modality == "text":
        by_engine = settings.text == "transcripts"
        own = transcripts.read(transcripts_path).aligned(list(corpus.ids)) if by_engine else reference_texts(corpus)
        texts = own
        if settings.context:
            texts = behind = in_context(corpus, own, own, settings.context)
            previous = [text[:-1] for text in behind if text is not None]
            print(f"{name}: {dialogues.describe(previous, settings.context)}")
    embed(corpus, Path(read_value("corpus.root")), texts, settings, out / name, work, machine.embedding)
    packs.print_trimmed(work, machine.cache.limit_gb)


if __name__ == "__main__":
    run(main)

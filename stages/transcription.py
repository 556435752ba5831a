"""transcription: data/manifest.parquet -> data/transcripts.parquet, metrics/transcription.json"""

from pathlib import Path

from pipeline_lib.command import run
from pipeline_lib.params.base import read_value
from pipeline_lib.params.machine import read_machine
from pipeline_lib.params.transcription import TranscriptionSettings
from pipeline_lib.shards import packs
from pipeline_lib.tables import manifest, named_splits, transcripts
from pipeline_lib.transcription.normalisation import normaliser_of
from pipeline_lib.transcription.quality import measure, report
from pipeline_lib.transcription.transcribe import transcribe


def main(
    manifest_path: Path = Path("data/manifest.parquet"),
    out: Path = Path("data/transcripts.parquet"),
    metrics: Path = Path("metrics/transcription.json"),
    work: Path = Path("work"),
) -> None:
    """Transcribe every utterance with the engine that params.yaml names."""
    settings, machine = TranscriptionSettings.read("transcription"), read_machine()
    corpus = manifest.read(manifest_path)
    named_splits.refuse_wrong(corpus)
    result = transcribe(corpus, Path(read_value("corpus.root")), settings, work, machine=machine.transcription)
    transcripts.write(
        out,
        list(corpus.ids),
        result.texts,
        engine=result.engine,
        checkpoint=result.checkpoint,
        decoding=result.decoding,
        origin=result.origin,
    )
    transcribed = None if result.engine == "reference" else corpus.has_audio
    report(measure(corpus, result.texts, transcribed, normaliser_of(settings)), metrics)
    packs.print_trimmed(work, machine.cache.limit_gb)


if __name__ == "__main__":
    run(main)

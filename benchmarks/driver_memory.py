"""Peak memory of the driver while it assembles 150,000 utterances, computation left out.

``python -m benchmarks.driver_memory`` runs each stage's own assembly on a synthetic manifest, each in a process of its
own, and prints the peak of the resident memory. Shards are computed by a trivial job, in this process; of embeddings
four layers are stored (memory does not depend on how many, time does). ``--rows``, ``--width`` of a hidden state
and ``--head``, the width of an expert's embedding, change the size. It needs 4 GB of disk in ``--place``.
"""

import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import typer

from pipeline_lib.shards import items
from pipeline_lib.tables import embeddings, manifest, predictions, transcripts
from pipeline_lib.tables.manifest import Manifest

LAYERS, SHARD = (0, 8, 16, 24), 256


def main(rows: int = 150_000, width: int = 1024, head: int = 256, place: Path | None = None, stage: str = "") -> None:
    """Measure all stages one after the other; with ``stage`` be the process of one, in a folder made for it."""
    stages = {f.__name__: f for f in (write_manifest, imports, transcription, embedding, prediction)}
    if not stage:
        folder = Path(tempfile.mkdtemp(dir=place))
        try:
            for name in stages:
                given = [
                    "--rows",
                    str(rows),
                    "--width",
                    str(width),
                    "--head",
                    str(head),
                    "--place",
                    str(folder),
                    "--stage",
                    name,
                ]
                subprocess.run([sys.executable, "-m", "benchmarks.driver_memory", *given, "--stage", name], check=True)
        finally:
            shutil.rmtree(folder)
        return
    began = time.perf_counter()
    stages[stage](rows, head if stage == "prediction" else width, place)
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    if stage != "write_manifest":
        print(f"{stage}: {rows} utterances, peak {peak_gb:.2f} GB, {time.perf_counter() - began:.0f} s", flush=True)


def imports(rows: int, width: int, folder: Path) -> None:
    """Load what the heaviest stage loads, and the manifest."""
    import pipeline_lib.finetuning.finetune  # noqa: F401

    manifest.read(folder / "manifest.parquet")


def transcription(rows: int, width: int, folder: Path) -> None:
    """Transcribe with an engine that knows one sentence."""
    from pipeline_lib.params.transcription import CanarySettings, TranscriptionSettings
    from pipeline_lib.transcription import transcribe as room
    from pipeline_lib.transcription.job import TranscriptionJob

    def compute(self: TranscriptionJob, recognizer: object, indices: list[int]) -> pa.Table:
        texts = [f"this is the speech in recording number {row}, and no more than that" for row in indices]
        return pa.table({"row": pa.array(indices, pa.int64()), "text": texts})

    TranscriptionJob.transcribe = compute
    corpus = manifest.read(folder / "manifest.parquet")
    settings = TranscriptionSettings(engine="canary", canary=CanarySettings(checkpoint="none"))
    transcription = room.transcribe(corpus, folder, settings, folder / "work")
    source = {
        "engine": transcription.engine,
        "checkpoint": transcription.checkpoint,
        "decoding": transcription.decoding,
    }
    transcripts.write(folder / "transcripts.parquet", corpus.ids, transcription.texts, **source)


def embedding(rows: int, width: int, folder: Path) -> None:
    """Write the layers of an encoder that always says the same."""
    from pipeline_lib.embedding import embed as room
    from pipeline_lib.embedding import plan

    corpus = manifest.read(folder / "manifest.parquet")
    ids, noise = corpus.ids.tolist(), np.random.default_rng(0)
    info = embeddings.Info("none", "none", None, "audio", width, 50.0, LAYERS, "mean", False, rows)

    def shards(chosen: list[int]) -> list[list[int]]:
        parts = plan.shards([2 * len(LAYERS) * width] * len(chosen), SHARD)
        return [[chosen[i] for i in part] for part in parts]

    def compute(chosen: list[int]) -> pa.Table:
        values = {f"vector_{n}": noise.standard_normal((len(chosen), width)).astype(np.float16) for n in LAYERS}
        columns = {name: pa.array([row.tobytes() for row in each], pa.binary()) for name, each in values.items()}
        return pa.table({"row": pa.array(chosen, pa.int64()), **columns})

    keys = dict(enumerate(items.keys_of(ids)))
    given = (folder / "embedded", "embedding", "none", keys, shards, compute, "embedding")
    with items.computed(*given) as packs, embeddings.writing(folder / "embedding", info) as writer:
        for part in shards(list(range(rows))):
            taken = packs.take([keys[row] for row in part])
            writer.add([ids[row] for row in part], *room._content(taken, info))


def prediction(rows: int, width: int, folder: Path) -> None:
    """Gather the outputs of a network with eight labels, three attributes and an embedding."""
    from types import SimpleNamespace

    from torch import nn

    from pipeline_lib.experts import predict as room
    from pipeline_lib.experts.readers import Reader
    from pipeline_lib.experts.settings import ExpertSettings
    from pipeline_lib.experts.utterances import BranchReader, Utterances

    corpus = manifest.read(folder / "manifest.parquet")
    labels, names = list("ACDFHNSU"), ["arousal", "valence", "dominance"]
    noise = np.random.default_rng(0)

    def outputs(network: object, plan: list[np.ndarray], *given: object, **named: object):
        for batch in plan:
            widths = {"logits": len(labels), "attributes": len(names), "embedding": width}
            yield {name: noise.random((len(batch), n), dtype=np.float32) for name, n in widths.items()}

    room.outputs_of = outputs
    settings = ExpertSettings.parse(
        {
            "branches": {
                "text": {
                    "encoder": {"checkpoint": "none"},
                    "layers": "last",
                    "adaptation": {"method": "frozen"},
                }
            },
            "pooling": {},
            "head": {},
            "labels": labels,
            "attributes": names,
            "attribute_scale": [1.0, 7.0],
            "attribute_range": "signed",
            "seed": 1,
            "max_s": 30.0,
            "text": "reference",
            "prior": [1 / 8] * 8,
        },
        "none",
    )
    network = nn.Linear(1, 1)
    network.views, network.encoder = None, SimpleNamespace(branches={"text": None})
    lengths = corpus.frame["duration_s"].to_numpy()
    read = BranchReader({"text": Reader([""] * rows, lengths)})
    utterances = Utterances(corpus.ids, lengths, np.ones((rows, 1), dtype=bool), read)
    predicted = room.predict(room.Expert(folder, settings, network), utterances, folder=folder / "predicted")
    predictions.write(folder / "predictions.parquet", predicted)


def write_manifest(rows: int, width: int, folder: Path) -> None:
    """Write a manifest with as much in it as a large corpus has."""
    generator = np.random.default_rng(1)
    numbers = range(rows)
    frame = pd.DataFrame(
        {
            "utterance_id": [f"MSP-PODCAST_{n:06d}_{n % 100:04d}" for n in numbers],
            "audio": [f"Audios/MSP-PODCAST_{n:06d}_{n % 100:04d}.wav" for n in numbers],
            "audio_sha256": [f"{n:064x}" for n in numbers],
            "video": None,
            "duration_s": generator.uniform(2, 11, rows).round(3),
            "split": [("train", "dev", "test")[n % 3] for n in numbers],
            "subsets": [[] for _ in numbers],
            "speaker": [f"{n % 1500}" for n in numbers],
            "gender": ["female" if n % 2 else "male" for n in numbers],
            "emotion": [("angry", "happy")[n % 2] for n in numbers],
            "votes": [{"angry": 3, "happy": 2} for _ in numbers],
            **{name: generator.uniform(1, 7, rows) for name in ("arousal", "valence", "dominance")},
            "reference_text": None,
        }
    ).sort_values("utterance_id", ignore_index=True)
    whole = frame.astype({"video": object, "reference_text": object})
    manifest.write(folder / "manifest.parquet", Manifest(whole, "big", ("angry", "happy")))


if __name__ == "__main__":
    typer.run(main)

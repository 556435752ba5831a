"""Checks of the parameters, of the corpus that they name, and of the disk that they will fill."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import try_to_load_from_cache

from pipeline_lib.audio import decoding
from pipeline_lib.audio.decoding import BadAudio
from pipeline_lib.corpus.checksums import SUMS
from pipeline_lib.corpus.layout import files
from pipeline_lib.doctor.leftovers import size
from pipeline_lib.doctor.result import Result
from pipeline_lib.errors import InputError
from pipeline_lib.modalities import MODALITIES
from pipeline_lib.params.check import check
from pipeline_lib.params.corpus import CorpusSettings, check_root
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.encoder import FUNCTIONALS
from pipeline_lib.params.inputs import checkpoint_of, is_local, made_by_stages, parts_with_encoder
from pipeline_lib.params.sections import Params
from pipeline_lib.tables import folds, manifest, segments

SAMPLE = 20  # recordings decoded
LEAST_FREE_GB = 2.0
FRAMES_A_SECOND = 50  # of every speech backbone here
SECONDS_UNKNOWN = 5.0  # an utterance, where no manifest says
CHECKPOINTS = 7  # times what is trained: two of weights and two moments each, and the best weights


def parameters(path: Path) -> tuple[Params | None, list[Result]]:
    """Return params.yaml, None where it cannot be run, and a result for each mistake in it."""
    try:
        params = check(path)
    except InputError as error:
        remedy = "the line names what is expected; ser apply writes a recipe anew"
        return None, [Result("parameters", "problem", line, remedy) for line in str(error).splitlines()]
    return params, [Result("parameters", "ok", f"{path} can be run")]


def corpus(settings: CorpusSettings, made: bool, table: Path) -> Iterator[Result]:
    """Yield the result for the corpus: whether it is there and a sample of its recordings decodes.

    Args:
        settings: the section ``corpus``
        made: whether a stage makes the corpus, so that it may be absent
        table: the manifest, which may be absent
    """
    root = Path(settings.root)
    try:
        check_root(settings)
    except InputError as error:
        if made:
            yield Result("corpus", "ok", f"{root} is made by dvc repro")
        else:
            yield Result("corpus", "problem", str(error), "mount it, or set corpus.root")
        return
    sample = _sample(root, table)
    bad = []
    for path, part in sample:
        try:
            recording = decoding.resolve_under(root, path)
            decoding.examine(recording, settings.min_duration_s, settings.max_duration_s, segment=part)
        except InputError as error:
            too_long = isinstance(error, BadAudio) and error.reason == "too long"
            if not too_long or settings.reader != "table" or table.is_file():
                bad.append(str(error))  # a table that was not read yet may name parts of long recordings
    if bad:
        remedy = "data/quarantine.parquet lists the recordings left out; fetch the corpus anew if they are many"
        yield Result("corpus", "warning", f"{len(bad)} of {len(sample)} tried recordings: {bad[0]}", remedy)
    else:
        sums = ", verified against SHA256SUMS when read" if (root / SUMS).is_file() else ""
        yield Result("corpus", "ok", f"{root}, {len(sample)} recordings tried{sums}")


def disk(root: Path, params: Params, table: Path) -> Iterator[Result]:
    """Yield the result for the disk: free space against an estimate of embeddings, tuned models and checkpoints.

    Args:
        root: of the project
        params: the present parameters
        table: the manifest, which may be absent
    """
    free = shutil.disk_usage(root).free
    needed, unknown = estimate(params, table)
    message = f"{free / 1e9:.1f} GB free, about {needed / 1e9:.1f} GB still to be written"
    if unknown:
        message += f" (not counted: {', '.join(unknown)}, whose size is not known here)"
    if free < needed or free < LEAST_FREE_GB * 1e9:
        remedy = "free space, or keep fewer layers (embedding.<name>.layers, frames: false)"
        yield Result("disk", "problem" if free < needed else "warning", message, remedy)
    else:
        yield Result("disk", "ok", message)


def estimate(params: Params, table: Path) -> tuple[float, list[str]]:
    """Return an estimate of the bytes still to be written, and the entries whose checkpoint is not on this machine.

    An embedding holds utterances x layers x width x 2 bytes, with frames that many a frame, and as much again in the
    cache that is filled meanwhile. A tuned model takes its weights when all of it is tuned, a sixteenth of them when
    an adapter is, nothing where it is frozen; its checkpoints seven times that. With k folds the checkpoints are those
    of one fold at a time, and models are 2 k: in models/, and in work/ until all are trained. Existing outputs are not
    counted again.

    Args:
        params: the present parameters
        table: the manifest, which may be absent
    """
    n, seconds = _extent(params, table)
    total, unknown = 0.0, []
    for name, entry in params.embedding.items():
        if (table.parent / "embeddings" / name).exists():
            continue
        shape = _shape(*checkpoint_of(entry, params))
        if shape is None:
            unknown.append(f"embedding.{name}")
            continue
        layers, width = shape
        kept = layers + 1 if entry.layers == "all" else len(entry.layers)
        is_timed = MODALITIES[entry.modality].unit == "seconds"
        frames = seconds * FRAMES_A_SECOND if entry.frames and is_timed else 0
        total += 2 * embedding_bytes(entry, n, frames, kept, width)
    for where, _, part in parts_with_encoder(params):
        section, name = where.split(".")[:2]
        if section != "finetuning" or (table.parent.parent / "models" / name).exists():
            continue
        weights = Path(checkpoint_of(part, params)[0])
        if not weights.is_dir():
            unknown.append(where)
            continue
        adaptation = getattr(part, "adaptation", None)  # a branch that reads stored frames has none
        if adaptation is None or adaptation.method == "frozen":
            continue
        if (copies := _copies(params, name, table)) is None:
            unknown.append(f"{where} (folds: loso)")
            continue
        total += size(weights) * (1.0 if adaptation.method == "full" else 1 / 16) * (CHECKPOINTS + copies)
    return total, unknown


def _copies(params: Params, name: str, table: Path) -> int | None:
    """Return how often an expert's model is on the disk at once; None where the number of folds is not known yet."""
    if not params.finetuning[name].folds:
        return 1
    known = folds.count(manifest.read(table)) if table.is_file() else 0
    k = known or params.corpus.split.folds.k
    return 2 * k if isinstance(k, int) else None


def embedding_bytes(entry: EmbeddingSettings, n: int, n_frames: float, layers: int, width: int) -> float:
    """Return the bytes of an embedding's values, float16.

    Args:
        entry: its pooling
        n: utterances
        n_frames: of all utterances together, 0 where they are not kept
        layers: that are kept
        width: of a state
    """
    return 2 * layers * width * (n * (2 if entry.pooling == "mean_std" else 1) + n_frames)


def _sample(root: Path, table: Path) -> list[tuple[str, segments.Part]]:
    """Return utterances at even steps of the manifest, or recordings of the folder where there is no manifest."""
    if table.is_file():
        named = segments.named(manifest.read(table).frame)
    else:
        named = [(str(path), segments.WHOLE) for path in files(root)]
    return named[:: max(1, len(named) // SAMPLE)][:SAMPLE]


def _extent(params: Params, table: Path) -> tuple[int, float]:
    """Return utterances and seconds; without a manifest, the recordings below the root and a guess."""
    if table.is_file():
        frame = manifest.read(table).frame
        return len(frame), float(frame["duration_s"].sum())
    root = Path(params.corpus.root)
    n = len(files(root)) if root.is_dir() and os.access(root, os.R_OK) else 0
    return n, n * SECONDS_UNKNOWN


def _shape(checkpoint: str, revision: str | None) -> tuple[int, int] | None:
    """Return layers and width from a checkpoint's config.json, None where it is not on this machine."""
    if checkpoint in FUNCTIONALS:
        return 0, FUNCTIONALS[checkpoint]
    path = Path(checkpoint) / "config.json"
    if not path.is_file():
        cached = None
        if checkpoint.count("/") == 1 and not is_local(checkpoint):
            cached = try_to_load_from_cache(checkpoint, "config.json", revision=revision)
        if not isinstance(cached, str):
            return None
        path = Path(cached)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        layers = config.get("num_hidden_layers") or config.get("encoder_layers") or config["num_layers"]
        return int(layers), int(config.get("hidden_size") or config["d_model"])
    except (ValueError, KeyError, TypeError):
        return None


def is_made(params: Params) -> bool:
    """Return whether a stage of these parameters makes the corpus."""
    return params.corpus.root in made_by_stages(params)

"""What a trained expert weighs, and of a shared transformer, how well it aligns and whether it collapsed.

    ser alignment joint

writes ``metrics/finetuning/joint.json``: the number of parameters, and where the mixer is a shared transformer

- ``retrieval``: among 32 utterances, how often an utterance's audio is most like its own text, and the reverse, by the
  plain dot product of the aligned vectors z (Chochlakis et al., section 4.4). Chance is 1/32. Ties count as what a draw
  among the tied would give, so that vectors that ReLU made 0 are no better than chance.
- ``collapse``: the largest Euclidean distance between two of an utterance's tokens, mean over utterances (their
  table 2), where they enter the transformer and where they leave it, of unimodal passes; ``collapse_at_random`` is the
  same before training. The modality's type is the same in all tokens and changes no distance. One token is no pair.

The paper draws 300 utterances for the collapse and does not say how many for retrieval: here the same draw serves both,
as many groups of 32 as it holds.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline_lib import experts
from pipeline_lib.encoders.device import pick
from pipeline_lib.errors import InputError
from pipeline_lib.finetuning import batches, combinations, data
from pipeline_lib.finetuning.batches import Batch
from pipeline_lib.finetuning.readers import Pairs, Recordings
from pipeline_lib.networks.frames import Frames
from pipeline_lib.networks.joint import JointNetwork
from pipeline_lib.networks.mixers.shared_transformer import SharedTransformer
from pipeline_lib.params.base import PARAMS, read_params, read_value
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.machine import read_machine
from pipeline_lib.storage import atomic
from pipeline_lib.tables import manifest, segments, transcripts
from pipeline_lib.tables.manifest import Manifest

AMONG = 32
PLACES = ("input", "output")


def parameters(network: torch.nn.Module) -> dict[str, int]:
    """Return the number of weights: of all, of the encoders and of everything else; buffers are none."""
    sizes = {name: each.numel() for name, each in network.named_parameters()}
    encoders = sum(size for name, size in sizes.items() if name.startswith("encoder."))
    return {"total": sum(sizes.values()), "encoders": encoders, "rest": sum(sizes.values()) - encoders}


def retrieval(audio: Tensor, text: Tensor, among: int = AMONG) -> dict[str, float] | None:
    """Return how often audio finds its own text, and text its own audio, in [0, 1]; None with too few utterances.

    Args:
        audio: vectors, shape ``(n, width)``
        text: those of the same utterances, likewise
        among: utterances in a group; a rest that fills none is left out
    """
    found: dict[str, list[float]] = {"audio": [], "text": []}
    for start in range(0, len(audio) - among + 1, among):
        group = slice(start, start + among)
        similar = audio[group].double() @ text[group].double().T
        for name, rows in (("audio", similar), ("text", similar.T)):
            best = rows == rows.amax(dim=1, keepdim=True)
            found[name] += (best.diagonal() / best.sum(dim=1)).tolist()
    return {name: float(np.mean(each)) for name, each in found.items()} if found["audio"] else None


def largest_distances(frames: Frames) -> Tensor:
    """Return the largest distance between two of an utterance's own frames, shape ``(n,)``; who has fewer is left out.

    Args:
        frames: values of any kind where the mask is False
    """
    frames = frames.of(frames.mask.sum(dim=1) > 1).cleared()
    values = frames.values.double()
    distances = torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist")  # (n, time, time)
    pairs = frames.mask[:, :, None] & frames.mask[:, None, :]
    return distances.masked_fill(~pairs, 0.0).flatten(1).amax(dim=1)


def measured(network: JointNetwork, inputs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return retrieval and collapse of a shared transformer.

    Args:
        network: in eval mode, its mixer a shared transformer
        inputs: batches of utterances that have audio and text, on the network's device
    """
    vectors: dict[str, list[Tensor]] = {name: [] for name in network.modalities}
    distances: dict[str, dict[str, list[Tensor]]] = {name: {p: [] for p in PLACES} for name in network.modalities}
    with torch.inference_mode():
        for batch in inputs:
            for name, frames in network.frames(batch).items():
                tokens = network.mixer.tokens({name: frames})[name]
                contextual = network.mixer.contextual({name: frames})[1][name]
                vectors[name].append(network.mixer.align(contextual).cpu())
                for place, each in zip(PLACES, (tokens, contextual), strict=True):
                    distances[name][place].append(largest_distances(each).cpu())
    audio, text = (torch.cat(vectors[name]) for name in ("audio", "text"))
    collapse = {
        name: {place: float(torch.cat(each).mean()) for place, each in places.items() if torch.cat(each).numel()}
        for name, places in distances.items()
    }
    return {"utterances": len(audio), "retrieval": retrieval(audio, text), "collapse": collapse}


def drawn(corpus: Manifest, present: np.ndarray, split: str, expected: int, seed: int) -> np.ndarray:
    """Return some rows of the split that have audio and text, in random order.

    Raises:
        InputError: there are none
    """
    rows = np.flatnonzero(corpus.mask(split) & present.all(axis=1))
    if not len(rows):
        raise InputError(f"no utterance of {split!r} has audio and text, there is nothing to align")
    return np.random.default_rng([seed, 0]).permutation(rows)[:expected]


def prepared(
    network: JointNetwork,
    read: Pairs,
    rows: np.ndarray,
    lengths: np.ndarray,
    settings: FinetuningSettings,
    workers: int,
) -> Iterator[dict[str, Any]]:
    """Yield the rows' batches on the network's device; of an utterance that is too long the middle."""
    size, device = settings.predict.batch_size, next(network.parameters()).device
    parts: Sequence[np.ndarray] = [rows[start : start + size] for start in range(0, len(rows), size)]
    chunked = [Batch(each, *batches.whole(lengths[each], settings)) for each in parts]
    loader = batches.Loader(chunked, read, network.encoder.prepare, {})
    for inputs, _ in batches.load(loader, workers, device):
        yield batches.to(inputs, device)


def diagnose(
    folder: Path, settings: FinetuningSettings, corpus: Manifest, root: Path, texts: Sequence[str] | None, **draw: Any
) -> dict[str, Any]:
    """Return what is written of an expert.

    Args:
        folder: of the trained expert
        settings: its entry
        corpus: the manifest
        root: of the audio
        texts: transcripts, None where the expert reads none
        draw: ``split``, ``expected`` and ``seed`` of the utterances
    """
    machine = read_machine().finetuning
    device = pick(machine.device)
    network = experts.load(folder, device)
    found: dict[str, Any] = {"parameters": parameters(network)}
    if not (isinstance(network, JointNetwork) and isinstance(network.mixer, SharedTransformer)):
        return found
    heard = data.texts_of(corpus, texts, settings)
    rows = drawn(corpus, combinations.present(corpus, heard, settings), **draw)
    lengths = data.lengths_of(corpus, heard, settings)
    read = Pairs(Recordings(segments.of(corpus, root), network.encoder.minimum_samples), heard)
    found |= measured(network, prepared(network, read, rows, lengths, settings, machine.workers))
    fresh = experts.build(experts.read_settings(folder), device, folder).eval()
    found["collapse_at_random"] = measured(fresh, prepared(fresh, read, rows, lengths, settings, machine.workers))[
        "collapse"
    ]
    return found


def write_report(
    expert: str,
    split: str = "test",
    expected: int = 300,
    seed: int = 1,
    params: Path = PARAMS,
    manifest_path: Path = Path("data/manifest.parquet"),
    transcripts_path: Path = Path("data/transcripts.parquet"),
    models: Path = Path("models"),
    out: Path = Path("metrics/finetuning"),
) -> None:
    """Say what an expert weighs, and how well a shared transformer aligns audio and text."""
    settings, corpus = FinetuningSettings.read(f"finetuning.{expert}", params), manifest.read(manifest_path)
    texts = None
    if settings.modality != "audio" and settings.text == "transcripts":
        texts = transcripts.read(transcripts_path).aligned(corpus.ids)
    root = Path(read_value("corpus.root", params))
    found = diagnose(models / expert, settings, corpus, root, texts, split=split, expected=expected, seed=seed)
    values = read_params(params)
    kept = {name: values[name] for name in ("corpus", "transcription")}
    said = {"notice": corpus.notice, "split": split, **found}
    said["params"] = {**kept, "finetuning": {expert: values["finetuning"][expert]}}  # whose numbers these are
    atomic.write(out / f"{expert}.json", json.dumps(said, indent=2, allow_nan=False) + "\n")
    print(json.dumps({name: each for name, each in said.items() if name != "params"}, indent=2))

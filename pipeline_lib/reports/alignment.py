"""Size of a trained expert; of a shared transformer also its alignment and collapse.

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
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pipeline_lib.encoders.device import pick
from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk
from pipeline_lib.experts.loading import Loader, load, to, whole
from pipeline_lib.experts.outputs import in_batches
from pipeline_lib.experts.utterances import Utterances, from_manifest
from pipeline_lib.networks.frames import Frames
from pipeline_lib.networks.mixers.shared_transformer import SharedTransformer
from pipeline_lib.networks.network import Network
from pipeline_lib.params.base import PARAMS, read_params, read_value
from pipeline_lib.params.finetuning import FinetuningSettings, read_entry
from pipeline_lib.params.machine import read_machine
from pipeline_lib.storage import atomic
from pipeline_lib.tables import manifest, transcripts
from pipeline_lib.tables.manifest import Manifest

AMONG = 32
ENDS = ("input", "output")


def parameters(network: torch.nn.Module) -> dict[str, int]:
    """Return the number of weights: total, encoders and rest; buffers do not count."""
    sizes = {name: weight.numel() for name, weight in network.named_parameters()}
    encoders = sum(size for name, size in sizes.items() if name.startswith("encoder."))
    return {"total": sum(sizes.values()), "encoders": encoders, "rest": sum(sizes.values()) - encoders}


def retrieval(vectors: Mapping[str, Tensor], among: int = AMONG) -> dict[str, float] | None:
    """Return the accuracy of retrieving an utterance's text by its audio, and its audio by its text.

    Of more than two modalities each one's is the mean over the others that it retrieves.

    Args:
        vectors: by modality, of the same utterances, shape ``(n, width)``
        among: utterances in a group; an incomplete last group is left out

    Returns:
        by the modality that queries, in [0, 1]; None with fewer than ``among`` utterances
    """
    result: dict[str, list[float]] = {name: [] for name in vectors}
    n = len(next(iter(vectors.values())))
    for start in range(0, n - among + 1, among):
        group = {name: values[start : start + among].double() for name, values in vectors.items()}
        for one, other in combinations(group, 2):
            similar = group[one] @ group[other].T
            for name, rows in ((one, similar), (other, similar.T)):
                best = rows == rows.amax(dim=1, keepdim=True)
                result[name] += (best.diagonal() / best.sum(dim=1)).tolist()
    return {name: float(np.mean(hits)) for name, hits in result.items()} if n >= among else None


def largest_distances(frames: Frames) -> Tensor:
    """Return the largest Euclidean distance between two of an utterance's own frames.

    Args:
        frames: shape ``(n, time, width)``; values where the mask is False are ignored

    Returns:
        shape ``(n_with_two,)``; an utterance of fewer than two frames is left out
    """
    frames = frames.of(frames.mask.sum(dim=1) > 1).cleared()
    values = frames.values.double()
    distances = torch.cdist(values, values, compute_mode="donot_use_mm_for_euclid_dist")  # (n, time, time)
    pairs = frames.mask[:, :, None] & frames.mask[:, None, :]
    return distances.masked_fill(~pairs, 0.0).flatten(1).amax(dim=1)


def measured(network: Network, inputs: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return retrieval and collapse of a shared transformer.

    Args:
        network: in eval mode, its mixer a shared transformer
        inputs: batches of utterances that have all modalities, on the network's device

    Returns:
        ``utterances``, ``retrieval`` (see there) and ``collapse``: by modality and end the mean distance, a scalar
    """
    vectors: dict[str, list[Tensor]] = {name: [] for name in network.modalities}
    distances: dict[str, dict[str, list[Tensor]]] = {name: {p: [] for p in ENDS} for name in network.modalities}
    with torch.inference_mode():
        for batch in inputs:
            for name, frames in network.frames(batch).items():
                tokens = network.join.tokens({name: frames})[name]
                contextual = network.join.contextual({name: frames})[1][name]
                vectors[name].append(network.join.align(contextual).cpu())
                for end, values in zip(ENDS, (tokens, contextual), strict=True):
                    distances[name][end].append(largest_distances(values).cpu())
    together = {name: torch.cat(parts) for name, parts in vectors.items()}
    collapse = {
        name: {end: float(torch.cat(parts).mean()) for end, parts in ends.items() if torch.cat(parts).numel()}
        for name, ends in distances.items()
    }
    n = len(next(iter(together.values())))
    return {"utterances": n, "retrieval": retrieval(together), "collapse": collapse}


def drawn(corpus: Manifest, present: np.ndarray, split: str, largest: int, seed: int) -> np.ndarray:
    """Return a random sample of the split's rows that have all modalities, in random order.

    Args:
        corpus: the manifest
        present: which modalities an utterance has, bool, shape ``(n, n_modalities)``
        split: split or subset
        largest: size of the sample at most
        seed: of the draw

    Returns:
        row indices, int64, shape ``(n_drawn,)``

    Raises:
        InputError: no utterance of the split has all
    """
    rows = np.flatnonzero(corpus.mask(split) & present.all(axis=1))
    if not len(rows):
        raise InputError(f"no utterance of {split!r} has audio and text, there is nothing to align")
    return np.random.default_rng([seed, 0]).permutation(rows)[:largest]


def prepared(
    network: Network,
    utterances: Utterances,
    rows: np.ndarray,
    batch_size: int,
    max_s: float,
    workers: int,
) -> Iterator[dict[str, Any]]:
    """Yield the rows' batches on the network's device; an utterance that is too long is cut to its middle.

    Args:
        network: in eval mode
        utterances: of the corpus
        rows: row indices, shape ``(n_rows,)``
        batch_size: utterances in a forward pass
        max_s: longest audio that is read whole, in seconds
        workers: processes that load the audio
    """
    device = next(network.parameters()).device
    chunked = [whole(utterances, part, max_s) for part in in_batches(rows, batch_size)]
    for inputs, _ in load(Loader(chunked, utterances, network.encoder.prepare), workers, device):
        yield to(inputs, device)


def diagnose(
    folder: Path, settings: FinetuningSettings, corpus: Manifest, root: Path, texts: Sequence[str] | None, **draw: Any
) -> dict[str, Any]:
    """Return the diagnosis of a trained expert, as it is written.

    Args:
        folder: of the trained expert
        settings: its entry of the section finetuning
        corpus: the manifest
        root: folder of the audio
        texts: transcripts, None where the expert reads none
        draw: ``split``, ``largest`` and ``seed`` of the sample of utterances
    """
    machine = read_machine().finetuning
    device = pick(machine.device)
    network = disk.load(folder, device)
    result: dict[str, Any] = {"parameters": parameters(network)}
    if not (isinstance(network, Network) and isinstance(network.join, SharedTransformer)):
        return result
    saved = disk.read_settings(folder)
    utterances = from_manifest(corpus, root, saved.modalities, texts, saved.text, saved.context)
    utterances = utterances.fitted(network.encoder.branches)
    given = (utterances, drawn(corpus, utterances.present, **draw), settings.predict.batch_size, saved.max_s)
    result |= measured(network, prepared(network, *given, machine.workers))
    fresh = disk.build(saved, device, folder).eval()
    measures = measured(fresh, prepared(fresh, *given, machine.workers))
    result["collapse_at_random"] = measures["collapse"]
    return result


def write_report(
    expert: str,
    split: str = "test",
    largest: int = 300,
    seed: int = 1,
    params: Path = PARAMS,
    manifest_path: Path = Path("data/manifest.parquet"),
    transcripts_path: Path = Path("data/transcripts.parquet"),
    models: Path = Path("models"),
    out: Path = Path("metrics/finetuning"),
) -> None:
    """Report an expert's number of weights, and how well a shared transformer aligns audio and text.

    Args:
        expert: an entry of the section finetuning, trained
        split: split or subset of the utterances
        largest: utterances that are drawn at most, 2 or more
        seed: of the draw
        params: the parameters
        manifest_path: the corpus
        transcripts_path: the transcripts, read where the expert reads them
        models: folder of the trained experts
        out: folder to write to
    """
    settings, corpus = read_entry(f"finetuning.{expert}", params), manifest.read(manifest_path)
    texts = None
    if "text" in settings.branches and settings.text == "transcripts":
        texts = transcripts.read(transcripts_path).aligned(corpus.ids.tolist())
    root = Path(read_value("corpus.root", params))
    result = diagnose(models / expert, settings, corpus, root, texts, split=split, largest=largest, seed=seed)
    values = read_params(params)
    sections = {name: values[name] for name in ("corpus", "transcription")}
    record = {"notice": corpus.notice, "split": split, **result}
    record["params"] = {**sections, "finetuning": {expert: values["finetuning"][expert]}}  # whose numbers these are
    atomic.write_file(out / f"{expert}.json", json.dumps(record, indent=2, allow_nan=False) + "\n")
    print(json.dumps({name: value for name, value in record.items() if name != "params"}, indent=2))

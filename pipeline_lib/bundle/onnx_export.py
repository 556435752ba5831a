"""Heads, back ends and fusion of a bundle as ONNX; encoders are left out, see ``docs/bundle.md``.

==================================== ===================================================================================
<expert>_head.onnx                   float32: the pooled vector to logits, embedding and the network's own attributes
<entry>_rebalancing.onnx             float64: what the entry reads (an expert's posterior or embedding, mean vectors of
                                     layers) to the posterior that is fused, and attributes where the entry regresses
fusion.onnx                          float64: the entries' posteriors and attributes, all present, to the fused ones
==================================== ===================================================================================

Of folds each member's in ``fold<k>/``. Names of inputs and outputs with their columns are in each file's metadata.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from pipeline_lib.bundle.onnx_fitted import back_end, fusion
from pipeline_lib.bundle.onnx_graph import Graph
from pipeline_lib.bundle.opened import Bundle
from pipeline_lib.experts import disk
from pipeline_lib.experts.settings import ExpertSettings
from pipeline_lib.fusion import model as fusions
from pipeline_lib.inference.experts import folder_of
from pipeline_lib.inference.members import Member
from pipeline_lib.inference.run import expert_of, sources_of
from pipeline_lib.rebalancing import model as rebalancing
from pipeline_lib.rebalancing.model import Model
from pipeline_lib.tables.fold_names import name_of

EPSILON = 1e-5  # of torch's batch norm


def export(folder: Path, out: Path) -> list[Path]:
    """Write the ONNX files of a bundle, and return their paths.

    Args:
        folder: of the bundle
        out: made where there is none; files of the same names are replaced

    Raises:
        InputError: the bundle cannot be opened
    """
    bundle, written = Bundle.open(folder), []
    for member in [Member(n, np.ones(0, bool)) for n in range(bundle.n_folds)] or [Member(None, np.ones(0, bool))]:
        here = member.folder(out)
        here.mkdir(parents=True, exist_ok=True)
        for name, graph, metadata in _graphs(bundle, member):
            written.append(here / f"{name}.onnx")
            graph.write(written[-1], metadata)
    return written


def _graphs(bundle: Bundle, member: Member) -> Iterator[tuple[str, Graph, dict[str, str]]]:
    entries = {name: _entry(bundle, name, member) for name in bundle.fusion.experts}
    settings = {}
    for name in sources_of([*entries.values()])[1]:
        expert = folder_of(bundle, name, member)
        settings[name] = disk.read_settings(expert)
        if settings[name].head.kind != "sequence_classification":
            yield from _heads(name, expert, settings[name])
    for name, model in entries.items():
        yield f"{name}_rebalancing", *back_end(model, _labels_of(model, settings))
    yield "fusion", *fusion(fusions.read(member.folder(bundle.models / "fusion")))


def _entry(bundle: Bundle, name: str, member: Member) -> Model:
    folder = bundle.models / "rebalancing" / name
    return rebalancing.read(member.folder(folder) if (folder / name_of(0)).is_dir() else folder)


def _labels_of(model: Model, settings: dict[str, ExpertSettings]) -> tuple[str, ...]:
    if model.settings.source is not None:
        return ()
    return tuple(settings[expert_of(model.settings.reads.source)[0]].labels)


def _heads(name: str, folder: Path, settings: ExpertSettings) -> Iterator[tuple[str, Graph, dict[str, str]]]:
    from safetensors.numpy import load_file

    arrays = load_file(folder / "head.safetensors")
    kinds = sorted({key.split(".")[1] for key in arrays if key.startswith("heads.")})
    for kind in kinds:
        own = {key.removeprefix(f"heads.{kind}."): a for key, a in arrays.items() if key.startswith(f"heads.{kind}.")}
        suffix = "" if kind == "shared" else f"_{kind}"
        metadata = {"labels": json.dumps(settings.labels), "attributes": json.dumps(settings.attributes)}
        yield f"{name}_head{suffix}", head(own, settings.head.kind), metadata


def head(arrays: dict[str, np.ndarray], kind: str) -> Graph:
    """Return a head's graph, see ``networks.heads.FeedForwardHead``.

    Args:
        arrays: of the head by their names in it; weights of shape ``(width_out, width_in)``
        kind: dense, relu, tanh or linear
    """
    graph = Graph("head", np.float32)
    outputs = {"logits": "emotion", "attributes": "attributes"}
    first = next(arrays[f"{name}.weight"] for name in ("dense", *outputs.values()) if f"{name}.weight" in arrays)
    hidden = embedding = graph.input("pooled", first.shape[1])
    width = first.shape[1] if kind == "linear" else first.shape[0]
    if kind != "linear":
        embedding = _linear(graph, hidden, arrays, "dense")
        hidden = graph.add("Tanh" if kind == "tanh" else "Relu", embedding)
    if kind == "dense":
        scale = arrays["norm.weight"] / np.sqrt(arrays["norm.running_var"] + np.float32(EPSILON))
        away = graph.add("Sub", hidden, arrays["norm.running_mean"])
        hidden = graph.add("Add", graph.add("Mul", away, scale), arrays["norm.bias"])
    graph.output("embedding", embedding, width)
    for name, layer in outputs.items():
        if f"{layer}.weight" in arrays:
            bent = graph.add("Tanh", hidden) if kind == "dense" and name == "attributes" else hidden
            graph.output(name, _linear(graph, bent, arrays, layer), len(arrays[f"{layer}.bias"]))
    return graph


def _linear(graph: Graph, tensor: str, arrays: dict[str, np.ndarray], name: str) -> str:
    return graph.add("Add", graph.add("MatMul", tensor, arrays[f"{name}.weight"].T), arrays[f"{name}.bias"])

"""What rebalancing and fusion fitted, as ONNX graphs in float64 whose outputs are those of our code within 1e-6."""

import json
from typing import Any

import numpy as np

from pipeline_lib.bundle.onnx_graph import Graph
from pipeline_lib.classifiers.lda import LinearDiscriminantAnalysis
from pipeline_lib.classifiers.normalisation import Normalisation
from pipeline_lib.classifiers.plda import PLDA
from pipeline_lib.errors import InputError
from pipeline_lib.fusion import model as fusions
from pipeline_lib.fusion.biases import Biased
from pipeline_lib.fusion.interpolation import Interpolation
from pipeline_lib.fusion.plda import StackedPLDA
from pipeline_lib.fusion.stacking import Stacked
from pipeline_lib.fusion.vote import Vote
from pipeline_lib.rebalancing.model import Model, contained

TINY = np.finfo(np.float64).tiny


def back_end(model: Model, labels: tuple[str, ...]) -> tuple[Graph, dict[str, str]]:
    """Return the graph of a fitted entry of rebalancing, see ``rebalancing.model.apply``, and its metadata.

    Args:
        model: fitted
        labels: columns of the posterior that it reads; none where it has back ends
    """
    graph, vectors = Graph("rebalancing", np.float64), {}
    for layers in dict.fromkeys([*model.back_ends, *model.regressions]):
        vectors[layers] = graph.input(_vector_name(layers), _width(model, layers))
    metadata = {"inputs": json.dumps([_vector_name(layers) for layers in vectors]), "labels": json.dumps(model.labels)}
    posterior = None
    if model.back_ends:
        of_each = [_classified(graph, vectors[layers], part) for layers, part in model.back_ends.items()]
        posterior = graph.add("Div", _summed(graph, of_each), float(len(of_each)))
    elif labels:
        given = graph.input("given", len(labels))
        metadata |= {"inputs": json.dumps(["given"]), "columns": json.dumps(labels)}
        order = graph.constant([labels.index(label) for label in model.labels], np.int64)
        posterior = graph.add("Gather", given, order, axis=1)
    if posterior is not None:
        graph.output("posterior", _rebalanced(graph, posterior, model), len(model.labels))
    if model.regressions:
        names = list(next(iter(model.regressions.values())))
        columns = [_regressed(graph, vectors[layers], by_name) for layers, by_name in model.regressions.items()]
        graph.output("attributes", graph.add("Div", _summed(graph, columns), float(len(columns))), len(names))
        metadata["attributes"] = json.dumps(names)
    return graph, metadata


def _vector_name(layers: tuple[int, ...]) -> str:
    return "layers_" + "_".join(map(str, layers)) if layers else "embedding"


def _width(model: Model, layers: tuple[int, ...]) -> int:
    if layers in model.back_ends:
        return len(model.back_ends[layers].normalisation_.mean_)
    return len(next(iter(model.regressions[layers].values())).normalisation_.mean_)


def _summed(graph: Graph, tensors: list[str]) -> str:
    total = tensors[0]
    for each in tensors[1:]:
        total = graph.add("Add", total, each)
    return total


def _normalised(graph: Graph, tensor: str, part: Normalisation) -> str:
    if part.kind == "none":
        return tensor
    centred = graph.add("Sub", tensor, part.mean_)
    if part.kind == "standardise":
        return graph.add("Div", graph.add("Mul", centred, part.varies_), part.scale_)
    norm = graph.add("Sqrt", graph.total(graph.add("Mul", centred, centred)))
    there = graph.add("Greater", norm, 0.0)
    return graph.add("Where", there, graph.add("Div", centred, graph.add("Where", there, norm, 1.0)), 0.0)


def _classified(graph: Graph, vector: str, part: Any) -> str:
    features = _normalised(graph, vector, part.normalisation_)
    if part.lda_ is not None:
        lda: LinearDiscriminantAnalysis = part.lda_
        features = graph.add("MatMul", graph.add("Sub", features, lda.mean_), lda.components_)
    return _probable(graph, features, part.classifier_)


def _probable(graph: Graph, features: str, model: Any) -> str:
    """Return P(class | features) of logistic regression or PLDA."""
    if not isinstance(model, PLDA):
        return graph.softmax(graph.add("Add", graph.add("MatMul", features, model.coef_.T), model.intercept_))
    on_axes = graph.add("MatMul", graph.add("Sub", features, model.mean_), model.axes_)
    densities = []
    for centre, variance in zip(model.centres_, model.variances_, strict=True):
        away = graph.add("Sub", on_axes, centre)
        terms = graph.add("Div", graph.add("Mul", away, away), variance)
        densities.append(graph.total(graph.add("Add", terms, np.log(2 * np.pi * variance))))
    return graph.softmax(graph.add("Mul", graph.add("Concat", *densities, axis=1), -0.5))


def _regressed(graph: Graph, vector: str, by_name: dict[str, Any]) -> str:
    columns = []
    for part in by_name.values():
        product = graph.add("MatMul", _normalised(graph, vector, part.normalisation_), part.coef_[:, None])
        columns.append(graph.add("Add", product, float(part.intercept_)))
    return graph.add("Concat", *columns, axis=1)


def _rebalanced(graph: Graph, posterior: str, model: Model) -> str:
    """Return the posterior with its evidence tempered, under the target prior."""
    if model.temperature is not None:
        prior = contained(model)
        evidence = _under(graph, posterior, prior, (prior > 0).astype(np.float64))
        logarithm = graph.add("Div", graph.add("Log", graph.add("Max", evidence, TINY)), model.temperature)
        with np.errstate(divide="ignore"):
            posterior = graph.softmax(graph.add("Add", logarithm, np.log(prior)))
    if model.target_prior is None or model.training_prior is None:
        same = np.ones(len(model.labels))
        return _under(graph, posterior, same, same)
    return _under(graph, posterior, model.training_prior, model.target_prior)


def _under(graph: Graph, posterior: str, training: np.ndarray, target: np.ndarray) -> str:
    """Return the posterior under another prior, see ``rebalancing.prior.rebalance``."""
    ratio = np.divide(target, training, out=np.zeros(len(target)), where=training > 0)
    weighted = graph.add("Mul", posterior, ratio)
    total = graph.total(weighted)
    there = graph.add("Greater", total, 0.0)
    return graph.add(
        "Where",
        there,
        graph.add("Div", weighted, graph.add("Where", there, total, 1.0)),
        (target / target.sum())[None],
    )


def fusion(fitted: fusions.Loaded) -> tuple[Graph, dict[str, str]]:
    """Return the graph of a fitted fusion of entries that are all present, and its metadata.

    Args:
        fitted: read from models/fusion

    Raises:
        InputError: no classifier was fitted on all entries together
    """
    graph = Graph("fusion", np.float64)
    metadata: dict[str, str] = {}
    if fitted.fuser is not None:
        names, n_labels = fitted.posterior_experts, len(fitted.labels)
        given = [graph.input(f"posterior_{name}", n_labels) for name in names]
        metadata |= {"labels": json.dumps(fitted.labels), "posteriors": json.dumps(names)}
        fuser = fitted.fuser.fuser if isinstance(fitted.fuser, Biased) else fitted.fuser
        posterior = _fused(graph, given, fuser, n_labels)
        if isinstance(fitted.fuser, Biased):
            weighted = graph.add("Mul", posterior, np.exp(fitted.fuser.biases_))
            posterior = graph.add("Div", weighted, graph.total(weighted))
        graph.output("posterior", posterior, n_labels)
    if fitted.attribute_fuser is not None:
        names, attributes = fitted.attribute_experts, fitted.attribute_names
        given = [graph.input(f"attributes_{name}", len(attributes)) for name in names]
        weights = _scaled(fitted.attribute_fuser.weights_)
        parts = [graph.add("Mul", each, weights[:, k]) for k, each in enumerate(given)]
        graph.output("attributes", _summed(graph, parts), len(attributes))
        metadata |= {"attributes": json.dumps(attributes), "attributes_of": json.dumps(names)}
    return graph, metadata


def _scaled(weights: np.ndarray) -> np.ndarray:
    """Return weights that sum to 1 along the last axis, equal ones where all are 0."""
    weights = np.where(weights.sum(axis=-1, keepdims=True) > 0, weights, 1.0)
    return weights / weights.sum(axis=-1, keepdims=True)


def _fused(graph: Graph, given: list[str], fuser: Any, n_labels: int) -> str:
    if isinstance(fuser, Interpolation):
        return _summed(graph, [graph.add("Mul", p, float(w)) for p, w in zip(given, _scaled(fuser.weights_))])
    if isinstance(fuser, Vote):
        return _voted(graph, given, n_labels)
    if not isinstance(fuser, Stacked) or tuple(range(len(given))) not in fuser.models_:
        raise InputError("the fusion has no classifier of all its entries together, which alone is exported")
    model = fuser.models_[tuple(range(len(given)))]
    features = [_log_ratio(graph, each, fuser.floor) for each in given] if isinstance(fuser, StackedPLDA) else given
    joined = graph.add("Concat", *features, axis=1)
    scattered = np.zeros((len(model.classes_), n_labels))
    scattered[np.arange(len(model.classes_)), model.classes_.astype(int)] = 1.0
    return graph.add("MatMul", _probable(graph, joined, model), scattered)


def _log_ratio(graph: Graph, posterior: str, floor: float) -> str:
    logarithm = graph.add("Log", graph.add("Max", posterior, float(floor)))
    return graph.add("Sub", logarithm, graph.add("ReduceMean", logarithm, graph.constant([1], np.int64), keepdims=1))


def _voted(graph: Graph, given: list[str], n_labels: int) -> str:
    """Return the share of votes, the mean posterior being one more vote."""
    votes = []
    for each in given:
        chosen = graph.add("ArgMax", each, axis=1, keepdims=1)
        same = graph.add("Equal", chosen, graph.constant(np.arange(n_labels)[None], np.int64))
        votes.append(graph.add("Where", same, 1.0, 0.0))
    mean = graph.add("Div", _summed(graph, given), float(len(given)))
    return graph.add("Div", graph.add("Add", _summed(graph, votes), mean), float(len(given) + 1))

"""ONNX of heads, back ends and fusion against our own outputs, by the reference implementation of the onnx package."""

import json

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator

from pipeline_lib.bundle.onnx_export import export, head
from pipeline_lib.bundle.onnx_fitted import back_end, fusion
from pipeline_lib.errors import InputError
from pipeline_lib.fusion.attributes import AttributeInterpolation
from pipeline_lib.fusion.biases import Biased
from pipeline_lib.fusion.interpolation import Interpolation
from pipeline_lib.fusion.logreg import StackedLogisticRegression
from pipeline_lib.fusion.model import Loaded
from pipeline_lib.fusion.plda import StackedPLDA
from pipeline_lib.fusion.vote import Vote
from pipeline_lib.networks.heads import FeedForwardHead
from pipeline_lib.params.rebalancing import LdaLogisticSettings, PldaSettings, RebalancingSettings
from pipeline_lib.rebalancing import model as rebalancing
from pipeline_lib.rebalancing.backend import BackEnd
from pipeline_lib.rebalancing.regression import AttributeRegression
from pipeline_lib.rebalancing.source import Source
from pipeline_lib.tables.predictions import Predictions

EXACT = {"rtol": 0, "atol": 1e-6}
LABELS = ("a", "b", "c")
RANDOM = np.random.default_rng(3)
VECTORS = RANDOM.standard_normal((60, 5)) + np.repeat(np.eye(3, 5) * 2, 20, axis=0)
TRUTH = np.repeat(np.arange(3), 20)


def evaluated(graph, metadata, tmp_path, inputs):
    path = tmp_path / "x.onnx"
    graph.write(path, metadata)
    model = onnx.load(path)
    values = ReferenceEvaluator(model).run(None, inputs)
    return dict(zip([each.name for each in model.graph.output], values, strict=True))


def drawn(n, *shape):
    return RANDOM.dirichlet(np.ones(shape[-1] if shape else 3), (n, *shape[:-1]))


@pytest.mark.parametrize("kind", ["dense", "relu", "tanh", "linear"])
def test_a_head_gives_the_networks_outputs(tmp_path, kind):
    torch.manual_seed(1)
    network = FeedForwardHead(7, 4, 3, 2, dropout=0.5, kind=kind).eval()
    with torch.no_grad():
        for tensor in [*network.parameters(), *(b for n, b in network.named_buffers() if "running" in n)]:
            tensor.add_(torch.rand_like(tensor))
        pooled = torch.randn(9, 7)
        expected = network(pooled)
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    obtained = evaluated(head(arrays, kind), {}, tmp_path, {"pooled": pooled.numpy()})
    assert obtained.keys() == {"embedding", "logits", "attributes"}
    for name, values in obtained.items():
        np.testing.assert_allclose(values, expected[name].numpy(), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("normalisation", ["none", "standardise", "length"])
@pytest.mark.parametrize("kind", ["lda_logistic", "plda"])
@pytest.mark.parametrize("components", [None, 2])
def test_a_back_end_gives_our_posterior(tmp_path, normalisation, kind, components):
    options = {"lda_logistic": LdaLogisticSettings, "plda": PldaSettings}[kind]
    part = BackEnd(options(normalisation=normalisation, components=components)).fit(VECTORS, TRUTH)
    ridge = AttributeRegression(1.0).fit(VECTORS, VECTORS @ np.arange(5.0))
    model = rebalancing.Model(
        "entry",
        RebalancingSettings(method=kind),
        LABELS,
        back_ends={(1,): part, (2,): part},
        regressions={(2,): {"valence": ridge}},
        training_prior=part.prior_,
        temperature=1.7,
        target_prior=np.array([0.5, 0.3, 0.2]),
    )
    ids = np.array([f"u{i:02d}" for i in range(60)], dtype=object)
    inputs = {(1,): VECTORS, (2,): VECTORS[::-1] * 0.5}
    expected = rebalancing.apply(model, Source(Predictions(ids, "entry"), inputs.__getitem__, ((1,), (2,))))
    graph, metadata = back_end(model, ())
    given = {f"layers_{layers[0]}": values for layers, values in inputs.items()}
    obtained = evaluated(graph, metadata, tmp_path, given)
    np.testing.assert_allclose(obtained["posterior"], expected.posterior, **EXACT)
    np.testing.assert_allclose(obtained["attributes"], expected.attributes, **EXACT)


@pytest.mark.parametrize("temperature", [None, 0.6])
@pytest.mark.parametrize("target", [None, [0.6, 0.4, 0.0]])
def test_a_softmax_of_an_expert_loses_its_pseudo_labels_and_its_prior(tmp_path, temperature, target):
    columns = ("c", "X", "a", "b", "O")
    posterior = np.vstack([drawn(20, 5), [[0, 1, 0, 0, 0]]])  # of the last nothing remains but the prior
    prior = np.array([0.5, 0.25, 0.25])
    model = rebalancing.Model(
        "entry",
        RebalancingSettings(method="none"),
        LABELS,
        training_prior=prior,
        temperature=temperature,
        target_prior=None if target is None else np.array(target),
    )
    ids = np.array([f"u{i:02d}" for i in range(21)], dtype=object)
    table = Predictions(ids, "e", columns, posterior, training_prior=np.array([0.2, 0.1, 0.4, 0.2, 0.1]))
    expected = rebalancing.apply(model, Source(table, lambda layers: VECTORS))
    graph, metadata = back_end(model, columns)
    obtained = evaluated(graph, metadata, tmp_path, {"given": posterior})
    np.testing.assert_allclose(obtained["posterior"], expected.posterior, **EXACT)
    assert json.loads(metadata["columns"]) == list(columns)


def fusers():
    posteriors, truth = drawn(90, 2, 3).transpose(1, 0, 2), np.arange(90) % 3
    weighted, none = Interpolation(), Interpolation()
    weighted.weights_, none.weights_ = np.array([0.35, 0.65]), np.zeros(2)
    yield from (weighted, none, Vote(), StackedLogisticRegression().fit(posteriors, truth))
    yield StackedPLDA().fit(posteriors, truth)
    yield StackedLogisticRegression().fit(posteriors[:, truth < 2], truth[truth < 2])  # a label that it has not seen
    yield Biased(weighted, np.array([0.3, -0.2, 0.0]))


@pytest.mark.parametrize("number", range(7))
def test_a_fusion_gives_our_posterior(tmp_path, number):
    fuser = [*fusers()][number]
    attributes = AttributeInterpolation(("arousal", "valence"))
    attributes.weights_ = np.array([[0.25, 0.75], [0.0, 0.0]])
    fitted = Loaded(LABELS, ("one", "two"), fuser, ("arousal", "valence"), ("one", "two"), attributes)
    posteriors, values = drawn(30, 2, 3).transpose(1, 0, 2), RANDOM.uniform(1, 7, (2, 30, 2))
    inputs = {f"posterior_{name}": part for name, part in zip(("one", "two"), posteriors, strict=True)}
    inputs |= {f"attributes_{name}": part for name, part in zip(("one", "two"), values, strict=True)}
    obtained = evaluated(*fusion(fitted), tmp_path, inputs)
    np.testing.assert_allclose(obtained["posterior"], fuser.predict_proba(posteriors), **EXACT)
    np.testing.assert_allclose(obtained["attributes"], attributes.predict(values), **EXACT)


def test_a_fusion_without_a_classifier_of_all_entries_is_refused():
    posteriors = drawn(90, 2, 3).transpose(1, 0, 2)
    fuser = StackedLogisticRegression().fit(posteriors, np.arange(90) % 3, np.array([[True, False]]))
    with pytest.raises(InputError, match="no classifier of all its entries together"):
        fusion(Loaded(LABELS, ("one", "two"), fuser, (), (), None))


def test_files_of_a_bundle_give_the_systems_numbers(plain, pipeline, tmp_path):
    written = {path.name: path for path in export(plain.bundle, tmp_path / "out")}
    assert "fusion.onnx" in written and any(name.endswith("_head.onnx") for name in written)
    result = pipeline.predict((0.1 * RANDOM.standard_normal(16_000).astype(np.float32), 16_000), text="oh so")
    model = onnx.load(written["fusion.onnx"])
    given = {}
    for each in model.graph.input:
        kind, _, name = each.name.partition("_")
        part = result.experts[name]["posterior" if kind == "posterior" else "attributes"]
        given[each.name] = np.array([[*part.values()]])
    values = ReferenceEvaluator(model).run(None, given)
    np.testing.assert_allclose(values[0][0], [*result.posterior.values()], **EXACT)
    again = {path.name: path.read_bytes() for path in export(plain.bundle, tmp_path / "again")}
    assert again == {name: path.read_bytes() for name, path in written.items()}


def test_each_member_of_folds_has_its_files(folded, tmp_path):
    folders = {path.parent.name for path in export(folded.bundle, tmp_path / "out")}
    assert folders == {f"fold{k}" for k in range(folded.record["system"]["n_folds"])}

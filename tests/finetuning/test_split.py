"""A step's gradient does not depend on how its utterances are cut into batches, halves and processes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from pipeline_lib.experts import disk
from pipeline_lib.experts.loading import Batch
from pipeline_lib.finetuning import identity, sampling
from pipeline_lib.finetuning.checkpoints import State
from pipeline_lib.finetuning.context import TrainingContext
from pipeline_lib.finetuning.logs import logs
from pipeline_lib.finetuning.objective import Objective
from pipeline_lib.finetuning.processes import accelerator_of
from pipeline_lib.finetuning.steps import Steps
from pipeline_lib.finetuning.targets import targets_of
from pipeline_lib.params.network import ImaginationSettings, MixerSettings, SharedTransformerSettings
from tests.finetuning import corpora
from tests.networks import joint_networks

N, N_LABELS = 12, 4
PLACES = SimpleNamespace(w2v_bert="models/w2v_bert", llama="models/llama")
SPLITS = {"4x3": [3, 3, 3, 3], "uneven": [1, 6, 2, 3], "halves": [6, 6], "ones": [1] * 12}
OFF = {"cross_entropy": 0.0}
ATTRIBUTES = {"targets": {"attributes": ["arousal", "valence"]}}
SINGLE = {
    "cross_entropy": {"losses": {"cross_entropy": 1.0}},
    "balanced": {"losses": {"cross_entropy": 1.0, "class_weights": "balanced"}},
    "votes": {"losses": {"cross_entropy": 1.0, "class_weights": "balanced"}, "targets": {"soft_labels": True}},
    "focal": {"losses": {**OFF, "focal": 1.0, "class_weights": "balanced"}},
    "smoothed": {"losses": {"label_smoothing": 0.2, "class_weights": "balanced"}},
    "gender": {"losses": {"gender": 0.7}, "targets": {"gender": True}},
    "sentiment": {"losses": {"sentiment": 0.5}, "targets": {"sentiment": {"enabled": True}}},
    "concordance": {**ATTRIBUTES, "losses": {"concordance": 0.8, "class_weights": "balanced"}},
    "multi_similarity": {"losses": {"multi_similarity": 1.0}},
    "margin": {"losses": {"multi_similarity": 1.0, "pairs": {"margin": 0.1}}},
}
MIXERS = {
    "shared_transformer": MixerSettings(
        kind="shared_transformer",
        width=8,
        heads=2,
        layers=1,
        shared_transformer=SharedTransformerSettings(mask_share=0.95),
    ),
    "imagination": MixerSettings(
        kind="imagination", width=8, imagination=ImaginationSettings(autoencoders=1, widths=[4])
    ),
}
JOINT = {
    "passes": ("shared_transformer", {"class_weights": "balanced"}),
    "contrastive": ("shared_transformer", {"contrastive": 0.5}),
    "reconstruction": ("shared_transformer", {"reconstruction": 2.0}),
    "imagination": ("imagination", {"imagination": 1.5}),
    "invariance": ("imagination", {"invariance": 1.0}),
    "all": ("shared_transformer", {"contrastive": 0.5, "reconstruction": 2.0, "multi_similarity": 0.3}),
}
PRESENT = [[1, 1], [1, 0], [0, 1], [1, 1], [0, 1], [1, 1], [1, 1], [1, 1], [1, 0], [1, 0], [1, 1], [0, 1]]


class Rows(nn.Module):
    """An audio or text network without an encoder."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(1)
        self.first = nn.Linear(5, 6)
        sizes = {"logits": N_LABELS, "attributes": 2, "gender": 2, "sentiment": 3}
        self.heads = nn.ModuleDict({name: nn.Linear(6, size) for name, size in sizes.items()})

    def forward(self, features):
        embedding = self.first(features)
        return {"embedding": embedding, **{name: head(embedding.tanh()) for name, head in self.heads.items()}}


def truth_of(*, soft):
    """Return targets of which some are missing: two labels, a whole row of votes, attributes, genders."""
    generator = np.random.default_rng(4)
    emotion = np.array([0, 0, 1, -1, 0, 2, 3, 0, 1, 0, -1, 0])
    votes = generator.integers(0, 4, (N, N_LABELS)).astype(np.float32)
    votes[5] = 0.0
    votes /= np.maximum(votes.sum(axis=1, keepdims=True), 1)
    attributes = generator.uniform(-1, 1, (N, 2)).astype(np.float32)
    attributes[[0, 4, 7], 0] = np.nan
    result = {"emotion": votes if soft else emotion, "attributes": attributes}
    return result | {"gender": generator.integers(-1, 2, N), "sentiment": generator.integers(-1, 3, N)}


def objective_of(settings, present, *, soft=False):
    """Return the phase's objective and the targets of twelve utterances."""
    truth = truth_of(soft=soft)
    counts = np.array([6, 2, 1, 1]), truth["emotion"] if soft else None
    utterances = SimpleNamespace(present=present, modalities=tuple(settings.branches))
    job = SimpleNamespace(
        settings=settings, counts=counts[0], soft_counts=counts[1], arrays=truth, utterances=utterances
    )
    return Objective(job, settings.phases["only"]), {name: torch.from_numpy(values) for name, values in truth.items()}


def gradients(network, forward, objective, truth, sizes):
    """Return the gradient of the step cut into parts, all of its tensors in a row, and its loss."""
    network.zero_grad()
    parts = torch.arange(N).split(sizes)

    def part(rows):
        return objective.part(forward(rows), {name: values[rows] for name, values in truth.items()})

    if len(sizes) == 1:
        whole = None
    elif objective.known_beforehand:
        whole = objective.from_targets(np.arange(N), truth)
    else:
        with torch.no_grad():
            whole = objective.from_parts([part(rows).summary() for rows in parts], 0, len(parts))
    total = 0.0
    for number, rows in enumerate(parts):
        loss, value = objective.loss(part(rows), whole, number)
        loss.backward()
        total += value
    return torch.cat(
        [parameter.grad.flatten() for parameter in network.parameters() if parameter.grad is not None]
    ), total


def check(network, forward, objective, truth, sizes):
    """Hold a split to the whole."""
    expected, loss = gradients(network, forward, objective, truth, [N])
    result, total = gradients(network, forward, objective, truth, sizes)
    assert expected.norm() > 1e-3
    assert (result - expected).norm() / expected.norm() < 1e-6
    assert total == pytest.approx(loss, rel=1e-6)


@pytest.mark.parametrize("sizes", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("name", SINGLE)
def test_split_equals_whole_for_every_loss_of_an_audio_or_text_expert(name, sizes):
    settings = corpora.settings("models/llama", "text", **corpora.merged({"head": {"kind": "relu"}}, SINGLE[name]))
    objective, truth = objective_of(settings, np.ones((N, 1), bool), soft=name == "votes")
    network, features = Rows(), torch.randn(N, 5, generator=torch.Generator().manual_seed(2))
    check(network, lambda rows: network(features[rows]), objective, truth, sizes)


@pytest.mark.parametrize("sizes", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("name", JOINT)
def test_split_equals_whole_for_every_loss_of_a_joint_expert(name, sizes):
    kind, weights = JOINT[name]
    changes = {"mixer": {"kind": kind}, "losses": weights}
    objective, truth = objective_of(corpora.joint(PLACES, **changes), np.array(PRESENT, bool))
    network = joint_networks.network(MIXERS[kind]).eval()
    given = joint_networks.inputs(PRESENT)

    def forward(rows):
        some = {
            key: values[rows] if key == "present" else tuple(x[rows] for x in values) for key, values in given.items()
        }
        return network(some, joint_networks.ALL, objective.auxiliary_inputs)

    check(network, forward, objective, truth, sizes)


def test_the_loss_and_its_gradient_are_those_of_the_equation_over_the_whole_step():
    # class weights 0.4, 1, 2, 2 by label; three parts: sum of w_i (softmax - onehot) / sum of w_i over all of them
    settings = corpora.settings("models/llama", "text", losses={"class_weights": "balanced"})
    objective, truth = objective_of(settings, np.ones((N, 1), bool))
    by_class = 10 / (4 * np.array([6, 2, 1, 1]))
    logits = torch.randn(N, N_LABELS, generator=torch.Generator().manual_seed(5), requires_grad=True)
    whole = objective.from_targets(np.arange(N), truth)
    for rows in torch.arange(N).split([2, 3, 7]):
        part = objective.part({"logits": logits[rows]}, {name: values[rows] for name, values in truth.items()})
        objective.loss(part, whole)[0].backward()
    labels = truth["emotion"].numpy()
    weights = np.where(labels >= 0, by_class[labels], 0.0)
    posterior = torch.softmax(logits.detach().double(), dim=1).numpy()
    expected = weights[:, None] * (posterior - np.eye(N_LABELS)[labels]) / weights.sum()
    np.testing.assert_allclose(logits.grad.numpy(), expected, rtol=0, atol=1e-7)


def test_a_part_in_which_nothing_is_known_adds_nothing():
    settings = corpora.settings("models/llama", "text", losses={"class_weights": "balanced"})
    objective, truth = objective_of(settings, np.ones((N, 1), bool))
    logits = torch.randn(3, N_LABELS, requires_grad=True)
    part = objective.part({"logits": logits}, {"emotion": torch.full((3,), -1)})
    rows = np.array([3, 10])  # the step's only rows have no label
    loss, value = objective.loss(part, objective.from_targets(rows, {name: each[rows] for name, each in truth.items()}))
    loss.backward()
    assert value == 0.0 and (logits.grad == 0).all()


def job_of(tones, settings, folder):
    """Return the training of an expert on the tones, at its beginning."""
    targets = targets_of(tones.corpus, settings)
    train, dev = corpora.checked(tones.corpus, settings, tones.texts)
    network = disk.build(identity.expert_settings(settings, targets), torch.device("cpu"))
    utterances = corpora.utterances(tones.corpus, settings, tones.texts, tones.root)
    with logs(folder, enabled=False) as opened:
        return TrainingContext(
            name="tones",
            network=network,
            settings=settings,
            utterances=utterances.fitted(network.encoder.branches),
            targets=targets,
            classes=targets.classes,
            train=train,
            dev=dev,
            accelerator=accelerator_of(settings, "cpu"),
            folder=folder,
            logs=opened,
        )


def step_gradient(job, sizes, monkeypatch):
    """Return the gradient of one step over twelve utterances in batches of these sizes, and the step's loss."""
    rows, phase = (
        job.train[:N],
        job.settings.phases["only"].model_copy(update={"gradient_accumulation_steps": len(sizes)}),
    )
    plan = [
        Batch(part, np.zeros(len(part)), np.full(len(part), np.nan)) for part in np.split(rows, np.cumsum(sizes)[:-1])
    ]
    monkeypatch.setattr(sampling, "epoch", lambda *_: plan)
    steps, state, result = Steps(job, "only", phase), State(), []
    monkeypatch.setattr(
        steps.optimiser, "step", lambda: result.extend(parameter.grad.flatten() for parameter in steps.trained)
    )
    steps.run_epoch(state, lambda: None)
    assert state.step == 1
    return torch.cat(result), state.tally["loss"]


STILL = {"lora": {"lora_dropout": 0.0}}
WHOLE = {
    "categories": {
        "adaptation": STILL,
        "head": {"kind": "relu"},
        "losses": {"class_weights": "balanced"},
        "phases": {"only": {"max_grad_norm": None}},
    },
    "text": {
        "adaptation": STILL,
        "head": {"kind": "relu"},
        "losses": {"class_weights": "balanced", "concordance": 1.0},
        "phases": {"only": {"max_grad_norm": None}},
        "targets": {"attributes": ["arousal", "valence"]},
    },
    "joint": {
        "branches": {"text": {"adaptation": {"method": "lora", **STILL}}},
        "mixer": {"kind": "shared_transformer", "dropout": 0.0, "shared_transformer": {"mask_share": 0.99}},
        "losses": {"class_weights": "balanced", "contrastive": 0.1, "reconstruction": 0.1, "multi_similarity": 0.2},
        "phases": {"only": {"max_grad_norm": None}},
    },
}


@pytest.mark.parametrize("modality", WHOLE)
def test_a_step_of_batches_of_any_size_has_the_gradient_of_one_batch(tones, tmp_path, monkeypatch, modality):
    made = corpora.joint if modality == "joint" else lambda *a, **b: corpora.settings(a[0].llama, "text", **b)
    job = job_of(tones, made(tones, **WHOLE[modality]), tmp_path)
    expected, loss = step_gradient(job, [N], monkeypatch)
    for sizes in ([3, 3, 3, 3], [1, 6, 2, 3]):
        result, total = step_gradient(job, sizes, monkeypatch)
        assert (result - expected).norm() / expected.norm() < 1e-5  # padding rounds otherwise in each batch
        assert total == pytest.approx(loss, rel=1e-5)

    forward = job.network.forward  # memory for half a batch
    monkeypatch.setattr(job.network, "forward", lambda inputs, *rest: limited(inputs, forward, *rest))
    result, total = step_gradient(job, [N], monkeypatch)
    assert (result - expected).norm() / expected.norm() < 1e-5
    assert total == pytest.approx(loss, rel=1e-5)


def limited(inputs, forward, *rest):
    if len(inputs["present"]) > N // 2:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return forward(inputs, *rest)

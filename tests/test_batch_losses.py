"""Losses between utterances and between frames: against torch, plain loops, and values of another library."""

import math

import pytest
import torch

from pipeline_lib.losses import (
    combined,
    contrastive,
    cross_entropy,
    imagination,
    invariance,
    multi_similarity,
    reconstruction,
)


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pair(audio, text):
    """Return vectors of two modalities, shape (batch, 2, width)."""
    return torch.stack([audio, text], dim=1)


def having(both):
    """Return who has which of two modalities: both, or alternately the first alone and the second alone."""
    return torch.tensor([[both[i] or i % 2 == 0, both[i] or i % 2 == 1] for i in range(len(both))])


def test_contrastive_loss_is_the_cross_entropy_of_the_raw_dot_products():
    audio, text = 3 * random(6, 4, seed=1), 2 * random(6, 4, seed=2)
    itself = torch.arange(6)
    rows = torch.nn.functional.cross_entropy(audio @ text.T, itself)
    columns = torch.nn.functional.cross_entropy(text @ audio.T, itself)
    torch.testing.assert_close(contrastive(pair(audio, text)), (rows + columns) / 2, rtol=0, atol=1e-6)


def test_contrastive_loss_by_hand():
    # dot products ln 2 and 0 in rows and columns: each is found with probability 2/3
    loss = contrastive(pair(torch.tensor([[math.log(2), 0.0], [0.0, math.log(2)]]), torch.eye(2)))
    assert loss.item() == pytest.approx(-math.log(2 / 3), rel=1e-6)
    # (a1 t1, a1 t2; a2 t1, a2 t2) = (ln 2, ln 3; 0, ln 3)
    loss = contrastive(pair(torch.tensor([[math.log(2), math.log(3)], [0.0, math.log(3)]]), torch.eye(2)))
    rows, columns = math.log(2 / 5) + math.log(3 / 4), math.log(2 / 3) + math.log(3 / 6)
    assert loss.item() == pytest.approx(-(rows + columns) / 4, rel=1e-6)


def test_dot_products_are_not_normalised():
    audio, text = random(5, 3, seed=1), random(5, 3, seed=2)
    assert abs(contrastive(pair(10 * audio, text)) - contrastive(pair(audio, text))) > 0.1


def test_who_lacks_a_modality_is_nobodys_counterpart_and_gets_no_gradient():
    both = torch.tensor([True, False, True, True])
    audio, text = random(4, 3, seed=1).requires_grad_(), random(4, 3, seed=2).requires_grad_()
    loss = contrastive(pair(audio, text), having(both))
    torch.testing.assert_close(loss, contrastive(pair(audio[both], text[both])))
    loss.backward()
    for vectors in (audio, text):
        assert (vectors.grad[1] == 0).all() and (vectors.grad[both] != 0).any(dim=1).all()


@pytest.mark.parametrize("n", [0, 1])
def test_without_a_pair_of_utterances_the_contrastive_loss_and_its_gradient_are_zero(n):
    audio, text = random(3, 2).requires_grad_(), random(3, 2).requires_grad_()
    loss = contrastive(pair(audio, text), having(torch.arange(3) < n))
    loss.backward()
    assert loss.item() == 0 and (audio.grad == 0).all() and (text.grad == 0).all()


@pytest.mark.parametrize("temperature", [0.1, 0.37, 1.0])
def test_invariance_is_infonce_of_cosines_in_plain_loops(temperature):
    audio, text, expected = 3 * random(5, 4, seed=1), 2 * random(5, 4, seed=2), 0.0
    cosines = [[float(a @ t / (a.norm() * t.norm())) / temperature for t in text] for a in audio]
    for i in range(5):
        own = math.exp(cosines[i][i])
        expected -= math.log(own / sum(math.exp(cosines[i][j]) for j in range(5))) / 10
        expected -= math.log(own / sum(math.exp(cosines[j][i]) for j in range(5))) / 10
    assert invariance(pair(audio, text), temperature=temperature).item() == pytest.approx(expected, rel=1e-5)


def test_invariance_does_not_see_lengths_nor_who_lacks_a_modality():
    audio, text, both = random(4, 3, seed=1), random(4, 3, seed=2), torch.tensor([True, False, True, True])
    torch.testing.assert_close(invariance(pair(7 * audio, text)), invariance(pair(audio, text)), rtol=0, atol=1e-6)
    audio, text = audio.requires_grad_(), (text * both[:, None]).requires_grad_()  # zeros in the place of a missing one
    loss = invariance(pair(audio, text), having(both), 0.5)
    torch.testing.assert_close(loss, invariance(pair(audio[both], text[both]), None, 0.5))
    loss.backward()
    assert torch.isfinite(text.grad).all() and (audio.grad[1] == 0).all() and (text.grad[1] == 0).all()


def of_two(audio, text, both, temperature=None):
    """Return the loss of two modalities as section 3.3 of Chochlakis et al. has it, step by step."""
    if temperature is not None:
        audio, text = (torch.nn.functional.normalize(vectors, dim=1) for vectors in (audio, text))
        audio = audio / temperature
    similarity = audio[both] @ text[both].T
    itself = torch.arange(int(both.sum()))
    rows = torch.nn.functional.cross_entropy(similarity, itself)
    return (rows + torch.nn.functional.cross_entropy(similarity.T, itself)) / 2


@pytest.mark.parametrize("temperature", [None, 0.37])
@pytest.mark.parametrize(("n", "width"), [(5, 3), (32, 64), (17, 130)])
def test_of_two_modalities_loss_and_gradient_are_those_of_the_pair_to_the_bit(n, width, temperature):
    both = torch.rand(n, generator=torch.Generator().manual_seed(0)) < 0.7
    parts = [random(n, width, seed=seed).requires_grad_() for seed in (1, 2)]
    again = [part.detach().clone().requires_grad_() for part in parts]
    given = pair(*parts), having(both)
    loss = contrastive(*given) if temperature is None else invariance(*given, temperature)
    expected = of_two(*again, both, temperature)
    assert torch.equal(loss, expected)
    loss.backward()
    expected.backward()
    assert all(torch.equal(part.grad, other.grad) for part, other in zip(parts, again, strict=True))


@pytest.mark.parametrize("temperature", [None, 0.37])
def test_of_three_modalities_it_is_the_mean_over_the_three_pairs(temperature):
    vectors = random(8, 3, 4, seed=1)
    present = torch.rand(8, 3, generator=torch.Generator().manual_seed(2)) < 0.8
    pairs = [
        of_two(vectors[:, i], vectors[:, j], present[:, i] & present[:, j], temperature)
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    loss = contrastive(vectors, present) if temperature is None else invariance(vectors, present, temperature)
    torch.testing.assert_close(loss, sum(pairs) / 3, rtol=0, atol=1e-6)


def test_a_pair_that_nobody_has_counts_as_zero():
    present = torch.tensor([[True, True, False]] * 4)
    vectors = random(4, 3, 5)
    expected = of_two(vectors[:, 0], vectors[:, 1], torch.ones(4, dtype=torch.bool)) / 3
    torch.testing.assert_close(contrastive(vectors, present), expected)


def test_one_modality_has_no_pair():
    with pytest.raises(ValueError, match="got vectors of 1 modality, expected at least two in the second axis"):
        contrastive(random(4, 1, 5))


def test_imagination_is_the_mean_over_vectors_and_width():
    estimate, target = torch.tensor([[1.0, 2.0], [0.0, 0.0]]), torch.tensor([[0.0, 0.0], [0.0, 3.0]])
    assert imagination(estimate, target).item() == (1 + 4 + 9) / 4
    assert imagination(estimate[:0], target[:0]).item() == 0


def test_reconstruction_is_equation_5_in_plain_loops():
    lengths, d = [4, 2, 3], 5
    estimate, target = random(3, 4, d, seed=1), random(3, 4, d, seed=2)
    mask = torch.arange(4) < torch.tensor(lengths)[:, None]
    expected = 0.0
    for i, n in enumerate(lengths):
        for j in range(n):
            error = sum((estimate[i, j, k] - target[i, j, k]).item() ** 2 for k in range(d))
            expected += error / d / n / len(lengths)
    assert reconstruction(estimate, target, mask).item() == pytest.approx(expected, rel=1e-6)


def test_only_the_positions_asked_for_are_compared_and_a_row_without_any_is_left_out():
    estimate, target = torch.zeros(3, 2, 2, requires_grad=True), torch.ones(3, 2, 2)
    target[0, 1] = 3.0
    target[2] = float("nan")
    mask = torch.tensor([[False, True], [True, True], [False, False]])
    loss = reconstruction(estimate, target, mask)  # (9 + 1) / 2
    loss.backward()
    assert loss.item() == pytest.approx(5.0)
    assert (estimate.grad[~mask] == 0).all() and (estimate.grad[mask] != 0).all()


def test_without_any_frame_reconstruction_and_its_gradient_are_zero():
    estimate = random(2, 3, 4).requires_grad_()
    loss = reconstruction(estimate, torch.zeros(2, 3, 4), torch.zeros(2, 3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0 and (estimate.grad == 0).all()


def in_loops(embeddings, labels, alpha, beta, base, margin):
    """Return the multi-similarity loss as Wang et al. write it, pair by pair."""
    vectors = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in embeddings.double().tolist()]
    known = [i for i, label in enumerate(labels.tolist()) if label >= 0]
    total = 0.0
    for i in known:
        similar = {k: sum(x * y for x, y in zip(vectors[i], vectors[k], strict=True)) for k in known if k != i}
        positive = [k for k in similar if labels[k] == labels[i]]
        negative = [k for k in similar if labels[k] != labels[i]]
        if margin is not None:
            lowest = min((similar[k] for k in positive), default=math.inf)
            highest = max((similar[k] for k in negative), default=-math.inf)
            positive = [k for k in positive if similar[k] < highest + margin]
            negative = [k for k in negative if similar[k] > lowest - margin]
        total += math.log(1 + sum(math.exp(-alpha * (similar[k] - base)) for k in positive)) / alpha
        total += math.log(1 + sum(math.exp(beta * (similar[k] - base)) for k in negative)) / beta
    return total / len(known)


@pytest.mark.parametrize("margin", [None, 0.1, 0.5])
@pytest.mark.parametrize(("alpha", "beta", "base"), [(2.0, 50.0, 0.5), (1.0, 5.0, 0.0), (0.7, 12.0, 0.8)])
@pytest.mark.parametrize("seed", range(4))
def test_multi_similarity_is_the_equation_in_plain_loops(alpha, beta, base, margin, seed):
    embeddings = random(9, 3, seed=seed)
    labels = torch.randint(-1, 4, (9,), generator=torch.Generator().manual_seed(seed))
    expected = in_loops(embeddings, labels, alpha, beta, base, margin)
    loss = multi_similarity(embeddings, labels, alpha=alpha, beta=beta, base=base, margin=margin)
    assert loss.item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


SIX = [[1.0, 0, 0], [0.8, 0.6, 0], [0, 1.0, 0], [0, 0.6, 0.8], [-0.6, 0, 0.8], [0.28, 0, 0.96]]


@pytest.mark.parametrize(
    ("alpha", "beta", "base", "every_pair", "mined"),
    [
        (2.0, 50.0, 0.5, 0.5609646439552307, 0.42765048146247864),
        (1.0, 5.0, 0.5, 1.0556002855300903, 0.7636675834655762),
        (2.0, 40.0, 0.8, 0.5843570232391357, 0.43519076704978943),
    ],
)
def test_multi_similarity_equals_pytorch_metric_learnings(alpha, beta, base, every_pair, mined):
    # MultiSimilarityLoss(alpha, beta, base) of pytorch-metric-learning 2.9.0, alone and with MultiSimilarityMiner(0.1)
    embeddings, labels = torch.tensor(SIX), torch.tensor([0, 0, 1, 1, 2, 0])
    options = {"alpha": alpha, "beta": beta, "base": base}
    assert multi_similarity(embeddings, labels, **options).item() == pytest.approx(every_pair, abs=1e-6)
    assert multi_similarity(embeddings, labels, margin=0.1, **options).item() == pytest.approx(mined, abs=1e-6)


def test_multi_similarity_by_hand():
    # one pair of a label with cosine 0 and no negatives: ln(1 + e^{-2 (0 - 1/2)}) / 2 for each of the two
    loss = multi_similarity(torch.eye(2), torch.tensor([3, 3]))
    assert loss.item() == pytest.approx(math.log(1 + math.e) / 2, rel=1e-6)
    # two labels with cosine 0: ln(1 + e^{50 (0 - 1/2)}) / 50, next to nothing
    assert multi_similarity(torch.eye(2), torch.tensor([3, 4])).item() == pytest.approx(math.exp(-25) / 50, abs=1e-9)


def test_lengths_of_embeddings_do_not_count():
    embeddings, labels = random(6, 3), torch.tensor([0, 0, 1, 1, 2, 2])
    lengths = torch.tensor([0.1, 2.0, 3.0, 0.5, 7.0, 1.0])[:, None]
    torch.testing.assert_close(multi_similarity(embeddings * lengths, labels), multi_similarity(embeddings, labels))


def test_an_utterance_without_a_label_is_in_no_pair():
    embeddings, labels = random(5, 3).requires_grad_(), torch.tensor([0, -1, 0, 1, -1])
    loss = multi_similarity(embeddings, labels, beta=5.0)
    torch.testing.assert_close(loss, multi_similarity(embeddings[labels >= 0], labels[labels >= 0], beta=5.0))
    loss.backward()
    assert (embeddings.grad[labels < 0] == 0).all() and (embeddings.grad[labels >= 0] != 0).any(dim=1).all()


def test_a_step_against_its_gradient_moves_labels_together_and_apart():
    embeddings, labels = random(8, 4).requires_grad_(), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])

    def gap(vectors):
        unit = torch.nn.functional.normalize(vectors.detach(), dim=1)
        same = (labels[:, None] == labels) & ~torch.eye(8, dtype=torch.bool)
        return (unit @ unit.T)[same].mean() - (unit @ unit.T)[labels[:, None] != labels].mean()

    before = gap(embeddings)
    for _ in range(50):
        (gradient,) = torch.autograd.grad(multi_similarity(embeddings, labels, beta=10.0), embeddings)
        embeddings = (embeddings - gradient).detach().requires_grad_()
    assert gap(embeddings) > before + 0.3


def test_distributions_are_no_labels_of_pairs():
    with pytest.raises(ValueError, match="multi_similarity expects one label an utterance"):
        multi_similarity(torch.eye(2), torch.tensor([[0.5, 0.5], [1.0, 0.0]]))


def test_the_new_losses_are_found_by_their_names():
    outputs = {
        "aligned": (random(4, 2, 3, seed=1), torch.tensor([[True, True]] * 3 + [[True, False]])),
        "reconstruction": {
            "audio": (random(4, 3, 2, seed=3), random(4, 3, 2, seed=4), torch.ones(4, 3, dtype=torch.bool)),
            "text": (random(4, 2, 5, seed=5), random(4, 2, 5, seed=6), torch.ones(4, 2, dtype=torch.bool)),
        },
        "embedding": random(4, 3, seed=7),
        "sentiment": random(4, 3, seed=8),
    }
    batch = {"emotion": torch.tensor([0, 1, 0, -1]), "sentiment": torch.tensor([2, -1, 0, 1])}
    weights = {"contrastive": 1.0, "reconstruction": 10.0, "multi_similarity": 0.5, "sentiment": 2.0}
    total, parts = combined(outputs, batch, weights, similarity={"alpha": 1.0, "margin": 0.2})
    torch.testing.assert_close(parts["contrastive"], contrastive(*outputs["aligned"]))
    two = [reconstruction(*arguments) for arguments in outputs["reconstruction"].values()]
    torch.testing.assert_close(parts["reconstruction"], two[0] + two[1])  # equation 5 sums over modalities
    expected = multi_similarity(outputs["embedding"], batch["emotion"], alpha=1.0, margin=0.2)
    torch.testing.assert_close(parts["multi_similarity"], expected)
    torch.testing.assert_close(parts["sentiment"], cross_entropy(outputs["sentiment"], batch["sentiment"]))
    torch.testing.assert_close(total, sum(weights[name] * parts[name] for name in weights))


def test_with_no_label_known_the_new_losses_have_gradient_zero():
    outputs = {name: random(4, 3).requires_grad_() for name in ("embedding", "sentiment")}
    batch = {"emotion": torch.full((4,), -1), "sentiment": torch.full((4,), -1)}
    loss, _ = combined(outputs, batch, {"multi_similarity": 1.0, "sentiment": 1.0})
    loss.backward()
    assert loss.item() == 0 and all((value.grad == 0).all() for value in outputs.values())

"""A network of several modalities: passes by combination, gradients, and that what is absent changes nothing."""

import pytest
import torch

from pipeline_lib.losses import combined
from pipeline_lib.networks.frames import Frames
from pipeline_lib.networks.presence import drop_modalities
from tests.networks.joint_networks import ALL, MIXED, inputs, network, without
from tests.networks.mixers.batches import KINDS, NAMES, WIDTHS


@pytest.mark.parametrize("heads", [("shared",), tuple(ALL)])
def test_views_are_what_is_said_when_only_that_is_shown(heads):
    joint, given = network(heads=heads).eval(), inputs(MIXED)
    with torch.inference_mode():
        views = joint.views(given)
        for i, name in enumerate(("audio", "text")):
            has = given["present"][:, i]
            only = torch.zeros_like(given["present"][has])
            only[:, i] = True
            alone = joint({name: tuple(part[has] for part in given[name]) for name in WIDTHS} | {"present": only})
            for key, values in alone.items():
                torch.testing.assert_close(views[f"{name}.{key}"][has], values, atol=1e-6, rtol=1e-6)
                assert views[f"{name}.{key}"][~has].isnan().all()
        for key, values in joint(given).items():
            assert torch.equal(views[key], values)


def test_the_outputs_are_heads_of_the_mixer_of_weighted_layers():
    net, given = network().eval(), inputs([[1, 1], [1, 1]])
    frames = {}
    for name in WIDTHS:
        hidden = net.encoder.branches[name](*given[name])
        net.layer_weights[name].scores.data.normal_()
        weights = net.layer_weights[name].scores.softmax(0)
        frames[name] = Frames(torch.einsum("l,lbtw->btw", weights, torch.stack(hidden.layers)), hidden.mask)
    expected = net.heads["shared"](net.join(frames))
    for name, value in net(given).items():
        torch.testing.assert_close(value, expected[name], rtol=0, atol=1e-6)


def test_without_layer_weights_the_last_layer_is_mixed():
    net, given = network(weighted=False).eval(), inputs([[1, 1], [1, 1]])
    hidden = {name: net.encoder.branches[name](*given[name]) for name in WIDTHS}
    mixed = net.join({name: Frames(layer.layers[-1], layer.mask) for name, layer in hidden.items()})
    assert torch.equal(net(given)["logits"], net.heads["shared"](mixed)["logits"])


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
@pytest.mark.parametrize("filling", [1e30, float("nan")])
def test_an_absent_modalitys_columns_change_no_bit_of_any_output(settings, filling):
    net, given = network(settings).eval(), inputs(MIXED)
    one, two = net(given), net(without(given, filling))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_an_absent_modalitys_columns_change_no_bit_of_any_gradient(settings):
    gradients = []
    for filling in (0.0, float("nan")):
        net = network(settings).eval()
        net(without(inputs(MIXED), filling))["logits"].square().sum().backward()
        gradients.append(
            {name: parameter.grad for name, parameter in net.named_parameters() if parameter.grad is not None}
        )
    assert gradients[0].keys() == gradients[1].keys() and gradients[0]
    assert all(torch.equal(gradient, gradients[1][name]) for name, gradient in gradients[0].items())


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_a_batch_of_one_equals_a_padded_batch(settings):
    net, given = network(settings).eval(), inputs(MIXED)
    together = net(given)
    for i in range(len(MIXED)):
        alone = {"present": given["present"][i : i + 1]}
        for name in WIDTHS:
            values, lengths = given[name]
            alone[name] = values[i : i + 1, : lengths[i]], lengths[i : i + 1]
        for name, value in net(alone).items():
            torch.testing.assert_close(value[0], together[name][i], rtol=0, atol=1e-6)


def test_a_frozen_branch_stays_in_eval_mode_and_a_trained_one_does_not():
    net = network().train()
    assert not any(branch.training for branch in net.encoder.branches.values()) and net.join.training
    net.encoder.branches["text"].requires_grad_(True)
    net.train()
    assert net.encoder.branches["text"].training and not net.encoder.branches["audio"].training


def test_a_frozen_mixer_has_no_dropout_while_a_head_is_trained():
    net, given = network(heads=ALL), inputs(MIXED)
    net.join.requires_grad_(False)
    net.train()
    assert not any(module.training for module in net.join.modules()) and net.heads["both"].training
    assert torch.equal(net(given)["logits"], net(given)["logits"])


def test_a_trained_branch_gets_gradients():
    net = network(frozen=False).eval()
    net(inputs(MIXED))["logits"].square().sum().backward()
    assert all((parameter.grad != 0).any() for parameter in net.encoder.parameters())


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_modality_dropout_hides_one_of_two_in_its_share_of_utterances(share):
    present = torch.ones(20_000, 2, dtype=torch.bool)
    result = drop_modalities(present, share, torch.Generator().manual_seed(0))
    assert result.any(dim=1).all()  # never both
    for lost in (~result).float().mean(dim=0).tolist():
        assert lost == pytest.approx(share / 2, abs=0.015)  # deviation of a mean: 0.0035


def test_modality_dropout_leaves_alone_who_has_one_modality():
    present = torch.tensor([[1, 0], [0, 1]] * 50, dtype=torch.bool)
    assert torch.equal(drop_modalities(present, 1.0), present)


def test_modality_dropout_is_drawn_from_the_seed_and_in_training_only():
    net, given = network(modality_dropout=0.5).train(), inputs([[1, 1]] * 40)
    rows = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        result = net.passes(given, ALL)
        rows.append(tuple(result["both"].rows.tolist()))
        assert 0 < len(rows[-1]) < 40
        one = set(result["audio"].rows.tolist()) ^ set(result["text"].rows.tolist())
        assert one | set(rows[-1]) == set(range(40)) and not one & set(rows[-1])
    assert rows[0] == rows[1] != rows[2]
    assert len(net.eval().passes(given, ALL)["both"].rows) == 40


def test_a_dense_head_trains_where_one_utterance_alone_has_the_combination():
    net = network(kind="dense").train()
    result = net.passes(inputs([[1, 1], [1, 0], [1, 0]]), ALL)
    assert len(result["text"].rows) == 1 and torch.isfinite(result["text"].outputs["logits"]).all()


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_under_autocast_to_bfloat16_it_trains_and_predicts_nearly_the_same(settings):
    net, given = network(settings).eval(), inputs(MIXED)
    requested = {"shared_transformer": ["aligned", "reconstruction"], "imagination": ["imagination", "invariance"]}
    exact, auxiliary = net(given)["logits"], requested.get(settings.kind, [])
    with torch.autocast("cpu", torch.bfloat16):
        rough, result = net(given)["logits"], net.passes(given, ALL, auxiliary)
    torch.testing.assert_close(rough.float(), exact, rtol=0, atol=0.05)
    losses = [result[name].outputs["logits"].float().square().mean() for name in ALL]
    if auxiliary:
        names = ["contrastive" if name == "aligned" else name for name in auxiliary]
        losses.append(combined(result, {}, dict.fromkeys(names, 1.0))[0])
    torch.stack(losses).sum().backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in net.parameters() if parameter.grad is not None)

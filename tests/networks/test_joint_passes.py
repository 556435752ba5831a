"""A joint network's passes by combination, their heads, and what the auxiliary losses read of them."""

import pytest
import torch

from pipeline_lib.losses import combined, contrastive
from pipeline_lib.params.network import MixerSettings, SharedTransformerSettings
from tests.networks.joint_networks import ALL, MIXED, SHARED, inputs, network, without
from tests.networks.mixers.batches import WIDTHS


def test_each_pass_has_the_utterances_that_have_its_modalities():
    result = network().eval().passes(inputs(MIXED), ALL)
    assert list(result) == ALL
    assert result["audio"].rows.tolist() == [0, 1, 3, 5]
    assert result["text"].rows.tolist() == [0, 2, 3, 4, 5]
    assert result["both"].rows.tolist() == [0, 3, 5]
    assert result["audio"].outputs["logits"].shape == (4, 4)


@pytest.mark.parametrize(
    ("combinations", "rows"),
    [(["both"], [0, 1, 2, 3, 4, 5]), (["audio", "both"], [0, 2, 3, 4, 5]), (["text", "both"], [0, 1, 3, 5])],
)
def test_who_has_one_modality_alone_is_trained_in_both_where_that_one_has_no_pass(combinations, rows):
    assert network().eval().passes(inputs(MIXED), combinations)["both"].rows.tolist() == rows


def test_a_pass_is_the_prediction_of_a_batch_that_lacks_the_other_modality():
    net, given = network().eval(), inputs(MIXED)
    result = net.passes(given, ALL)
    for name, shown in (("audio", [1, 0]), ("text", [0, 1]), ("both", [1, 1])):
        rows = result[name].rows
        part = {name: (given[name][0][rows], given[name][1][rows]) for name in WIDTHS}
        expected = net(part | {"present": torch.tensor([shown] * len(rows), dtype=torch.bool)})
        for key, outputs in result[name].outputs.items():
            torch.testing.assert_close(outputs, expected[key], rtol=0, atol=1e-6)


def test_a_combination_that_nobody_has_is_left_out():
    assert list(network().eval().passes(inputs([[1, 0], [1, 0]]), ALL)) == ["audio"]


def test_a_batch_of_nobody_is_refused():
    with pytest.raises(ValueError, match="no utterance of the batch has any of audio, text"):
        network().eval()(inputs([[0, 0], [0, 0]]))


def test_separate_heads_answer_for_their_own_combination():
    net, given = network(heads=ALL).eval(), inputs(MIXED)
    whole, passes = net(given), net.passes(given, ALL)
    for name, rows in (("audio", [1]), ("text", [2, 4]), ("both", [0, 3, 5])):
        index = [passes[name].rows.tolist().index(i) for i in rows]
        for key, outputs in passes[name].outputs.items():
            torch.testing.assert_close(whole[key][rows], outputs[index], rtol=0, atol=1e-6)
    shared = network(heads=["shared"]).eval()
    assert len(list(net.heads.parameters())) == 3 * len(list(shared.heads.parameters()))


def test_only_the_head_of_a_pass_gets_its_gradient():
    net = network(heads=ALL).eval()
    net.passes(inputs(MIXED), ["text"])["text"].outputs["logits"].sum().backward()
    assert net.heads["text"].emotion.weight.grad is not None
    assert net.heads["audio"].emotion.weight.grad is None and net.heads["both"].emotion.weight.grad is None


def test_a_head_that_is_not_there_is_answered_by_that_of_both_or_refused():
    net = network(heads=["both"]).eval()
    assert net(inputs(MIXED))["logits"].shape == (6, 4)
    with pytest.raises(ValueError, match=r"combination 'text' has no head, expected one of \['audio'\]"):
        network(heads=["audio"]).eval()(inputs(MIXED))


def test_the_aligned_vectors_are_those_of_the_unimodal_passes():
    net, given = network().eval(), inputs(MIXED)
    vectors, present = net.passes(given, ALL, ["aligned"])["aligned"]
    assert torch.equal(present, given["present"])
    frames = net.frames(given)
    for i, (name, result) in enumerate(zip(WIDTHS, vectors.unbind(dim=1), strict=True)):
        rows = given["present"][:, i]
        expected = net.join.align(net.join.contextual({name: frames[name].of(rows)})[1][name])
        torch.testing.assert_close(result[rows], expected, rtol=0, atol=1e-6)
        assert (result[~rows] == 0).all()


def test_the_aligned_vectors_come_from_the_very_passes_whose_cls_is_scored():
    net, given, calls = network().train(), inputs([[1, 1]] * 3), []
    net.join.transformer.register_forward_hook(lambda *_: calls.append(1))
    net.passes(given, ALL, ["aligned"])
    assert len(calls) == 3
    net.passes(given, ALL, ["aligned", "reconstruction"])
    assert len(calls) == 3 + 4  # masks have a pass of their own
    net.passes(given, ["both"], ["aligned"])
    assert len(calls) == 7 + 3


def test_the_masks_touch_no_other_pass():
    net, given = network().eval(), inputs(MIXED)
    plain, auxiliary = net.passes(given, ALL), net.passes(given, ALL, ["aligned", "reconstruction"])
    for name in ALL:
        assert torch.equal(plain[name].outputs["logits"], auxiliary[name].outputs["logits"])


@pytest.mark.parametrize(("masked_passes", "n"), [("both", 2), ("each", 4)])
def test_what_is_reconstructed_from_both_or_from_each_combination(masked_passes, n):
    own = SharedTransformerSettings(masked_passes=masked_passes)
    net = network(SHARED.model_copy(update={"shared_transformer": own})).eval()
    result = net.passes(inputs(MIXED), ALL, ["reconstruction"])["reconstruction"]
    assert len(result) == n  # audio and text of both; and those of audio alone and of text alone
    assert all(estimate.shape == target.shape for estimate, target, _ in result.values())


def test_one_backward_of_all_losses_reaches_every_trained_parameter():
    net, given = network().train(), inputs([[1, 1]] * 6)
    result = net(given, ALL, ["aligned", "reconstruction"])  # as a wrapper calls it
    truth = {
        "emotion": torch.tensor([0, 1, 2, 3, 0, -1]),
        "attributes": torch.randn(6, 2),
        "sentiment": torch.tensor([0, 1, 2, 0, 1, 2]),
    }
    weights = {"cross_entropy": 1.0, "concordance": 1.0, "sentiment": 1.0}
    supervised = [
        combined(result[name].outputs, {key: value[result[name].rows] for key, value in truth.items()}, weights)[0]
        for name in ALL
    ]
    auxiliary = combined(result, truth, {"contrastive": 1.0, "reconstruction": 10.0})[0]
    (torch.stack(supervised).mean() + auxiliary).backward()
    for name, parameter in net.named_parameters():
        if name.startswith("encoder."):
            assert parameter.grad is None
        else:
            assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
    for name in ("cls", "sep", "masked", "types.audio", "types.text", "g.0.weight"):
        assert (net.join.get_parameter(name).grad != 0).any(), name


def test_what_the_losses_of_imagination_read_touches_no_pass_and_is_of_who_has_both():
    net, given = network(MixerSettings(kind="imagination", width=8, heads=2)).eval(), inputs(MIXED)
    plain, result = net.passes(given, ALL), net.passes(given, ALL, ["imagination", "invariance"])
    assert all(torch.equal(plain[name].outputs["logits"], result[name].outputs["logits"]) for name in ALL)
    estimate, target = result["imagination"]
    assert estimate.shape == target.shape == (6, 8) and not target.requires_grad
    vectors, present, temperature = result["invariance"]
    assert torch.equal(present, given["present"]) and temperature == 0.37
    expected = net.join.invariant(net.frames(given))
    assert all(torch.equal(vectors[:, i], expected[name]) for i, name in enumerate(WIDTHS))
    changed = net.passes(without(given, float("nan")), ALL, ["imagination", "invariance"])
    weights = {"imagination": 8.0, "invariance": 1.0}
    loss = combined(result, {}, weights)[0]
    assert torch.equal(loss, combined(changed, {}, weights)[0])
    loss.backward()
    untouched = [
        name for name, parameter in net.join.named_parameters() if parameter.grad is None or not parameter.grad.any()
    ]
    assert untouched == []


def test_where_all_lack_a_modality_the_losses_of_imagination_are_zero():
    net = network(MixerSettings(kind="imagination", width=8, heads=2)).train()
    result = net.passes(inputs([[1, 0], [1, 0]]), ALL, ["imagination", "invariance"])
    loss, parts = combined(result, {}, {"imagination": 1.0, "invariance": 1.0})
    loss.backward()
    assert parts == {"imagination": 0.0, "invariance": 0.0}


def test_where_no_emotion_is_known_its_layer_gets_no_gradient_and_the_others_do():
    net, given = network().eval(), inputs(MIXED)
    truth = {"emotion": torch.full((6,), -1), "attributes": torch.randn(6, 2)}
    combined(net(given), truth, {"cross_entropy": 1.0, "concordance": 1.0})[0].backward()
    head = net.heads["shared"]
    assert (head.emotion.weight.grad == 0).all() and (head.attributes.weight.grad != 0).any()
    assert (head.dense.weight.grad != 0).any() and (net.layer_weights["text"].scores.grad != 0).any()


def test_the_contrastive_loss_leaves_out_who_lacks_a_modality():
    net, given = network().eval(), inputs(MIXED)
    loss, _ = combined(net.passes(given, ALL, ["aligned"]), {}, {"contrastive": 1.0})
    part = {name: (given[name][0][[0, 3, 5]], given[name][1][[0, 3, 5]]) for name in WIDTHS}
    pairs = net.passes(part | {"present": torch.ones(3, 2, dtype=torch.bool)}, ALL, ["aligned"])["aligned"]
    torch.testing.assert_close(loss, contrastive(*pairs), rtol=0, atol=1e-6)

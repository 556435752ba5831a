"""A joint network: passes by combination, gradients, and that what is absent changes nothing."""

import pytest
import torch
from torch import nn

from pipeline_lib.encoders.hidden import Hidden
from pipeline_lib.losses import combined, contrastive
from pipeline_lib.networks.frames import Frames
from pipeline_lib.networks.heads import build as build_head
from pipeline_lib.networks.joint import JointNetwork, some_hidden
from pipeline_lib.networks.layer_weights import LayerWeights
from pipeline_lib.networks.mixers.build import build as build_mixer
from pipeline_lib.networks.settings import HeadSettings, MixerSettings, SharedTransformerSettings
from tests.networks.mixers.batches import KINDS, NAMES, WIDTHS

SHARED = MixerSettings(kind="shared_transformer", width=8, heads=2, layers=1)
ALL = ["audio", "text", "both"]


class Branch(nn.Module):
    """Two blocks that are linear layers; dropout between them."""

    def __init__(self, width, frozen):
        super().__init__()
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(2))
        self.dropout = nn.Dropout(0.5)
        self.requires_grad_(not frozen)

    def forward(self, values, lengths):
        layers = [values]
        for block in self.blocks:
            layers.append(self.dropout(torch.tanh(block(layers[-1]))))
        return Hidden(tuple(layers), lengths)


class Encoder(nn.Module):
    """A branch a modality."""

    def __init__(self, frozen=True):
        super().__init__()
        self.branches = nn.ModuleDict({name: Branch(width, frozen) for name, width in WIDTHS.items()})

    def forward(self, audio, text, present):
        return {"audio": self.branches["audio"](*audio), "text": self.branches["text"](*text)}


def network(mixer=SHARED, heads=("shared",), kind="relu", frozen=True, weighted=True, seed=0, **options):
    torch.manual_seed(seed)
    mixed = build_mixer(mixer, WIDTHS)
    settings = HeadSettings(kind=kind, width=6)
    return JointNetwork(
        Encoder(frozen),
        {name: LayerWeights(3) for name in WIDTHS} if weighted else {},
        mixed,
        {name: build_head(settings, mixed.width, 4, 2, sentiment=True) for name in heads},
        **options,
    )


def inputs(present, seed=0, time=(7, 4)):
    generator = torch.Generator().manual_seed(seed)
    n, given = len(present), {"present": torch.tensor(present, dtype=torch.bool)}
    for (name, width), longest in zip(WIDTHS.items(), time, strict=True):
        lengths = torch.randint(1, longest + 1, (n,), generator=generator)
        given[name] = torch.randn(n, longest, width, generator=generator), lengths
    return given


MIXED = [[1, 1], [1, 0], [0, 1], [1, 1], [0, 1], [1, 1]]


@pytest.mark.parametrize("heads", [("shared",), tuple(ALL)])
def test_views_are_what_is_said_when_only_that_is_shown(heads):
    joint, given = network(heads=heads).eval(), inputs(MIXED)
    with torch.inference_mode():
        views = joint.views(given)
        for i, name in enumerate(("audio", "text")):
            has = given["present"][:, i]
            only = torch.zeros_like(given["present"][has])
            only[:, i] = True
            alone = joint({each: tuple(part[has] for part in given[each]) for each in WIDTHS} | {"present": only})
            for key, values in alone.items():
                torch.testing.assert_close(views[f"{name}.{key}"][has], values, atol=1e-6, rtol=1e-6)
                assert views[f"{name}.{key}"][~has].isnan().all()
        for key, values in joint(given).items():
            assert torch.equal(views[key], values)


def without(given, filling):
    """Return the inputs with something else in the columns of absent modalities."""
    changed = dict(given)
    for i, name in enumerate(WIDTHS):
        values, lengths = given[name]
        changed[name] = values.masked_fill(~given["present"][:, i, None, None], filling), lengths
    return changed


def test_the_outputs_are_heads_of_the_mixer_of_weighted_layers():
    net, given = network().eval(), inputs([[1, 1], [1, 1]])
    frames = {}
    for name in WIDTHS:
        hidden = net.encoder.branches[name](*given[name])
        net.layer_weights[name].scores.data.normal_()
        weights = net.layer_weights[name].scores.softmax(0)
        frames[name] = Frames(torch.einsum("l,lbtw->btw", weights, torch.stack(hidden.layers)), hidden.mask)
    expected = net.heads["shared"](net.mixer(frames))
    for name, each in net(given).items():
        torch.testing.assert_close(each, expected[name], rtol=0, atol=1e-6)


def test_without_layer_weights_the_last_layer_is_mixed():
    net, given = network(weighted=False).eval(), inputs([[1, 1], [1, 1]])
    hidden = {name: net.encoder.branches[name](*given[name]) for name in WIDTHS}
    mixed = net.mixer({name: Frames(each.layers[-1], each.mask) for name, each in hidden.items()})
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
        gradients.append({name: each.grad for name, each in net.named_parameters() if each.grad is not None})
    assert gradients[0].keys() == gradients[1].keys() and gradients[0]
    assert all(torch.equal(each, gradients[1][name]) for name, each in gradients[0].items())


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_a_batch_of_one_equals_a_padded_batch(settings):
    net, given = network(settings).eval(), inputs(MIXED)
    together = net(given)
    for i in range(len(MIXED)):
        alone = {"present": given["present"][i : i + 1]}
        for name in WIDTHS:
            values, lengths = given[name]
            alone[name] = values[i : i + 1, : lengths[i]], lengths[i : i + 1]
        for name, each in net(alone).items():
            torch.testing.assert_close(each[0], together[name][i], rtol=0, atol=1e-6)


def test_each_pass_has_the_utterances_that_have_its_modalities():
    found = network().eval().passes(inputs(MIXED), ALL)
    assert list(found) == ALL
    assert found["audio"].rows.tolist() == [0, 1, 3, 5]
    assert found["text"].rows.tolist() == [0, 2, 3, 4, 5]
    assert found["both"].rows.tolist() == [0, 3, 5]
    assert found["audio"].outputs["logits"].shape == (4, 4)


@pytest.mark.parametrize(
    ("combinations", "rows"),
    [(["both"], [0, 1, 2, 3, 4, 5]), (["audio", "both"], [0, 2, 3, 4, 5]), (["text", "both"], [0, 1, 3, 5])],
)
def test_who_has_one_modality_alone_is_trained_in_both_where_that_one_has_no_pass(combinations, rows):
    assert network().eval().passes(inputs(MIXED), combinations)["both"].rows.tolist() == rows


def test_a_pass_is_the_prediction_of_a_batch_that_lacks_the_other_modality():
    net, given = network().eval(), inputs(MIXED)
    found = net.passes(given, ALL)
    for name, shown in (("audio", [1, 0]), ("text", [0, 1]), ("both", [1, 1])):
        rows = found[name].rows
        part = {each: (given[each][0][rows], given[each][1][rows]) for each in WIDTHS}
        expected = net(part | {"present": torch.tensor([shown] * len(rows), dtype=torch.bool)})
        for each, outputs in found[name].outputs.items():
            torch.testing.assert_close(outputs, expected[each], rtol=0, atol=1e-6)


def test_a_combination_that_nobody_has_is_left_out():
    assert list(network().eval().passes(inputs([[1, 0], [1, 0]]), ALL)) == ["audio"]


def test_a_batch_of_nobody_is_refused():
    with pytest.raises(ValueError, match="no utterance of the batch has any of audio, text"):
        network().eval()(inputs([[0, 0], [0, 0]]))


def test_separate_heads_answer_for_their_own_combination():
    net, given = network(heads=ALL).eval(), inputs(MIXED)
    whole, passes = net(given), net.passes(given, ALL)
    for name, rows in (("audio", [1]), ("text", [2, 4]), ("both", [0, 3, 5])):
        place = [passes[name].rows.tolist().index(i) for i in rows]
        for each, outputs in passes[name].outputs.items():
            torch.testing.assert_close(whole[each][rows], outputs[place], rtol=0, atol=1e-6)
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
    with pytest.raises(ValueError, match=r"there is no head of 'text', those there are: \['audio'\]"):
        network(heads=["audio"]).eval()(inputs(MIXED))


def test_the_aligned_vectors_are_those_of_the_unimodal_passes():
    net, given = network().eval(), inputs(MIXED)
    audio, text, both = net.passes(given, ALL, ["aligned"])["aligned"]
    assert both.tolist() == [True, False, False, True, False, True]
    frames = net.frames(given)
    for i, (name, found) in enumerate((("audio", audio), ("text", text))):
        rows = given["present"][:, i]
        expected = net.mixer.align(net.mixer.contextual({name: frames[name].of(rows)})[1][name])
        torch.testing.assert_close(found[rows], expected, rtol=0, atol=1e-6)
        assert (found[~rows] == 0).all()


def test_the_aligned_vectors_come_from_the_very_passes_whose_cls_is_scored():
    net, given, calls = network().train(), inputs([[1, 1]] * 3), []
    net.mixer.transformer.register_forward_hook(lambda *_: calls.append(1))
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
    found = net.passes(inputs(MIXED), ALL, ["reconstruction"])["reconstruction"]
    assert len(found) == n  # audio and text of both; and those of audio alone and of text alone
    assert all(estimate.shape == target.shape for estimate, target, _ in found)


def test_one_backward_of_all_losses_reaches_every_trained_parameter():
    net, given = network().train(), inputs([[1, 1]] * 6)
    found = net(given, ALL, ["aligned", "reconstruction"])  # as a wrapper calls it
    truth = {
        "emotion": torch.tensor([0, 1, 2, 3, 0, -1]),
        "attributes": torch.randn(6, 2),
        "sentiment": torch.tensor([0, 1, 2, 0, 1, 2]),
    }
    weights = {"cross_entropy": 1.0, "concordance": 1.0, "sentiment": 1.0}
    supervised = [
        combined(found[name].outputs, {key: each[found[name].rows] for key, each in truth.items()}, weights)[0]
        for name in ALL
    ]
    auxiliary = combined(found, truth, {"contrastive": 1.0, "reconstruction": 10.0})[0]
    (torch.stack(supervised).mean() + auxiliary).backward()
    for name, each in net.named_parameters():
        if name.startswith("encoder."):
            assert each.grad is None
        else:
            assert each.grad is not None and torch.isfinite(each.grad).all(), name
    for name in ("cls", "sep", "masked", "types.audio", "types.text", "g.0.weight"):
        assert (net.mixer.get_parameter(name).grad != 0).any(), name


def test_what_the_losses_of_imagination_read_touches_no_pass_and_is_of_who_has_both():
    net, given = network(MixerSettings(kind="imagination", width=8, heads=2)).eval(), inputs(MIXED)
    plain, found = net.passes(given, ALL), net.passes(given, ALL, ["imagination", "invariance"])
    assert all(torch.equal(plain[name].outputs["logits"], found[name].outputs["logits"]) for name in ALL)
    estimate, target = found["imagination"]
    assert estimate.shape == target.shape == (6, 8) and not target.requires_grad
    audio, text, both, temperature = found["invariance"]
    assert (both.tolist(), temperature) == ([True, False, False, True, False, True], 0.37)
    vectors = net.mixer.invariant(net.frames(given))
    assert torch.equal(audio, vectors["audio"]) and torch.equal(text, vectors["text"])
    changed = net.passes(without(given, float("nan")), ALL, ["imagination", "invariance"])
    weights = {"imagination": 8.0, "invariance": 1.0}
    loss = combined(found, {}, weights)[0]
    assert torch.equal(loss, combined(changed, {}, weights)[0])
    loss.backward()
    untouched = [name for name, each in net.mixer.named_parameters() if each.grad is None or not each.grad.any()]
    assert untouched == []


def test_where_all_lack_a_modality_the_losses_of_imagination_are_zero():
    net = network(MixerSettings(kind="imagination", width=8, heads=2)).train()
    found = net.passes(inputs([[1, 0], [1, 0]]), ALL, ["imagination", "invariance"])
    loss, parts = combined(found, {}, {"imagination": 1.0, "invariance": 1.0})
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
    part = {each: (given[each][0][[0, 3, 5]], given[each][1][[0, 3, 5]]) for each in WIDTHS}
    pairs = net.passes(part | {"present": torch.ones(3, 2, dtype=torch.bool)}, ALL, ["aligned"])["aligned"]
    torch.testing.assert_close(loss, contrastive(*pairs), rtol=0, atol=1e-6)


def test_a_frozen_branch_stays_in_eval_mode_and_a_trained_one_does_not():
    net = network().train()
    assert not any(each.training for each in net.encoder.branches.values()) and net.mixer.training
    net.encoder.branches["text"].requires_grad_(True)
    net.train()
    assert net.encoder.branches["text"].training and not net.encoder.branches["audio"].training


def test_a_frozen_mixer_has_no_dropout_while_a_head_is_trained():
    net, given = network(heads=ALL), inputs(MIXED)
    net.mixer.requires_grad_(False)
    net.train()
    assert not any(each.training for each in net.mixer.modules()) and net.heads["both"].training
    assert torch.equal(net(given)["logits"], net(given)["logits"])


def test_a_trained_branch_gets_gradients():
    net = network(frozen=False).eval()
    net(inputs(MIXED))["logits"].square().sum().backward()
    assert all((each.grad != 0).any() for each in net.encoder.parameters())


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_modality_dropout_hides_one_of_two_in_its_share_of_utterances(share):
    present = torch.ones(20_000, 2, dtype=torch.bool)
    found = some_hidden(present, share, torch.Generator().manual_seed(0))
    assert found.any(dim=1).all()  # never both
    for lost in (~found).float().mean(dim=0).tolist():
        assert lost == pytest.approx(share / 2, abs=0.015)  # deviation of a mean: 0.0035


def test_modality_dropout_leaves_alone_who_has_one_modality():
    present = torch.tensor([[1, 0], [0, 1]] * 50, dtype=torch.bool)
    assert torch.equal(some_hidden(present, 1.0), present)


def test_modality_dropout_is_drawn_from_the_seed_and_in_training_only():
    net, given = network(modality_dropout=0.5).train(), inputs([[1, 1]] * 40)
    rows = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        found = net.passes(given, ALL)
        rows.append(tuple(found["both"].rows.tolist()))
        assert 0 < len(rows[-1]) < 40
        one = set(found["audio"].rows.tolist()) ^ set(found["text"].rows.tolist())
        assert one | set(rows[-1]) == set(range(40)) and not one & set(rows[-1])
    assert rows[0] == rows[1] != rows[2]
    assert len(net.eval().passes(given, ALL)["both"].rows) == 40


def test_a_dense_head_trains_where_one_utterance_alone_has_the_combination():
    net = network(kind="dense").train()
    found = net.passes(inputs([[1, 1], [1, 0], [1, 0]]), ALL)
    assert len(found["text"].rows) == 1 and torch.isfinite(found["text"].outputs["logits"]).all()


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_under_autocast_to_bfloat16_it_trains_and_predicts_nearly_the_same(settings):
    net, given = network(settings).eval(), inputs(MIXED)
    asked = {"shared_transformer": ["aligned", "reconstruction"], "imagination": ["imagination", "invariance"]}
    exact, auxiliary = net(given)["logits"], asked.get(settings.kind, [])
    with torch.autocast("cpu", torch.bfloat16):
        rough, found = net(given)["logits"], net.passes(given, ALL, auxiliary)
    torch.testing.assert_close(rough.float(), exact, rtol=0, atol=0.05)
    losses = [found[name].outputs["logits"].float().square().mean() for name in ALL]
    if auxiliary:
        names = ["contrastive" if each == "aligned" else each for each in auxiliary]
        losses.append(combined(found, {}, dict.fromkeys(names, 1.0))[0])
    torch.stack(losses).sum().backward()
    assert all(torch.isfinite(each.grad).all() for each in net.parameters() if each.grad is not None)

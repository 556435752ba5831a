"""A network of three modalities: passes by combination, views, heads, and what the losses of pairs read."""

import pytest
import torch

from pipeline_lib.losses import combined, contrastive
from pipeline_lib.modalities import combinations_of, known_combination, members, parts_of
from pipeline_lib.networks.presence import drop_modalities, taking
from pipeline_lib.params.network import MixerSettings
from tests.networks.joint_networks import SHARED, inputs, network
from tests.networks.mixers.batches import KINDS, NAMES

WIDTHS = {"audio": 6, "text": 5, "face": 3}
TIME = (7, 4, 5)
MIXED = [[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 1]]
PARTS = ["audio", "text", "face", "audio+text", "audio+face", "text+face"]


def rows_of(combinations, present=MIXED):
    taken = taking(torch.tensor(present, dtype=torch.bool), tuple(WIDTHS), combinations)
    return {name: rows.tolist() for name, rows in taken.items()}


def given(present=MIXED):
    return inputs(present, time=TIME, widths=WIDTHS)


def of_three(mixer=SHARED, **options):
    return network(mixer, widths=WIDTHS, **options)


def test_combinations_are_named_in_order():
    assert parts_of(WIDTHS) == PARTS and combinations_of(WIDTHS) == [*PARTS, "both"]
    assert parts_of(["audio"]) == [] and combinations_of(["audio"]) == ["both"]
    assert members("both", tuple(WIDTHS)) == tuple(WIDTHS)
    assert members("audio+face", tuple(WIDTHS)) == ("audio", "face")


@pytest.mark.parametrize("name", ["", "+", "audio+", "audio+audio", "video", "audio + text", "Both", "both+audio"])
def test_what_is_no_combination_is_refused(name):
    with pytest.raises(ValueError, match="expected 'both', or some of"):
        members(name, ("audio", "text"))


def test_a_combination_has_one_name():
    assert known_combination("audio+text") == "audio+text"
    with pytest.raises(
        ValueError, match=r"'text\+audio' names its modalities in another order, expected 'audio\+text'"
    ):
        known_combination("text+audio")


@pytest.mark.parametrize(
    ("combinations", "expected"),
    [
        (["both"], {"both": [0, 1, 2, 3, 4, 5]}),
        (["audio", "both"], {"audio": [0, 1, 2, 5], "both": [0, 3, 4, 5]}),
        (["audio+text", "both"], {"audio+text": [0, 1, 5], "both": [0, 2, 3, 4, 5]}),
        (["audio+text", "face", "both"], {"audio+text": [0, 1, 5], "face": [0, 3, 4, 5], "both": [0, 2, 5]}),
        (["text+face"], {"text+face": [0, 3, 5]}),
    ],
)
def test_who_takes_part_in_what(combinations, expected):
    assert rows_of(combinations) == expected


@pytest.mark.parametrize("combinations", [["both"], ["audio", "both"], ["text", "audio", "both"], ["both", "text"]])
def test_of_two_modalities_both_is_of_all_who_have_both_or_nothing_trained_alone(combinations):
    present = torch.tensor([[1, 1], [1, 0], [0, 1], [0, 0]], dtype=torch.bool)
    own = torch.tensor([name in combinations for name in ("audio", "text")])
    chosen = present.all(dim=1) | (present.any(dim=1) & ~(present & own).any(dim=1))
    assert torch.equal(taking(present, ("audio", "text"), combinations)["both"], chosen.nonzero()[:, 0])


@pytest.mark.parametrize("settings", KINDS, ids=NAMES)
def test_views_are_the_outputs_where_nothing_else_is_present(settings):
    net, batch = of_three(settings).eval(), given()
    with torch.inference_mode():
        views = net.views(batch)
        for name in PARTS:
            shown = torch.tensor([[modality in name.split("+") for modality in WIDTHS]])
            has = (batch["present"] | ~shown).all(dim=1)
            alone = net(
                {m: tuple(part[has] for part in batch[m]) for m in WIDTHS} | {"present": shown.expand(has.sum(), 3)}
            )
            for key, values in alone.items():
                torch.testing.assert_close(views[f"{name}.{key}"][has], values, atol=1e-6, rtol=1e-6)
                assert views[f"{name}.{key}"][~has].isnan().all()


def test_separate_heads_answer_for_their_own_combination():
    net, batch = of_three(heads=[*PARTS, "both"]).eval(), given()
    joined, whole = net.join(net.frames(batch)), net(batch)["logits"]
    own = ["both", "audio+text", "audio", "text+face", "face", "both"]
    for i, name in enumerate(own):
        torch.testing.assert_close(whole[i : i + 1], net.heads[name](joined[i : i + 1])["logits"], rtol=0, atol=1e-6)


def test_the_contrastive_loss_reads_the_vectors_of_all_unimodal_passes():
    net, batch = of_three().eval(), given()
    result = net.passes(batch, ["audio", "text+face", "both"], ["aligned"])
    vectors, present = result["aligned"]
    assert torch.equal(present, batch["present"]) and vectors.shape == (6, 3, 8)
    frames = net.frames(batch)
    for i, name in enumerate(WIDTHS):
        rows = present[:, i]
        expected = net.join.align(net.join.contextual({name: frames[name].of(rows)})[1][name])
        torch.testing.assert_close(vectors[rows, i], expected, rtol=0, atol=1e-6)
    loss = combined(result, {}, {"contrastive": 1.0})[0]
    assert torch.equal(loss, contrastive(vectors, present))
    loss.backward()


def test_the_losses_of_imagination_reach_every_modality():
    net = of_three(MixerSettings(kind="imagination", width=8, heads=2)).eval()
    result = net.passes(given(), ["both"], ["imagination", "invariance"])
    estimate, target = result["imagination"]
    assert estimate.shape == target.shape == (10, 8)  # twice three modalities, twice two
    combined(result, {}, {"imagination": 1.0, "invariance": 1.0})[0].backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in net.join.parameters())


def test_modality_dropout_takes_one_of_three():
    present = torch.ones(3000, 3, dtype=torch.bool)
    result = drop_modalities(present, 0.5, torch.Generator().manual_seed(0))
    assert set(result.sum(dim=1).tolist()) == {2, 3}
    assert (~result).float().mean(dim=0).tolist() == pytest.approx([0.5 / 3] * 3, abs=0.03)

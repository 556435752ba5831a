"""Recipes of open corpora: folds as published, all out of fold, normalisation by speaker in a block of its own."""

import pytest

from pipeline_lib.corpus.ravdess import EMOTIONS
from pipeline_lib.params.check import read_all
from pipeline_lib.recipes.compose import compose
from pipeline_lib.recipes.small import shrink
from tests.recipes.laid_down import YAML12, text

# EmoBox, data/ravdess/fold_<k>/ravdess_test_fold_<k>.jsonl of 2024: actors by fold
EMOBOX = "1 11 20 21 · 4 10 12 14 · 8 9 19 23 · 3 5 7 24 · 2 15 16 18 · 6 13 17 22"
OPEN = ("open_ravdess", "open_ravdess_lora", "open_nemo")


def test_the_folds_of_ravdess_are_those_of_emobox():
    folds = compose("open_ravdess")["corpus"]["split"]["folds"]
    assert folds["by"] == "assignment"
    expected = [[f"Actor_{int(actor):02d}" for actor in fold.split()] for fold in EMOBOX.split(" · ")]
    assert [[*fold] for fold in folds["assignment"]] == expected
    assert sorted(int(actor) for actor in EMOBOX.replace("·", "").split()) == list(range(1, 25))


def test_the_labels_of_ravdess_are_emoboxs_eight_with_calm_apart_from_neutral():
    assert len({*EMOTIONS.values()}) == 8 and {"calm", "neutral"} < {*EMOTIONS.values()}
    corpus = compose("open_ravdess")["corpus"]
    assert (corpus["reader"], corpus["labels"], corpus["merge"]) == ("ravdess", None, None)


@pytest.mark.parametrize("name", OPEN)
def test_everything_is_fitted_fold_by_fold_and_scored_out_of_fold(name):
    recipe = compose(name)
    entries = [*recipe["finetuning"].values(), *recipe["rebalancing"].values(), recipe["fusion"]]
    assert all(entry["folds"] is True for entry in entries)
    assert recipe["scoring"]["splits"] == [recipe["scoring"]["plotted_split"]] == ["folds"]
    assert {*recipe["scoring"]["tables"]} == {*recipe["rebalancing"]}
    assert {entry["adaptation"]["method"] for entry in recipe["finetuning"].values()} <= {"frozen", "lora"}


@pytest.mark.parametrize("name", OPEN)
def test_only_what_is_named_so_reads_the_speakers_unlabelled_recordings(name):
    for entry, values in compose(name)["rebalancing"].items():
        if values["source"] is not None:
            assert (values["source"]["normalise"] == "speaker") == entry.endswith("_by_speaker"), entry
        else:
            assert (values["normalise"] == "speaker") == entry.endswith("_by_speaker"), entry


@pytest.mark.parametrize("name", OPEN)
def test_on_stand_ins_the_assigned_folds_are_as_many_of_drawn_speakers(name):
    whole, small = compose(name)["corpus"]["split"]["folds"], compose(name)
    shrink(small)
    folds = small["corpus"]["split"]["folds"]
    assert (folds["by"], [*folds["assignment"]]) == ("speakers", [])
    assert folds["k"] == (len(whole["assignment"]) or whole["k"])
    read_all(YAML12.load(text(name, small=True)))


def test_emoboxs_probe_is_the_last_layer_through_linear_relu_mean_linear():
    entry = read_all(YAML12.load(text("open_ravdess"))).finetuning["emobox"]
    (branch,) = entry.branches.values()
    assert (branch.layers, branch.adaptation.method) == ("last", "frozen")
    assert (entry.join.kind, entry.join.projection, entry.head.kind, entry.head.dropout) == ("mean", 128, "linear", 0.0)
    (phase,) = entry.phases.values()
    assert (phase.epochs, phase.batch_size, phase.learning_rate, phase.optim) == (100, 32, 1e-4, "adam")
    assert (phase.weight_decay, phase.chunk_s, phase.max_grad_norm) == (0.0, None, None)

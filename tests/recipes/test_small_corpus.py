"""The recipe of a small corpus: no expert, every system out of fold, a baseline beside it; and its stand-ins."""

import pytest

from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.recipes.compose import compose
from pipeline_lib.recipes.small import shrink
from tests.recipes.laid_down import text

FUNCTIONALS = "functionals/eGeMAPSv02"


@pytest.fixture
def recipe():
    return compose("small_corpus")


def test_no_expert_is_trained_and_all_that_is_fitted_is_fitted_fold_by_fold(recipe):
    assert recipe["finetuning"] == {} and recipe["demonstration"] == {}
    assert recipe["corpus"]["split"]["method"] == "folds"
    assert [entry["folds"] for entry in recipe["rebalancing"].values()] == [True, True, True]
    assert recipe["fusion"]["folds"] is True and recipe["fusion"]["experts"] == ["audio"]
    assert recipe["scoring"]["splits"] == [recipe["scoring"]["plotted_split"]] == ["folds"]
    assert (recipe["corpus"]["name"], recipe["corpus"]["notice"]) == (None, "")  # the demonstration's do not outlive it


def test_every_system_reads_an_embedding_and_the_baseline_is_logistic_regression_on_functionals(recipe):
    sources = {name: entry["reads"]["source"] for name, entry in recipe["rebalancing"].items()}
    assert sources == {
        "audio": "data/embeddings/audio",
        "best_layer": "data/embeddings/audio",
        "egemaps": "data/embeddings/egemaps",
    }
    assert recipe["scoring"]["tables"] == {name: f"data/rebalanced/{name}.parquet" for name in sources}
    assert {*recipe["scoring"]["baselines"]} == {"best_layer", "egemaps"}
    audio, best, baseline = recipe["rebalancing"].values()
    assert recipe["embedding"]["egemaps"]["encoder"]["checkpoint"] == FUNCTIONALS
    assert (baseline["method"], baseline["lda_logistic"]["components"]) == ("lda_logistic", None)
    assert [entry["method"] for entry in (audio, best)] == ["lda_logistic", "lda_logistic"]
    assert [entry["source"]["layers"] for entry in (audio, best)] == ["each", "best_on_dev"]
    assert [entry["source"]["normalise"] for entry in (audio, best)] == ["none", "none"]
    assert audio["source"]["average"] == "posteriors"
    for name, entry in recipe["embedding"].items():
        EmbeddingSettings.parse(entry, f"embedding.{name}")


def test_on_stand_ins_the_encoder_is_the_small_one_and_functionals_and_folds_stay(recipe):
    shrink(recipe)
    checkpoints = {name: entry["encoder"]["checkpoint"] for name, entry in recipe["embedding"].items()}
    assert checkpoints == {"audio": "models/demo/w2v_bert", "egemaps": FUNCTIONALS}
    assert recipe["embedding"]["audio"]["encoder"]["whisper_length"] == "padded_30s"
    assert recipe["corpus"]["reader"] == "msp_podcast" and recipe["corpus"]["split"]["method"] == "folds"
    assert recipe["scoring"]["splits"] == ["folds"]
    for name, entry in recipe["embedding"].items():
        EmbeddingSettings.parse(entry, f"embedding.{name}")


def test_functionals_read_no_checkpoint():
    assert text("small_corpus").count(f"checkpoint: {FUNCTIONALS}") == 1
    after = text("small_corpus").partition("\n  egemaps:\n")[2]
    assert after.splitlines()[1].strip() == "encoder: data/manifest.parquet"

"""Folds across sections: every entry that does not fit the corpus or what it reads is named with the fix."""

import pytest

from pipeline_lib.params.check import read_all
from pipeline_lib.params.folds import WRONG_FOLDS
from pipeline_lib.params.inputs import sources, wrong_slots
from pipeline_lib.recipes.apply import change
from pipeline_lib.recipes.compose import compose, fill_slots

ALL = [
    "corpus.split.method=folds",
    *(f"{entry}.folds=true" for entry in ("finetuning.audio", "finetuning.text", "fusion")),
    *(f"rebalancing.{name}.folds=true" for name in ("audio", "text", "audio_layers", "text_layers")),
]


def mistakes(*assignments, filled=True):
    """Return what is wrong with the default after these changes."""
    values = compose("default")
    for assignment in assignments:
        change(values, assignment)
    if filled:
        fill_slots(values, read_all(values))
    params = read_all(values)
    return [line for rule in WRONG_FOLDS for line in rule(params)]


def test_folds_everywhere_or_nowhere_fit():
    assert mistakes() == [] == mistakes(*ALL)


def test_the_slots_of_folds_are_filled_and_held():
    values = compose("default")
    for assignment in ALL:
        change(values, assignment)
    assert wrong_slots(read_all(values)) == [
        f"rebalancing.{name}.reads.source is 'data/predictions/{name}.parquet', which is not what the entry reads;"
        f" expected rebalancing.{name}.reads.source: data/predictions_folds/{name} (the entry was changed, and its slot"
        " was not?); write that line"
        for name in ("audio", "text")
    ]
    fill_slots(values, read_all(values))
    params = read_all(values)
    assert wrong_slots(params) == [] and "data/predictions_folds/audio" in sources(params)
    assert params.rebalancing["audio_layers"].reads.source == "data/embeddings/audio"


@pytest.mark.parametrize(
    "changes, expected",
    [
        (["corpus.split.method=speakers"], "finetuning.audio.folds is true, but corpus.split.method is 'speakers'"),
        (["finetuning.text.folds=false"], "finetuning.text.folds is false, but corpus.split.method is 'folds'"),
        (["rebalancing.text_layers.folds=false"], "rebalancing.text_layers.folds is false, but corpus.split.method"),
        (["rebalancing.audio.folds=false"], "rebalancing.audio.folds is false, but finetuning.audio.folds is true"),
        (["fusion.folds=false"], "fusion.folds is false, but folds of its experts ['audio', 'text'] is true"),
        (
            ["rebalancing.audio.method=plda", "rebalancing.audio.refit=true"],
            "fusion.experts names ['audio'], fitted on dev too (rebalancing.<entry>.refit)",
        ),
        (["rebalancing.audio.folds=false"], "fusion.experts ['audio'] have no folds and the others have"),
        (
            ["embedding.audio.encoder=null", "embedding.audio.expert=models/audio"],
            "embedding.audio.expert is 'models/audio', an expert with folds",
        ),
        (
            ["rebalancing.audio.reads.source=data/predictions_alone/audio/audio.parquet"],
            "rebalancing.audio.folds is true, but data/predictions_alone/audio/audio.parquet is one table of all folds",
        ),
        (
            [
                "rebalancing.audio.reads.source=data/predictions_alone/audio/audio.parquet",
                "rebalancing.audio.folds=false",
            ],
            "rebalancing.audio reads data/predictions_alone/audio/audio.parquet, out of fold, which can be fitted on",
        ),
    ],
)
def test_a_misfit_is_refused_by_key(changes, expected):
    assert any(line.startswith(expected) for line in mistakes(*ALL, *changes))


def test_probabilities_of_another_system_have_folds_where_the_corpus_has():
    given = "rebalancing.text={reads: {source: posteriors/x.csv}, prior: none}"
    assert mistakes(given) == []
    (line,) = mistakes(*ALL[:-3], *ALL[-2:], given, "fusion.experts=[audio]")
    assert line.startswith("rebalancing.text.folds is false, but corpus.split.method is 'folds'")
    assert mistakes(*ALL, given.replace("prior", "folds: true, prior")) == []

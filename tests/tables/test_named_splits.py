"""Names of splits in params.yaml against the corpus: refused as soon as there is a manifest, by what was meant."""

import json
from pathlib import Path

import pandas as pd
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.params.named_splits import named
from pipeline_lib.tables import manifest
from pipeline_lib.tables.named_splits import refuse_wrong, wrong
from stages import fusion, rebalancing
from tests.rebalancing.made import corpus

SCORING = {"splits": ["dev", "test"], "comparison": {"against": ["a", "b"], "chosen_on": "dev"}}


def values_of(**changes):
    """Return params.yaml with names that the corpus of ``made`` has, and changes by section."""
    entry = {"calibration": "temperature", "temperature": {"on": "dev"}, "prior": "em", "em": {"on": "test"}}
    values = {"scoring": SCORING, "fusion": {"experts": ["a", "b"], "tuning": "dev_filt"}, "rebalancing": {"a": entry}}
    return values | changes


def test_names_that_the_corpus_has_are_taken():
    assert wrong(values_of(), corpus()) == []
    assert len([*named(values_of())]) == 6


@pytest.mark.parametrize(
    ("changes", "where", "meant"),
    [
        ({"scoring": SCORING | {"splits": ["dev", "tets"]}}, "scoring.splits names 'tets'", "'test'"),
        ({"fusion": {"experts": ["a", "b"], "tuning": "dev_fill"}}, "fusion.tuning names 'dev_fill'", "'dev_filt'"),
        ({"scoring": SCORING | {"expected": {"on": "dve"}}}, "scoring.expected.on names 'dve'", "'dev'"),
        (
            {"rebalancing": {"a": {"posteriors": {"fitted_on": ["dev2"], "chosen_on": ["dev"]}}}},
            "rebalancing.a.posteriors.fitted_on names 'dev2'",
            "'dev'",
        ),
        (
            {"rebalancing": {"a": {"prior": "em", "em": {"on": "tset"}}}},
            "rebalancing.a.em.on names 'tset'",
            "'test'",
        ),
    ],
)
def test_a_name_that_the_corpus_lacks_is_refused_with_what_was_meant(changes, where, meant):
    (mistake,) = wrong(values_of(**changes), corpus())
    assert mistake.startswith(f"{where}, which is no split and no subset of made up (did you mean {meant}?)")
    assert mistake.endswith("expected one of ['dev', 'dev_filt', 'test', 'train']")


def test_what_nothing_reads_is_not_looked_at():
    one = {"fusion": {"experts": ["a"], "tuning": "nowhere"}, "scoring": {"splits": ["test"]}, "rebalancing": {}}
    one["scoring"]["comparison"] = {"against": ["a"], "chosen_on": "nowhere"}
    one["rebalancing"]["a"] = {"prior": "uniform", "em": {"on": "nowhere"}, "temperature": {"on": "nowhere"}}
    assert wrong(one, corpus()) == []
    assert wrong({"scoring": 3, "fusion": {"experts": "audio"}, "rebalancing": {"a": None}}, corpus()) == []


@pytest.mark.parametrize("section", ["fusion", "comparison", "temperature"])
def test_a_subset_that_holds_test_utterances_is_not_tuned_on_unless_it_is_allowed(section):
    of = corpus()
    of.frame["subsets"] = pd.Series([["hard"] for _ in range(120)])
    for allowed in (False, True):
        more = {"allow_test_tuning": allowed}
        values = {
            "fusion": {"fusion": {"experts": ["a", "b"], "tuning": "hard"} | more},
            "comparison": {"scoring": {"comparison": {"against": ["a", "b"], "chosen_on": "hard"} | more}},
            "temperature": {"rebalancing": {"a": {"calibration": "temperature", "temperature": {"on": "hard"} | more}}},
        }[section]
        mistakes = wrong(values, of)
        assert len(mistakes) == (0 if allowed else 1)
        assert all("is 'hard', which shares utterances with ['test']; expected development data" in m for m in mistakes)


def test_names_of_a_folds_view_are_known_where_folds_are_read_and_only_there():
    of = corpus(90)
    subsets = [[f"fold{k % 3}"] + ([f"fold{(k + 2) % 3}_dev"] if k % 9 < 3 else []) + ["loud"] for k in range(90)]
    of.frame["split"], of.frame["subsets"] = "folds", pd.Series(subsets)
    tuned = {"experts": ["a", "b"], "folds": True}
    assert wrong({"fusion": tuned | {"tuning": "dev"}, "scoring": {"splits": ["folds", "fold1", "loud"]}}, of) == []
    (mistake,) = wrong({"fusion": tuned | {"tuning": "dev_bal"}}, of)  # no fold has it
    assert "fusion.tuning names 'dev_bal'" in mistake and "did you mean" not in mistake.split("expected")[1]
    (mistake,) = wrong({"fusion": tuned | {"tuning": "loud"}}, of)  # of every fold's test part too
    assert "shares utterances with ['folds']" in mistake
    (mistake,) = wrong({"scoring": {"splits": ["dev"]}}, of)
    assert "scoring.splits names 'dev'" in mistake


def test_every_stage_after_the_corpus_refuses_at_its_beginning(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    manifest.write(Path("data/manifest.parquet"), corpus())
    entry = {"reads": {"source": "data/predictions/audio.parquet"}}
    values = {"rebalancing": {"audio": entry}, "fusion": {"experts": ["audio"]}, "scoring": {"splits": ["tets"]}}
    Path("params.yaml").write_text(json.dumps(values))
    for stage in (lambda: rebalancing.main("audio"), fusion.main):
        with pytest.raises(InputError, match="params.yaml: scoring.splits names 'tets'.*did you mean 'test'"):
            stage()
    for name in ("transcription", "embedding", "finetuning", "rebalancing", "fusion", "scoring"):
        assert "named_splits.refuse_wrong(corpus" in (Path(__file__).parents[2] / f"stages/{name}.py").read_text()
    with pytest.raises(InputError, match="params.yaml: scoring.splits names 'tets'"):
        refuse_wrong(corpus())

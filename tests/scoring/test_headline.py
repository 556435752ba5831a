"""metrics/scores.json: which systems and how many numbers."""

import pytest

from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.scoring import ScoringSettings
from pipeline_lib.scoring.headline import headline_system, summary

VALUES = {"n": 9, "macro_f1": 0.5, "macro_f1_lo": 0.4, "macro_f1_hi": 0.6, "ua": 0.6, "wa": 0.7, "ccc_mean": 0.8}


def settings(names, **rest):
    values = {"splits": ["dev", "test"], "tables": {name: f"data/{name}.parquet" for name in names}}
    return ScoringSettings.parse({**values, "comparison": {"against": []}, **rest}, "scoring")


def scores(names, labels=4):
    return {"chance": {"ua": 1 / labels}, "dev": {}, "test": {name: dict(VALUES) for name in names}}


def numbers(value):
    if isinstance(value, dict):
        return sum(numbers(part) for part in value.values())
    return int(isinstance(value, float))


def test_the_compared_system_its_opponents_and_the_baselines_have_three_numbers_each():
    names = ["audio_raw", "audio", "layers", "fused"]
    options = settings(names, comparison={"system": "fused", "against": ["audio"]}, baselines=["layers"])
    got = summary(scores(names), options)
    each = {"f1": 0.5, "ua": 0.6, "ccc": 0.8}
    assert got == {
        "headline": 0.5,
        "of": "macro_f1 of fused on test",
        "chance": 0.25,
        **dict.fromkeys(("fused", "audio", "layers"), each),
    }


def test_thirty_systems_are_twenty_numbers():
    names = [f"system{i}" for i in range(30)]
    got = summary(scores(names), settings(names))
    assert numbers(got) == 20
    assert "system5" in got and "system6" not in got


def test_a_baseline_is_no_headline_and_a_system_fitted_on_the_split_says_so():
    options = settings(["layers", "audio"], baselines=["layers"])
    assert headline_system(options) == "audio"
    got = summary(scores(["layers", "audio_resubstitution"]), options)
    assert got["of"] == "macro_f1 of audio_resubstitution on test"
    assert "audio" not in got and got["audio_resubstitution"]["ua"] == 0.6


def test_attributes_alone_have_their_concordance_as_headline():
    options, values = settings(["audio"]), scores(["audio"])
    values["chance"], values["test"]["audio"] = {}, {"n": 9, "ccc_mean": 0.3}
    assert summary(values, options) == {"headline": 0.3, "of": "ccc_mean of audio on test", "audio": {"ccc": 0.3}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"baselines": ["egemaps"]}, "baselines names the system 'egemaps', expected one of tables"),
        ({"not_computed": {"egemaps": "opensmile is not installed"}}, "'egemaps', which is not among baselines"),
        ({"baselines": ["audio"], "not_computed": {"audio": "slow"}}, "'audio', which is also among tables"),
        ({"tables": {"chance": "data/a.parquet"}}, "tables names 'chance', a key of metrics/scores.json"),
        ({"splits": ["test", "over_folds"]}, "splits names 'over_folds', a key of metrics/details.json"),
    ],
)
def test_names_that_are_no_systems_or_are_taken_are_refused(change, message):
    with pytest.raises(ParameterError, match=message):
        settings(["audio"], **change)

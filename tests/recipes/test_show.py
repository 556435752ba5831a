"""``ser show``: what it prints reads as the same settings, and ``--changed`` prints no default."""

import json

import pytest

from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.check import read_all
from pipeline_lib.recipes.compose import names
from pipeline_lib.recipes.show import show
from tests.recipes.laid_down import YAML12, text

# one of each kind: several experts, joint ones, folds, several corpora, stored embeddings
SOME = {"default", "joint_large", "mersa_sessions", "open_cross_corpus", "open_ravdess", "taltech_postevaluation"}


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in SOME else pytest.mark.acceptance) for n in names()])
@pytest.mark.parametrize("changed", [False, True])
def test_what_is_printed_reads_as_the_same_settings(name, changed, tmp_path):
    (tmp_path / "params.yaml").write_text(text(name))
    printed = show(tmp_path / "params.yaml", changed=changed)
    assert read_all(YAML12.load(printed)) == read_all(YAML12.load(text(name)))
    (tmp_path / "again.yaml").write_text(printed)
    assert show(tmp_path / "again.yaml", changed=changed) == printed


def test_changed_prints_required_keys_and_other_values_than_the_default_alone(tmp_path):
    values = YAML12.load(text("default"))
    section = values["fusion"]
    assert read_all(values).fusion.interpolation.step == 0.05
    values["fusion"] = {"method": section["method"], "experts": section["experts"], "interpolation": {"step": 0.05}}
    (tmp_path / "params.yaml").write_text(json.dumps(values))
    printed = YAML12.load(show(tmp_path / "params.yaml", changed=True))["fusion"]
    values["fusion"]["interpolation"]["step"] = 0.1
    (tmp_path / "params.yaml").write_text(json.dumps(values))
    other = YAML12.load(show(tmp_path / "params.yaml", changed=True))["fusion"]
    assert "interpolation" not in printed
    assert other == printed | {"interpolation": {"step": 0.1}}
    assert YAML12.load(show(tmp_path / "params.yaml"))["fusion"]["interpolation"] == {"step": 0.1}


def test_a_wrong_key_is_refused_by_name(tmp_path):
    (tmp_path / "params.yaml").write_text(text("default").replace("\nfusion:\n", "\nfusion:\n  metod: plda\n"))
    with pytest.raises(ParameterError, match=r"fusion\.metod is not a parameter"):
        show(tmp_path / "params.yaml")

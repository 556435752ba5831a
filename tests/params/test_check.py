"""Every recipe passes the check that the first stage makes, but for what is not on this machine."""

import pytest
from ruamel.yaml import YAML

from pipeline_lib.params.base import ParameterError, read_params
from pipeline_lib.params.check import check
from pipeline_lib.recipes.compose import names
from tests.recipes.laid_down import text


@pytest.mark.parametrize("small", [False, True], ids=["whole", "small"])
@pytest.mark.parametrize("name", names())
def test_a_recipe_passes_the_check_of_the_first_stage(name, small, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(text(name, small))
    check(path, present=False)


@pytest.mark.parametrize("expert", ["models/audio", "./models/audio/", "models/audio/fold1"])
def test_an_encoder_of_an_expert_with_folds_is_refused(expert, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(text("default", False))
    params = read_params(path)
    params["finetuning"]["audio"]["folds"] = True
    params["embedding"]["audio"] |= {"expert": expert, "encoder": None}
    YAML().dump(params, path)
    with pytest.raises(ParameterError, match=r"embedding\.audio\.expert is 'models/audio.*', an expert with folds"):
        check(path, present=False)


def test_mistakes_within_sections_and_between_them_are_listed_in_one_go(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(text("default", False))
    params = read_params(path)
    params["corpus"]["readr"] = "table"  # within a section
    params["finetuning"]["audio"]["phases"]["main"]["learning_rate"] = 5.0  # of finetuning alone
    params["fusion"]["experts"] = ["audio", "txt"]  # between fusion and rebalancing
    YAML().dump(params, path)
    with pytest.raises(ParameterError) as error:
        check(path, present=False)
    lines = str(error.value).splitlines()
    assert len(lines) == 3 and all(line.startswith(f"{path}: ") for line in lines)
    assert "'readr'" in lines[0] or "readr" in lines[0]
    assert any("fusion.experts names 'txt'" in line for line in lines)
    assert any("learning_rate is 5" in line for line in lines)


def test_a_check_that_needs_a_section_with_mistakes_is_left_out(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(text("default", False))
    params = read_params(path)
    params["rebalancing"]["audio"]["methd"] = "none"
    params["fusion"]["experts"] = ["audio", "txt"]
    YAML().dump(params, path)
    with pytest.raises(ParameterError) as error:
        check(path, present=False)
    assert len(str(error.value).splitlines()) == 1 and "methd" in str(error.value)

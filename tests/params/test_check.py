"""Every recipe passes the check that the first stage makes, but for what is not on this machine."""

import pytest

from pipeline_lib.params.check import check
from pipeline_lib.recipes.compose import names
from tests.recipes.laid_down import text


@pytest.mark.parametrize("small", [False, True], ids=["whole", "small"])
@pytest.mark.parametrize("name", names())
def test_a_recipe_passes_the_check_of_the_first_stage(name, small, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(text(name, small))
    check(path, present=False)

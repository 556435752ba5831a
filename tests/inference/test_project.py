"""A project folder as it is read."""

from pipeline_lib.inference.project import Project
from pipeline_lib.recipes.compose import compose
from pipeline_lib.recipes.compose import write_yaml as text_of


def test_the_fusion_of_one_expert_is_no_system_of_its_own(tmp_path):
    values = compose("default")
    values["fusion"]["experts"] = ["audio"]  # as dvc exp run -S has it, without ser apply
    (tmp_path / "params.yaml").write_text(text_of(values))
    scoring = Project.read(tmp_path).params.scoring
    assert not {"fused", "fused_crossfitted"} & {*scoring.tables} and {"audio", "text"} <= {*scoring.tables}
    assert (scoring.comparison.system, scoring.comparison.against) == ("audio", [])

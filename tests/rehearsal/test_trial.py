"""A rehearsal from end to end on the checkpoints that ship."""

import json

import pytest

from pipeline_lib.params.check import check
from pipeline_lib.recipes.compose import compose
from pipeline_lib.recipes.small import shrink
from pipeline_lib.rehearsal import rehearse, trial
from pipeline_lib.rehearsal.corpora import SIZES


@pytest.mark.parametrize("recipe", ["taltech", "shared_transformer", "mersa"])
def test_a_project_without_weights_passes_the_check(recipe, tmp_path, monkeypatch):
    values = compose(recipe)
    shrink(values)
    params = trial.lay_down(tmp_path / "made", values, 32, 2, 5.0)
    monkeypatch.chdir(tmp_path / "made")
    check(tmp_path / "made" / "params.yaml")
    assert not list((tmp_path / "made").rglob("*.safetensors"))
    for expert in params.finetuning.values():
        encoders = [branch.encoder for branch in expert.branches.values() if branch.encoder is not None]
        assert expert.max_steps == 2 and not any(encoder.pretrained for encoder in encoders)


@pytest.mark.acceptance
def test_a_rehearsal_plans_measures_kills_and_resumes(tmp_path, monkeypatch, project_root):
    monkeypatch.setenv("PYTHONPATH", str(project_root))
    monkeypatch.setattr(rehearse, "WORK", tmp_path / "work")
    options = rehearse.Options(SIZES["2.0"], small=True, seconds=1200.0, utterances=32, steps=2)
    rehearse.rehearse(["default"], options, tmp_path / "page")
    (result,) = json.loads((tmp_path / "page.json").read_bytes())["recipes"]
    stages = {each["stage"]: each for each in result["stages"]}
    assert [*stages] == [
        *("corpus", "transcription", "embedding@audio", "embedding@text", "finetuning@audio", "finetuning@text")
    ]
    assert all(each["seconds"] and each["written"] for each in stages.values())
    assert stages["embedding@audio"]["same_bytes"] and stages["finetuning@audio"]["same_bytes"]
    measured = {each["stage"] for each in result["measured"] if "why" not in each}
    assert measured >= {"finetuning.audio", "finetuning.text"}
    assert "| finetuning@audio |" in (tmp_path / "page.md").read_text()
    assert not (tmp_path / "work" / "default").exists()

"""The doctor on every recipe, joint experts and embeddings of experts among them."""

from types import SimpleNamespace

import pytest

from pipeline_lib.doctor import hub, project
from pipeline_lib.params.check import read_all
from pipeline_lib.params.encoder import FUNCTIONALS
from pipeline_lib.params.inputs import is_local, parts_with_encoder
from pipeline_lib.recipes.compose import compose, names
from pipeline_lib.recipes.small import shrink
from pipeline_lib.scoring.contamination import checkpoints
from tests.recipes.laid_down import overlaid


class Asked:
    """What the hub tells of a model."""

    sha = "0123456789abcdef"

    def __init__(self, name: str) -> None:
        files = ("config.json", "model.safetensors", "tokenizer.json", "preprocessor_config.json")
        self.siblings = [SimpleNamespace(rfilename=each) for each in (*files, f"{name.rpartition('/')[2]}.nemo")]


@pytest.mark.parametrize("name", names())
def test_the_parameters_of_every_recipe_are_examined(name, tmp_path, monkeypatch):
    asked = set()
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda api, repo, **_: asked.add(repo) or Asked(repo))
    monkeypatch.setattr("huggingface_hub.HfApi.auth_check", lambda api, repo: None)
    recipe = compose(name)
    named = {each for section in ("embedding", "finetuning") for each in checkpoints(recipe[section])}
    params = read_all(recipe)
    project.estimate(params, tmp_path / "data" / "manifest.parquet")
    assert {each.state for each in hub.hub(params)} <= {"ok"}
    assert asked >= {each for each in named if not is_local(each)} - {*FUNCTIONALS}  # at any depth
    shrink(recipe)
    params = read_all(recipe)
    needed, unknown = project.estimate(params, tmp_path / "data" / "manifest.parquet")
    assert unknown == []
    # of layers nothing is known before the corpus is read, and a frozen encoder is not saved
    methods = {part.adaptation.method for _, _, part in parts_with_encoder(params) if hasattr(part, "adaptation")}
    assert (needed > 0) == bool(methods & {"full", "lora"})


def test_a_joint_expert_and_an_embedding_of_an_expert_are_estimated_by_their_own_encoders(tmp_path, monkeypatch):
    monkeypatch.setattr(project, "_extent", lambda *_: (1_000, 5_000.0))
    monkeypatch.setattr(project, "size", lambda path: {"w2v_bert": 100.0, "llama": 10.0}[path.name])
    params = read_all(
        overlaid(
            "embedding: {audio: {expert: models/audio, encoder: null}}\n"
            "finetuning: {audio: {}, both: {like: joint, branches: {text: {adaptation: {method: full}}}}}\n"
            "rebalancing: {audio: {}}"
        )
    )
    # one layer more than the demonstration's w2v-BERT has blocks, width 96; half of 100 by LoRA, nothing of the joint
    # expert's frozen one, eight times 10
    assert project.estimate(params, tmp_path / "data" / "m") == (2 * 2 * 5 * 96 * 1_000 + 50 + 80, [])

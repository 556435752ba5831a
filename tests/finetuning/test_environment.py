"""What accelerate reads in its environment does not reach the training, even where it is let through."""

import pytest

from pipeline_lib import environment
from pipeline_lib.errors import InputError
from pipeline_lib.finetuning.finetune import finetune
from tests.finetuning import corpora

WITHOUT_EFFECT = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "8",
    "ACCELERATE_MIXED_PRECISION": "bf16",
    "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
    "ACCELERATE_DYNAMO_MODE": "max-autotune",
    "ACCELERATE_DYNAMO_USE_FULLGRAPH": "true",
    "ACCELERATE_USE_CPU": "true",
}


def trained(tones, folder):
    settings = corpora.settings(tones.llama, "text", phases={"only": {"epochs": 1, "gradient_accumulation_steps": 2}})
    paths = {"expert": folder / "models", "curve": folder / "curve.csv", "work": folder / "work"}
    result, _ = finetune("tones", settings, tones.corpus, tones.root, tones.texts, **paths, machine=corpora.machine())
    return result.posterior.tobytes(), (folder / "curve.csv").read_bytes()


def test_settings_of_accelerate_are_passed_to_it(tones, tmp_path, monkeypatch):
    expected = trained(tones, tmp_path / "plain")
    for name, value in WITHOUT_EFFECT.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=r"ACCELERATE_DYNAMO_BACKEND='INDUCTOR'"):
        trained(tones, tmp_path / "refused")
    monkeypatch.setattr(environment, "check", lambda: None)
    assert trained(tones, tmp_path / "changed") == expected

"""SpecAugment and layer drop in training: the same bytes twice and after a kill, with LoRA and in full."""

import pytest

from pipeline_lib.finetuning.finetune import finetune
from pipeline_lib.finetuning.steps import Steps
from tests.finetuning import corpora

REGULARISED = {"spec_augment": {"mask_time_prob": 0.5, "mask_time_length": 3}, "layerdrop": 0.5}


def trained(tones, folder, settings):
    """Train and return the bytes of the posterior and of the saved weights."""
    paths = {"expert": folder / "models", "curve": folder / "curve.csv", "work": folder / "work"}
    result, _ = finetune(
        "tones", settings, tones.corpus, tones.root, None, **paths, machine=corpora.machine(save_steps=1)
    )
    files = sorted(path for path in paths["expert"].iterdir() if path.suffix == ".safetensors")
    return [result.posterior.tobytes(), *(path.read_bytes() for path in files)]


@pytest.mark.parametrize("method", ["full", "lora"])
def test_a_killed_run_goes_on_to_the_same_bytes(tones, tmp_path, monkeypatch, method):
    changes = {"adaptation": {"method": method}, "phases": {"only": {"epochs": 1, "gradient_accumulation_steps": 2}}}
    changes |= {"layers": "weighted", "targets": {"attributes": ["arousal"]}, "losses": {"concordance": 1.0}}
    plain = trained(tones, tmp_path / "plain", corpora.settings(tones.w2v_bert, "audio", **changes))
    settings = corpora.settings(tones.w2v_bert, "audio", encoder=REGULARISED, **changes)
    whole = trained(tones, tmp_path / "whole", settings)
    assert whole[0] != plain[0]
    step = Steps._step

    def killed(self, state, *rest):
        if state.total == 1:
            raise KeyboardInterrupt
        return step(self, state, *rest)

    monkeypatch.setattr(Steps, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(tones, tmp_path / "killed", settings)
    monkeypatch.setattr(Steps, "_step", step)
    assert trained(tones, tmp_path / "killed", settings) == whole

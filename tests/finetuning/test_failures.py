"""Trainings that stop, or go on visibly: lack of memory, a loss that is not finite, idle adapters."""

import pytest
import torch

from pipeline_lib.errors import InputError
from pipeline_lib.networks.network import Network
from tests.finetuning import corpora
from tests.finetuning.runs import SCORED, run


def test_when_memory_runs_out_once_the_batch_is_halved_visibly(tones, tmp_path, monkeypatch, capsys):
    sizes = limit_memory(monkeypatch, 3)
    run(tones, tmp_path, corpora.settings(tones.w2v_bert, "audio"))
    assert "out of memory with batch_size 6; halving it and doubling the number of batches" in capsys.readouterr().err
    assert sizes == [6] + [3] * 16  # 24 utterances, two epochs


def test_when_memory_runs_out_twice_the_remedy_is_told(tones, tmp_path, monkeypatch):
    limit_memory(monkeypatch, 2)
    expected = r"out of memory with finetuning\.tones\.phases\.only\.batch_size 6, cut in two; lower it, raise"
    with pytest.raises(InputError, match=expected):
        run(tones, tmp_path, corpora.settings(tones.w2v_bert, "audio"))


def limit_memory(monkeypatch, largest):
    """Let a training batch above the largest run out of memory, and return the sizes that were tried."""
    sizes, forward = [], Network.forward

    def limited(self, inputs):
        size = len(inputs["present"])
        if self.training:
            sizes.append(size)
            if size > largest:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, inputs)

    monkeypatch.setattr(Network, "forward", limited)
    return sizes


def test_a_loss_that_is_not_finite_stops_with_the_step_and_the_likely_cause(tones, tmp_path):
    phases = {"only": {"learning_rate": 1e30, "max_grad_norm": None, "warmup_steps": 0.0}}
    expected = r"the loss is (nan|inf) at step \d+ of finetuning\.tones\.phases\.only \(learning rate .*is too high"
    with pytest.raises(InputError, match=expected):
        run(tones, tmp_path, corpora.settings(tones.llama, "text", phases=phases, **SCORED))


def test_lora_without_effect_is_refused_at_the_first_step(tones, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline_lib.networks.wavlm.call_projections", lambda model: None)
    with pytest.raises(InputError, match=r"LoRA on .*_proj gets no gradient, the encoder never calls that layer"):
        run(tones, tmp_path, corpora.settings(tones.wavlm_layer, "audio"))

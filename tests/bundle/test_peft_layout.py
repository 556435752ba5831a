"""LoRA of an expert, loaded by PEFT alone onto the published encoder, gives the expert's own weights."""

import json

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModel

from pipeline_lib.bundle import peft_layout
from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk
from tests.encoders import checkpoints
from tests.experts.test_disk import CPU, disturbed, settings


@pytest.mark.parametrize("name", ["w2v_bert", "wavlm_layer", "llama"])
def test_peft_loads_the_adapter_and_gives_the_same_weights(tmp_path, name):
    folder = checkpoints.write(tmp_path, name)
    head = "sequence_classification" if name == "llama" else "dense"
    config = settings({name: folder}, name, "lora", head)
    disk.save_expert(tmp_path / "expert", disturbed(disk.build(config, CPU)), config)
    (modality,) = peft_layout.write(tmp_path / "expert", tmp_path / "out")
    base = AutoModel.from_pretrained(folder, dtype=torch.float32)
    before = {key: value.clone() for key, value in base.state_dict().items()}
    theirs = PeftModel.from_pretrained(base, str(tmp_path / "out" / modality)).merge_and_unload().state_dict()
    ours = disk.load_encoder(tmp_path / "expert", CPU, modality).model.state_dict()
    changed = [key for key in theirs if key in before and not torch.equal(theirs[key], before[key])]
    assert len(changed) == len(load_file(tmp_path / "out" / modality / "adapter_model.safetensors")) // 2 > 0
    common = set(theirs) & set(ours)
    assert set(changed) <= common
    for key in common:
        torch.testing.assert_close(theirs[key], ours[key], rtol=0, atol=1e-7)


def test_an_expert_without_lora_writes_nothing(tmp_path):
    folder = checkpoints.write(tmp_path, "w2v_bert")
    config = settings({"w2v_bert": folder}, "w2v_bert", "frozen")
    disk.save_expert(tmp_path / "expert", disk.build(config, CPU), config)
    assert peft_layout.write(tmp_path / "expert", tmp_path / "out") == []
    assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="does not exist"):
        peft_layout.write(tmp_path / "none", tmp_path / "out")


def test_the_config_names_layers_rank_and_no_machine(tmp_path):
    folder = checkpoints.write(tmp_path, "w2v_bert")
    config = settings({"w2v_bert": folder}, "w2v_bert")
    disk.save_expert(tmp_path / "expert", disturbed(disk.build(config, CPU)), config)
    peft_layout.write(tmp_path / "expert", tmp_path / "out")
    values = json.loads((tmp_path / "out" / "audio" / "adapter_config.json").read_text())
    assert (values["r"], values["peft_type"], values["inference_mode"]) == (4, "LORA", True)
    assert "encoder.layers.0.self_attn.linear_q" in values["target_modules"]

"""Folders in the layout that the hub's older repositories have: weights in .bin files under the names of their time."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from tests.encoders import checkpoints

PREFIX = {"hubert": "hubert.", "wav2vec2": "wav2vec2.", "wavlm": "wavlm.", "bert": "bert.", "roberta": "roberta."}
PREFIX |= {"llama": "model.", "w2v_bert": "wav2vec2_bert."}
HEADS = {  # what the published files hold beside the backbone
    "hubert": {"lm_head.weight": (20, 32)},
    "wav2vec2": {"quantizer.codevectors": (1, 4, 8), "project_hid.weight": (8, 32), "project_q.bias": (8,)},
    "wavlm": {},
    "bert": {
        "cls.predictions.bias": (20,),
        "cls.seq_relationship.weight": (2, 32),
        "fit_denses.0.weight": (48, 32),
        "bert.embeddings.position_ids": (1, 24),
    },
    "roberta": {"lm_head.dense.weight": (32, 32), "roberta.embeddings.position_ids": (1, 24)},
    "llama": {"lm_head.weight": (20, 32), "model.layers.0.self_attn.rotary_emb.inv_freq": (4,)},
    "w2v_bert": {"lm_head.weight": (20, 32)},
    "whisper": {},
}


def write(root: Path, name: str, *, shards: int = 1, legacy: bool = False) -> Path:
    """Write a tiny checkpoint of ``checkpoints`` as an older repository has it.

    Args:
        root: where
        name: of the tiny checkpoint
        shards: files that the weights are spread over
        legacy: torch's format before 1.6, which is no zip archive
    """
    folder = checkpoints.write(root, name)
    family = next(family for family in HEADS if name.startswith(family))
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    old = {_old(key, PREFIX.get(family, ""), family): tensor for key, tensor in tensors.items()}
    noise = torch.Generator().manual_seed(3)
    old |= {key: torch.randn(shape, generator=noise) for key, shape in HEADS[family].items()}
    save(folder, old, shards, legacy=legacy)
    return folder


def save(folder: Path, tensors: dict[str, Tensor], shards: int = 1, *, legacy: bool = False) -> None:
    """Write the tensors as pytorch_model.bin, or as shards with their index."""
    if shards == 1:
        torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not legacy)
        return
    names, weight_map = list(tensors), {}
    for i in range(shards):
        file = f"pytorch_model-{i + 1:05d}-of-{shards:05d}.bin"
        part = {key: tensors[key] for key in names[i::shards]}
        torch.save(part, folder / file)
        weight_map |= dict.fromkeys(part, file)
    (folder / "pytorch_model.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def _old(name: str, prefix: str, family: str) -> str:
    """Return the name that a tensor had in the older file."""
    name = name.replace("parametrizations.weight.original0", "weight_g")
    name = name.replace("parametrizations.weight.original1", "weight_v")
    if family == "bert":
        name = name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta")
    return prefix + name

"""LoRA of an expert as PEFT writes it, so that PEFT alone loads it: adapter_config.json, adapter_model.safetensors.

``adapter.safetensors`` names a matrix ``branches.audio.model.base_model.model.<layer>.lora_A.default.weight``, PEFT's
file ``base_model.model.<layer>.lora_A.weight``. Bytes of the matrices are the same. What PEFT does not know (layer
weights, pooling, heads) stays in ``head.safetensors``.
"""

import re
from pathlib import Path

from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk
from pipeline_lib.params.network import LoraSettings

ADAPTER = "adapter.safetensors"
MATRIX = re.compile(r"(base_model\.model\.(.+)\.lora_[AB])\.default\.weight")


def write(expert: Path, out: Path) -> list[str]:
    """Write a folder for each encoder with LoRA, ``out/<modality>``; return their names, none without LoRA.

    Args:
        expert: folder of a trained expert
        out: made where there is an adapter

    Raises:
        InputError: there is no expert, or a matrix has another name than LoRA's
    """
    settings = disk.read_settings(expert)
    written = []
    for name, branch in settings.branches.items():
        if branch.adaptation.method == "lora":
            base = None if branch.encoder is None else branch.encoder.checkpoint
            _write_branch(expert / ADAPTER, f"branches.{name}.model.", branch.adaptation.lora, base, out / name)
            written.append(name)
    return written


def _write_branch(source: Path, prefix: str, lora: LoraSettings, base: str | None, folder: Path) -> None:
    from peft import LoraConfig
    from safetensors.torch import load_file, save_file

    tensors, layers = {}, set()
    for name, tensor in load_file(source).items():
        if not name.startswith(prefix):
            continue
        match = MATRIX.fullmatch(name.removeprefix(prefix))
        if match is None:
            raise InputError(f"{source} has {name!r}, expected matrices of LoRA alone")
        tensors[f"{match[1]}.weight"] = tensor
        layers.add(match[2])
    folder.mkdir(parents=True)
    config = LoraConfig(
        r=lora.r,
        lora_alpha=lora.lora_alpha,
        lora_dropout=lora.lora_dropout,
        target_modules=sorted(layers),
        bias="none",
        base_model_name_or_path=base,
        inference_mode=True,
    )
    config.save_pretrained(str(folder))
    save_file(dict(sorted(tensors.items())), folder / "adapter_model.safetensors", metadata={"format": "pt"})

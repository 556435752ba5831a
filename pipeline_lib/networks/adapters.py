"""Adaptation of an encoder: frozen, full fine-tuning, or low-rank updates of linear layers (LoRA, Hu et al. 2021).

TalTech publishes LoRA's rank, alpha and dropout, not its target modules. The default is the attention projections
(query, key, value, output): with rank 32 on w2v-BERT 2.0 (24 layers of width 1024) they hold 24 * 4 * 32 * 2048 = 6.3 M
parameters, which with pooling and head comes near the paper's "around 8 million"; with the feed-forward layers it
would be 22.0 M.
"""

import re
import warnings
from collections.abc import Iterator
from importlib.util import find_spec

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from transformers import PreTrainedModel

from pipeline_lib.errors import InputError
from pipeline_lib.networks.bnb import load_library
from pipeline_lib.params.network import AdaptationSettings, LoraSettings

ATTENTION = (
    *("linear_q", "linear_k", "linear_v", "linear_out"),  # Conformers: w2v-BERT 2.0, wav2vec 2.0 Conformer
    *("q_proj", "k_proj", "v_proj", "out_proj", "o_proj"),  # wav2vec 2.0, HuBERT, WavLM, Whisper, LLaMA and its kin
    *("query", "key", "value", "attention.output.dense"),  # BERT, RoBERTa
)
FEED_FORWARD = (
    *("intermediate_dense", "output_dense"),  # speech models
    *("fc1", "fc2"),  # Whisper
    *("gate_proj", "up_proj", "down_proj"),  # LLaMA and its kin
    *("intermediate.dense", "output.dense"),  # BERT, RoBERTa
)
WHY_FLOAT32 = "bfloat16 rounds Adam's small updates away, 4 bit takes no gradient; set encoder.weights to float32"
BLOCK = re.compile(r"(?:^|\.)layers?\.(\d+)\.")  # of a linear layer's name, its block
FIXED = ("embed_positions",)  # sinusoids of Whisper, which are a table and not weights


def attach(model: PreTrainedModel, settings: AdaptationSettings) -> nn.Module:
    """Mark the trained parameters and return the model, wrapped by peft where the method is lora.

    Args:
        model: a backbone as transformers loads it
        settings: the method and its options

    Returns:
        the same model, or peft's around it

    Raises:
        InputError: a target module is not a linear layer of the model, LoRA would have no effect on it, or weights that
            are not float32 would be trained
    """
    if settings.method == "full" and not in_float32(model):
        raise InputError("adaptation.method is 'full' and the encoder's weights are not in float32; " + WHY_FLOAT32)
    model.requires_grad_(settings.method == "full")
    match settings.method:
        case "frozen":
            return model
        case "full":
            for name, parameter in model.named_parameters():
                fixed = any(part in FIXED for part in name.split(".")) and "whisper" in model.config.model_type
                parameter.requires_grad_(not fixed)
            extractor = getattr(model, "feature_extractor", None)
            if settings.freeze_feature_encoder and extractor is not None:
                extractor.requires_grad_(False)
            return model
        case "lora":
            return _with_lora(model, settings.lora)


def targets(model: nn.Module, settings: LoraSettings) -> list[str]:
    """Return the full names of LoRA's target modules, in the model's order.

    Args:
        model: the backbone
        settings: ``target_modules``, a preset or the endings of the names of linear layers, in
            ``layers_to_transform`` alone

    Raises:
        InputError: a name fits no linear layer, or names WavLM's attention, or the model lacks a block
    """
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    endings: tuple[str, ...]
    match settings.target_modules:
        case "all-linear":
            endings = tuple(linear)
        case "attention":
            endings = ATTENTION
        case "attention_and_feed_forward":
            endings = ATTENTION + FEED_FORWARD
        case names:
            endings = tuple(names)
            idle = [name for name in names if not any(_ends(layer, name) for layer in linear)]
            if idle or not names:
                named = idle or "nothing"
                raise InputError(
                    f"lora.target_modules names {named}, expected layers of the encoder: {_leaves(linear)}"
                )
    layers = [layer for layer in linear if any(_ends(layer, ending) for ending in endings)]
    if settings.target_modules == "attention":
        layers = [name for name in layers if not _ends(name, "output.dense") or _ends(name, "attention.output.dense")]
    if not layers:
        requested = settings.target_modules
        raise InputError(f"lora.target_modules is {requested!r}, expected layers of the encoder: {_leaves(linear)}")
    return _without_idle(model, _in_blocks(layers, settings), settings)


def trained_by_module(network: nn.Module) -> list[tuple[str, int, int]]:
    """Return (module, trained parameters, all parameters) by kind of module, all blocks of a model in one row.

    ``encoder.model.encoder.layers.7.self_attn.linear_q.lora_A`` counts under ``encoder linear_q (lora)``. Of 4-bit
    weights, packed two a byte, the weights count and not the bytes.
    """
    rows: dict[str, list[int]] = {}
    for name, parameter in network.named_parameters():
        row = rows.setdefault(_kind(name), [0, 0])
        n = count(parameter)
        row[0] += n if parameter.requires_grad else 0
        row[1] += n
    return [(name, trained, total) for name, (trained, total) in sorted(rows.items())]


def count(parameter: nn.Parameter) -> int:
    """Return the number of weights in a parameter, bitsandbytes' packed 4-bit weights unpacked.

    Args:
        parameter: any shape
    """
    packed = getattr(parameter, "quant_state", None)
    return parameter.numel() if packed is None else packed.shape.numel()


def in_float32(model: nn.Module) -> bool:
    """Return whether all weights of a model are in float32, LoRA's own left out."""
    return all(parameter.dtype == torch.float32 for name, parameter in model.named_parameters() if "lora_" not in name)


def keep_frozen_norms_still(module: nn.Module) -> None:
    """Put batch norms whose weights are not trained into eval mode, so that their statistics do not move."""
    for norm in _batch_norms(module):
        if norm.weight is not None and not norm.weight.requires_grad:
            norm.eval()


def _with_lora(model: PreTrainedModel, settings: LoraSettings) -> nn.Module:
    if find_spec("bitsandbytes") is not None:
        load_library()
    from peft import LoraConfig, get_peft_model  # 1 s to import, and frozen or full experts do without

    options = LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=targets(model, settings),
        bias="none",
    )
    with warnings.catch_warnings():  # peft calls transformers by a deprecated name
        warnings.simplefilter("ignore", FutureWarning)
        return get_peft_model(model, options)


def _in_blocks(layers: list[str], settings: LoraSettings) -> list[str]:
    """Return the layers that lie in the blocks of ``layers_to_transform``; null takes all."""
    if settings.layers_to_transform is None:
        return layers
    matches = {name: BLOCK.search(name) for name in layers}
    blocks = {name: int(match[1]) for name, match in matches.items() if match is not None}
    there = sorted(set(blocks.values()))
    absent = sorted(set(settings.layers_to_transform) - set(there))
    if absent:
        expected = f"blocks of the encoder, {there[0]} to {there[-1]}" if there else "null: the encoder has no blocks"
        raise InputError(f"lora.layers_to_transform names {absent}, expected {expected}")
    return [name for name, block in blocks.items() if block in settings.layers_to_transform]


def _without_idle(model: nn.Module, layers: list[str], settings: LoraSettings) -> list[str]:
    """Leave out WavLM's attention, whose code reads the weights and never calls the layers: LoRA would do nothing."""
    if getattr(getattr(model, "config", None), "model_type", "") != "wavlm":
        return layers
    effective = [name for name in layers if not any(_ends(name, part) for part in ATTENTION)]
    if not effective or isinstance(settings.target_modules, list) and effective != layers:
        raise InputError(
            "LoRA has no effect on WavLM's attention projections, whose weights are read without calling the layers;"
            " set lora.target_modules to [intermediate_dense, output_dense]"
        )
    return effective


def _kind(name: str) -> str:
    parts = [
        part for part in name.split(".") if not part.isdigit() and part not in ("base_model", "default", "base_layer")
    ]
    if parts[0] != "encoder":
        return parts[0]
    low_rank = [i for i, part in enumerate(parts) if part.startswith("lora_")]
    if low_rank:
        return f"encoder {parts[low_rank[0] - 1]} (lora)"
    return f"encoder {parts[-2]}" if len(parts) > 2 else f"encoder {parts[-1]}"


def _batch_norms(module: nn.Module) -> Iterator[_BatchNorm]:
    return (layer for layer in module.modules() if isinstance(layer, _BatchNorm))


def _ends(name: str, ending: str) -> bool:
    return name == ending or name.endswith(f".{ending}")


def _leaves(names: list[str]) -> list[str]:
    return sorted({name.split(".")[-1] for name in names})

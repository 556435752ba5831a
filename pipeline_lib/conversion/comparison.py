"""Comparison of a converted folder with its .bin checkpoint: every tensor, and a forward pass."""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor
from transformers import MODEL_MAPPING, PretrainedConfig, PreTrainedModel, WhisperForConditionalGeneration

from pipeline_lib.encoders import speech, text
from pipeline_lib.encoders.load_errors import quiet
from pipeline_lib.errors import InputError


@torch.no_grad()
def compare(folder: Path, config: PretrainedConfig, published: Mapping[str, Tensor]) -> str:
    """Load the published tensors by transformers' own renaming and the folder by its safetensors, and compare.

    Args:
        folder: with model.safetensors
        config: of the model
        published: tensors of all shards by their published names, of any shape

    Returns:
        a sentence on the comparison

    Raises:
        InputError: a tensor or the output of a forward pass differs in a bit, or is not finite
    """
    kind, dtype, options = model_class(config), _precision(published), model_options(config)
    with quiet():
        theirs = kind.from_pretrained(None, config=config, state_dict=dict(published), dtype=dtype, **options).eval()
        ours = kind.from_pretrained(folder, dtype=dtype, use_safetensors=True, local_files_only=True, **options).eval()
    expected, actual = theirs.state_dict(), ours.state_dict()
    if expected.keys() != actual.keys():
        raise InputError(f"{folder.name}: the models differ in {sorted(expected.keys() ^ actual.keys())[:3]}")
    skipped = {name for name in actual if name.endswith("masked_spec_embed") and name not in _names(folder)}
    different = [name for name in actual if name not in skipped and not torch.equal(expected[name], actual[name])]
    if different:
        raise InputError(
            f"{len(different)} tensors differ from what transformers makes of the .bin file, {different[0]!r} first"
        )
    one, other = (model(**example(config, dtype))[0] for model in (theirs, ours))
    if not torch.isfinite(other).all() or not torch.equal(one, other):
        raise InputError("a forward pass differs from that of the .bin file as transformers loads it, or is not finite")
    n = len(actual) - len(skipped)
    return f"compared with transformers' loading of the .bin file: {n} tensors and a forward pass, equal in every bit"


def example(config: PretrainedConfig, dtype: torch.dtype) -> dict[str, Tensor]:
    """Return the inputs of a forward pass: noise, or random tokens.

    Args:
        config: of the model; its ``model_type`` chooses the input
        dtype: of noise

    Returns:
        name -> one example: waveform of shape ``(1, n_samples)``, features ``(1, bands, n_frames)`` or
        ``(1, n_frames, bands)``, tokens ``(1, time)``
    """
    noise = torch.Generator().manual_seed(0)
    match config.model_type:
        case "whisper":
            frames = 2 * config.max_source_positions
            mels = torch.randn(1, config.num_mel_bins, frames, generator=noise).to(dtype)
            return {"input_features": mels, "decoder_input_ids": torch.tensor([[config.decoder_start_token_id]])}
        case "wav2vec2-bert":
            bands = config.feature_projection_input_dim
            return {"input_features": torch.randn(1, 50, bands, generator=noise).to(dtype)}
        case kind if kind in speech.CONVOLUTIONAL:
            return {"input_values": torch.randn(1, 16_000, generator=noise).to(dtype)}
        case _:
            length = min(12, config.max_position_embeddings - 4)
            return {"input_ids": torch.randint(config.vocab_size, (1, length), generator=noise)}


def model_class(config: PretrainedConfig) -> type[PreTrainedModel]:
    """Return the class that holds the weights: the backbone, of Whisper encoder, decoder and output layer."""
    return WhisperForConditionalGeneration if config.model_type == "whisper" else MODEL_MAPPING[type(config)]


def model_options(config: PretrainedConfig) -> dict[str, bool]:
    """Return further arguments of the class: BERT and its kin without pooler."""
    return {"add_pooling_layer": False} if config.model_type in text.BIDIRECTIONAL else {}


def _precision(published: Mapping[str, Tensor]) -> torch.dtype:
    """Return the widest floating-point type among the tensors."""
    has_bfloat16 = any(tensor.dtype == torch.bfloat16 for tensor in published.values())
    widest = torch.bfloat16 if has_bfloat16 else torch.float16
    for tensor in published.values():
        if tensor.is_floating_point():
            widest = torch.promote_types(widest, tensor.dtype)
    return widest


def _names(folder: Path) -> set[str]:
    """Return the names of all tensors of the folder."""
    names: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as opened:
            names |= set(opened.keys())
    return names

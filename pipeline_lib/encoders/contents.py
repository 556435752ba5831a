"""Contents of a checkpoint's folder, checked against lists of allowed values before a model is built from them.

Sizes are whole numbers from 1 to ``LARGEST``, blocks at most ``DEEPEST``, the weights fit into memory, convolutions
have as many kernels as strides and widths, JSON files hold an object, a preprocessor the types and ranges below,
weights finite numbers.
"""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from psutil import virtual_memory
from torch import nn
from transformers import AutoModel, PretrainedConfig
from transformers.utils import cached_file

from pipeline_lib.encoders import checkpoint_safety
from pipeline_lib.encoders.load_errors import explain
from pipeline_lib.errors import InputError
from pipeline_lib.params.encoder import EncoderSettings

LARGEST = 10_000_000  # of a size in config.json; the largest vocabularies have 300,000 words
DEEPEST = 1_000  # blocks; the largest published models have about 120
LONGEST_JSON = 100_000_000  # bytes; tokenizer.json of the largest vocabularies has 20 MB
POINTER = b"version https://git-lfs"
BLOCK = re.compile(r"(?:^|\.)(?:encoder\.)?layers?\.(\d+)\.")
BLOCKS = ("num_hidden_layers", "num_attention_heads", "intermediate_size")
CONVOLUTIONS = ("conv_dim", "conv_kernel", "conv_stride")
WAVEFORM = ("hidden_size", *BLOCKS, "num_conv_pos_embeddings", "num_conv_pos_embedding_groups")
WORDS = ("hidden_size", *BLOCKS, "vocab_size", "max_position_embeddings")
FRAMES = ("hidden_size", *BLOCKS, "feature_projection_input_dim")
WHISPER = (
    *("d_model", "encoder_layers", "encoder_attention_heads", "encoder_ffn_dim"),
    *("num_mel_bins", "max_source_positions", "vocab_size"),
)
SIZES = {  # config.json's whole numbers by architecture
    **dict.fromkeys(("hubert", "wav2vec2", "wavlm"), WAVEFORM),
    **dict.fromkeys(("wav2vec2-bert", "sonar-speech"), FRAMES),
    "whisper": WHISPER,
    "vggish": ("hidden_size", "fully_connected_size"),
    **dict.fromkeys(("bert", "roberta", "xlm-roberta"), (*WORDS, "type_vocab_size")),
    **dict.fromkeys(("llama", "mistral", "qwen2"), (*WORDS, "num_key_value_heads")),
}
PREPROCESSOR: dict[str, tuple[type[int], int]] = {  # key of preprocessor_config.json: type, lowest value
    "sampling_rate": (int, 1),
    "stride": (int, 1),
    "num_mel_bins": (int, 1),
    "feature_size": (int, 1),
    "n_fft": (int, 1),
    "hop_length": (int, 1),
    "chunk_length": (int, 1),
    "do_normalize": (bool, 0),
}


def check_folder(checkpoint: str) -> None:
    """Refuse a path that can only mean a folder and is none; else the hub would be contacted for it.

    Raises:
        InputError: it is no folder, or no checkpoint of transformers
    """
    path = Path(checkpoint)
    looks_local = path.is_absolute() or checkpoint.startswith((".", "~")) or checkpoint.count("/") > 1
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(
                f"{checkpoint} has no config.json, so it is no checkpoint of transformers (is it an expert's folder?)"
            )
        checkpoint_safety.check_index(path)
        for file in sorted(path.glob("*.safetensors")):
            _check_pointer(file)
    elif looks_local or (path.parent != Path() and path.parent.is_dir()):
        raise InputError(
            f"{checkpoint} is not a folder (was it moved, or its stage not run?); on the hub a name is 'owner/model'"
        )


def _check_pointer(file: Path) -> None:
    """Refuse a Git LFS pointer, the text that a clone leaves instead of a large file."""
    with file.open("rb") as content:
        if content.read(len(POINTER)) == POINTER:
            raise InputError(f"{file} is a pointer of Git LFS, expected weights; run 'git lfs pull' in its folder")


def check_blocks(config: PretrainedConfig, unread: Iterable[str], checkpoint: str) -> None:
    """Refuse weights of more blocks than the configuration names: the model would be truncated silently.

    Args:
        config: of the checkpoint, as it was published
        unread: names of tensors that the model does not load
        checkpoint: its name, for the message

    Raises:
        InputError: there is a block behind the last one
    """
    count = config.encoder_layers if config.model_type == "whisper" else config.num_hidden_layers
    names = [name for name in unread if "decoder." not in name]  # Whisper's, which is left out
    numbers = [int(match[1]) for name in names if (match := BLOCK.search(name))]
    if numbers and max(numbers) >= count:
        raise InputError(
            f"{checkpoint} holds weights of {max(numbers) + 1} blocks and its config.json names {count} (is it the"
            " configuration of another model?); to leave blocks out, set encoder.layers_kept"
        )


def json_object(path: Path) -> dict[str, Any]:
    """Return the object that a JSON file of a checkpoint holds.

    Raises:
        InputError: the file holds something else, or is not JSON
    """
    if path.stat().st_size > LONGEST_JSON:
        raise InputError(f"{path} has {path.stat().st_size:,} bytes, expected at most {LONGEST_JSON:,} of JSON")
    try:
        values = json.loads(path.read_bytes().decode("utf-8"))
    except (ValueError, RecursionError) as error:
        first = str(error).splitlines()[0][:120]
        raise InputError(
            f"{path} is not JSON: {first} (was the download cut short, or is it a Git LFS pointer?)"
        ) from None
    if not isinstance(values, dict):
        raise InputError(f"{path} holds a {type(values).__name__}, expected an object of keys and values")
    return values


def check_sizes(config: PretrainedConfig, checkpoint: str) -> None:
    """Refuse a configuration of which no model can be built.

    Args:
        config: of the checkpoint
        checkpoint: its name, for the message

    Raises:
        InputError: a size is no whole number within range, or two of them do not fit together
    """
    kind = config.model_type
    for name in SIZES.get(kind, ()):
        most = DEEPEST if name in ("num_hidden_layers", "encoder_layers") else LARGEST
        _check_size(getattr(config, name, None), name, checkpoint, most)
    if kind in ("hubert", "wav2vec2", "wavlm"):
        _check_lists(config, CONVOLUTIONS, checkpoint)
        _check_divides(config, "hidden_size", "num_conv_pos_embedding_groups", checkpoint)
    if kind == "vggish":
        _check_lists(config, ("channels",), checkpoint, length=4)
    elif kind == "whisper":
        _check_divides(config, "d_model", "encoder_attention_heads", checkpoint)
    elif kind not in ("llama", "mistral", "qwen2"):  # these may name the width of a head themselves
        _check_divides(config, "hidden_size", "num_attention_heads", checkpoint)
    else:
        _check_divides(config, "num_attention_heads", "num_key_value_heads", checkpoint)
    if kind in ("roberta", "xlm-roberta"):
        pad = config.pad_token_id
        if type(pad) is not int or not 0 <= pad < config.max_position_embeddings - 2:
            raise InputError(f"{checkpoint}: config.json has pad_token_id {_short(pad)}, behind which positions begin")


def check_memory(config: PretrainedConfig, checkpoint: str, bytes_per_weight: float, **options: bool) -> None:
    """Refuse a model whose weights alone are larger than this machine's memory, before they are read or drawn.

    Args:
        config: of the checkpoint
        checkpoint: its name, for the message
        bytes_per_weight: 4 in float32, 2 in bfloat16, about 0.5 in 4 bit
        options: of the architecture

    Raises:
        InputError: it is larger
    """
    with torch.device("meta"):
        model = AutoModel.from_config(config, trust_remote_code=False, **options)
    gigabytes = sum(tensor.numel() for tensor in model.parameters()) * bytes_per_weight / 1e9
    memory = virtual_memory().total / 1e9
    if gigabytes > memory:
        raise InputError(
            f"{checkpoint} is a model of {gigabytes:,.0f} GB by its config.json, this machine has {memory:,.0f} GB of"
            " memory (is a size in it wrong?); choose a smaller checkpoint, or set encoder.weights to bfloat16"
        )


def check_configuration(settings: EncoderSettings) -> None:
    """Refuse a config.json that holds no object, or names no architecture.

    Raises:
        InputError: it is such a file, or cannot be read
    """
    try:
        path = cached_file(settings.checkpoint, "config.json", revision=settings.revision)
    except Exception as error:
        raise explain(error, settings, "configuration") from error
    if "model_type" not in json_object(Path(path)):
        raise InputError(
            f"{settings.checkpoint} names no model_type in config.json (an old one? 'python -m"
            " pipeline_lib.conversion.hub' adds it with --model-type)"
        )


def preprocessor(settings: EncoderSettings, revision: str | None) -> dict[str, Any]:
    """Return preprocessor_config.json, or that part of processor_config.json; empty where there is neither.

    Args:
        settings: the checkpoint
        revision: the commit to read it at; None for a local folder

    Raises:
        InputError: the file cannot be read, or a value does not suit a feature extractor
    """
    for name in ("preprocessor_config.json", "processor_config.json"):
        try:
            path = Path(cached_file(settings.checkpoint, name, revision=revision))
        except OSError as error:
            if error.__cause__ is None:  # the files are listed, this one is not among them
                continue
            raise explain(error, settings, name) from error
        values = json_object(path)
        if name == "processor_config.json":
            values = values.get("feature_extractor", {})
            if not isinstance(values, dict):
                raise InputError(f"{path}: feature_extractor is a {type(values).__name__}, expected an object")
        check_preprocessor(values, path)
        return values
    return {}


def check_preprocessor(values: Mapping[str, Any], path: Path) -> None:
    """Refuse values of which no feature extractor can be built.

    Args:
        values: of preprocessor_config.json
        path: the file, for the message

    Raises:
        InputError: a value is of another type, or out of range
    """
    for name, (kind, lowest) in PREPROCESSOR.items():
        value = values.get(name)
        if value is not None and (type(value) is not kind or value < lowest or value > LARGEST):
            expected = "true or false" if kind is bool else f"a whole number from {lowest} to {LARGEST:,}"
            raise InputError(f"{path}: {name} is {_short(value)}, expected {expected}")


def check_finite(model: nn.Module, checkpoint: str) -> None:
    """Refuse weights that hold NaN or infinity, which would spread to every hidden state.

    Args:
        model: with its weights
        checkpoint: its name, for the message

    Raises:
        InputError: a tensor holds them
    """
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        state = getattr(tensor, "quant_state", None)  # of 4-bit weights: the constants, and the mean taken off them
        for part in (tensor,) if state is None else _constants(state):
            if part.is_floating_point() and not torch.isfinite(part).all():
                raise InputError(
                    f"{checkpoint}: {name} holds NaN or infinity, expected finite weights (is the file damaged, or did"
                    " the training that wrote it diverge?)"
                )


def _constants(state: Any) -> list[torch.Tensor]:
    nested = [] if state.state2 is None else [state.state2.absmax, state.offset]
    return [state.absmax, *nested]


def _check_size(value: Any, name: str, checkpoint: str, most: int = LARGEST) -> None:
    if type(value) is not int or not 1 <= value <= most:
        expected = f"a whole number from 1 to {most:,}"
        raise InputError(f"{checkpoint}: config.json has {name} {_short(value)}, expected {expected}")


def _check_lists(config: PretrainedConfig, names: tuple[str, ...], checkpoint: str, length: int | None = None) -> None:
    """Refuse lists of sizes that are not as long as one another, or as ``length``."""
    for name in names:
        values = getattr(config, name, None)
        if not isinstance(values, list | tuple) or not values:
            raise InputError(f"{checkpoint}: config.json has {name} {_short(values)}, expected a list of whole numbers")
        length = len(values) if length is None else length
        if len(values) != length:
            raise InputError(f"{checkpoint}: config.json has {len(values)} numbers in {name}, expected {length}")
        for value in values:
            _check_size(value, name, checkpoint)


def _check_divides(config: PretrainedConfig, whole: str, parts: str, checkpoint: str) -> None:
    if getattr(config, whole) % getattr(config, parts):
        sizes = f"{whole} {getattr(config, whole)} and {parts} {getattr(config, parts)}"
        raise InputError(f"{checkpoint}: config.json has {sizes}, expected a multiple")


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."

"""Checks of a checkpoint's own files: no weights from outside its folder, no kernels fetched from the hub."""

import json
from pathlib import Path, PurePosixPath

from transformers import PretrainedConfig

from pipeline_lib.errors import InputError

INDEX = "model.safetensors.index.json"
ATTENTIONS = ("eager", "sdpa")


def check_index(folder: Path) -> None:
    """Refuse a folder whose index of shards leads out of it, where neither its digest nor a mirror would follow.

    Raises:
        InputError: a shard is no ``.safetensors`` file of the folder, or the index is no index
    """
    path = folder / INDEX
    if path.is_file():
        shards(path, ".safetensors")


def shards(index: Path, suffix: str) -> list[str]:
    """Return the files that an index of shards names, sorted.

    Args:
        index: the JSON file
        suffix: expected of the files

    Raises:
        InputError: one is no file of that suffix in the folder of the index, or the index is no index
    """
    try:
        names = {str(name) for name in json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()}
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise InputError(f"{index} is no index of shards: {type(error).__name__} {error}") from None
    for name in sorted(names):
        if PurePosixPath(name).name != name or "\\" in name or not name.endswith(suffix):
            raise InputError(f"{index} names {name[:200]!r}, expected {suffix} files of its own folder")
    return sorted(names)


def check_kernels(config: PretrainedConfig, checkpoint: str) -> None:
    """Refuse a configuration that names an attention other than torch's own.

    transformers fetches and runs the kernel of a hub repository for a name such as ``owner/kernel``, and for
    ``flash_attention_2`` where that package is missing.

    Args:
        config: of the checkpoint
        checkpoint: its name, for the message

    Raises:
        InputError: it does
    """
    for part in (config, *(getattr(config, name, None) for name in getattr(config, "sub_configs", {}))):
        attention = getattr(part, "_attn_implementation", None)
        if attention is not None and attention not in ATTENTIONS:
            raise InputError(
                f"{checkpoint} requests the attention {attention!r} of the hub, code that is never run; expected one of"
                f" {list(ATTENTIONS)} or none in config.json"
            )

"""Functions that converters share: files are read without running code, folders are written whole or not at all."""

import json
import os
import pickle
import re
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedConfig

from pipeline_lib.errors import InputError


def state_dict(path: Path, expected: str) -> dict[str, Tensor]:
    """Return the tensors of a torch file by name, of any shape; they stay on disk until they are used.

    Args:
        path: a state dict by itself, or under ``model``
        expected: the file that is expected, for the message where there is none

    Raises:
        InputError: the file is missing or damaged, or loading it could run code
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist, expected {expected}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path) or None)
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        held = f"the Python object {named.group(1)}" if named else "something other than tensors"
        raise InputError(
            f"{path} holds {held}, which is never loaded, it can run code (is it the published file? a file of your"
            " own must hold the state dict alone)"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read: {first} (was the download cut short?)") from None
    if isinstance(content, dict) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if (
        not isinstance(content, Mapping)
        or not all(isinstance(value, Tensor) for value in content.values())
        or not content
    ):
        raise InputError(f"{path} holds no state dict, neither by itself nor under 'model'")
    return dict(content)


def arrays(path: Path) -> dict[str, Tensor]:
    """Return the arrays of an .npz file by name, of any shape.

    Raises:
        InputError: the file is missing or damaged, or holds anything but arrays of numbers
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist, expected an .npz file")
    try:
        with np.load(path, allow_pickle=False) as opened:
            return {name: torch.from_numpy(np.ascontiguousarray(opened[name])) for name in opened.files}
    except (ValueError, TypeError, AttributeError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path} cannot be read: {first} (is it an .npz of plain arrays, and whole?)") from None


def check_target(out: Path, model_type: str) -> None:
    """Refuse a folder that anything but an earlier conversion to the same model wrote.

    Args:
        out: the folder to write
        model_type: of the converted model, as its config.json names it

    Raises:
        InputError: the folder exists and holds something else
    """
    if not out.exists():
        return
    config = out / "config.json"
    if not config.is_file() or json.loads(config.read_text(encoding="utf-8")).get("model_type") != model_type:
        raise InputError(f"{out} exists and holds something else; give a new folder")


@contextmanager
def replaced(out: Path) -> Iterator[Path]:
    """Yield an empty folder beside ``out`` that replaces it at the end; after an error nothing is left of it."""
    temporary = out.with_name(f".{out.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        shutil.rmtree(out, ignore_errors=True)
        temporary.rename(out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write(
    out: Path,
    config: PreTrainedConfig,
    architecture: str,
    tensors: Mapping[str, Tensor],
    preprocessor: Mapping[str, Any] | None = None,
) -> None:
    """Write config.json, model.safetensors and preprocessor_config.json under another name, then rename the folder.

    Args:
        out: the folder
        config: of the model
        architecture: name of its class
        tensors: as its ``state_dict`` names them, of the shapes that the configuration implies
        preprocessor: content of preprocessor_config.json; None writes no such file
    """
    with replaced(out) as temporary:
        config.architectures = [architecture]
        config.save_pretrained(temporary)
        save_file(dict(tensors), temporary / "model.safetensors", metadata={"format": "pt"})
        if preprocessor is not None:
            text = json.dumps(preprocessor, indent=2) + "\n"
            (temporary / "preprocessor_config.json").write_text(text, encoding="utf-8")
        shutil.copymode(temporary / "config.json", temporary / "model.safetensors")  # safetensors shuts others out

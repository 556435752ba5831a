"""What a .nemo archive may hold, looked at before NeMo unpacks it and builds the classes that it names.

NeMo 3.0 leaves out members that would land outside its folder, loads weights with ``weights_only`` unless the
environment forbids it, and instantiates what the configuration names under ``_target_``: modules of its own and, from
``nemo.collections.asr.parts`` and ``modules``, *any function* with any arguments, among them one that writes a text
file wherever it is told. Here only classes and the one function that Canary's configurations name are let through, and
an archive with a flaw is refused whole.
"""

import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import yaml

from pipeline_lib.errors import InputError

LARGEST = 16 << 30  # bytes unpacked; Canary-1b-v2 has 6.4 GB
MOST_MEMBERS = 1_000
LARGEST_CONFIG = 4 << 20  # bytes
CONFIG, WEIGHTS = "model_config.yaml", "model_weights.ckpt"
# modules in lower case, then one class; NeMo holds the class against its own base classes
CLASS = re.compile(
    r"nemo\.collections\."
    r"(asr\.(models|modules|parts\.submodules|metrics|losses)|common\.(tokenizers|losses))"
    r"(\.[a-z][a-z0-9_]*)*\.[A-Z][A-Za-z0-9]*"
)
FUNCTIONS = ("nemo.collections.asr.modules.transformer.get_nemo_transformer",)
TARGETS = ("_target_", "target", "cls", "_cls_", "class_path", "_partial_target_")
UNSAFE = "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"


def check(path: Path) -> None:
    """Refuse an archive that could write outside its folder, fill the disk or name foreign code.

    Raises:
        InputError: it is no archive, holds a link, device, absolute or climbing path, the same name twice or too much;
            lacks configuration or weights; or its configuration names what Canary does not need
    """
    if os.environ.get(UNSAFE, "").lower() in ("1", "y", "yes", "true"):
        raise InputError(f"{UNSAFE} is set, so the weights in {path} could run code; unset it")
    configs: dict[str, bytes] = {}
    names: set[str] = set()
    try:
        with _opened(path) as archive:
            for member in _members(path, archive):
                name = _name(path, member, names)
                if name.endswith((".yaml", ".yml")):
                    if member.size > LARGEST_CONFIG:
                        raise InputError(f"{path}: {name} has {member.size} bytes, wanted at most {LARGEST_CONFIG}")
                    file = archive.extractfile(member)
                    configs[name] = file.read() if file else b""
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} is not a .nemo archive (cut short, or a Git LFS pointer in its place?)") from None
    if CONFIG not in configs or WEIGHTS not in names:
        raise InputError(f"{path} holds {sorted(names)[:10]}, wanted {CONFIG} and {WEIGHTS} (not a NeMo checkpoint?)")
    for name, text in configs.items():
        _check_config(f"{path}: {name}", text, names)


def _opened(path: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(path, "r:")
    except tarfile.ReadError:
        return tarfile.open(path, "r:gz")  # written by NeMo before 1.7


def _members(path: Path, archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield members as far as they are few and small; a compressed archive is not read beyond the limit."""
    n_bytes = 0
    for number, member in enumerate(iter(archive.next, None), start=1):
        n_bytes += member.size
        if n_bytes > LARGEST or number > MOST_MEMBERS:
            raise InputError(f"{path} unpacks to more than {LARGEST >> 30} GiB or {MOST_MEMBERS} files (a bomb?)")
        yield member


def _name(path: Path, member: tarfile.TarInfo, names: set[str]) -> str:
    """Return a member's name without ``./`` and note it."""
    parts = PurePosixPath(member.name)
    if parts.is_absolute() or ".." in parts.parts or "\\" in member.name:
        raise InputError(f"{path} holds {member.name!r}, which leads out of its folder")
    if not (member.isdir() or member.isreg()) or member.issparse():
        kinds = {tarfile.SYMTYPE: "a symbolic link", tarfile.LNKTYPE: "a hard link"}
        kind = kinds.get(member.type, "a device, pipe or sparse file")
        raise InputError(f"{path} holds {member.name!r}, {kind}; wanted plain files only")
    name = parts.as_posix()
    if name in names:
        raise InputError(f"{path} holds {name!r} twice, so it is not clear which one counts")
    if not member.isdir():
        names.add(name)
    return name


def _check_config(where: str, text: bytes, names: set[str]) -> None:
    try:
        decoded = text.decode("utf-8")
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(decoded, Loader=yaml.SafeLoader)):
            raise InputError(f"{where} refers to its own parts, by which a few lines can stand for billions")
        config = yaml.safe_load(decoded)
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{where} is not YAML that can be loaded safely: {' '.join(str(error).split())}") from None
    if not isinstance(config, dict):
        raise InputError(f"{where} holds {type(config).__name__}, wanted the model's configuration")
    for keys, value in _leaves(config, ()):
        _check_leaf(f"{where}: {'.'.join(map(str, keys))}", keys, value, names)


def _leaves(value: Any, keys: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Any]]:
    if isinstance(value, dict | list):
        for key, each in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(each, (*keys, key))
    yield keys, value


def _check_leaf(where: str, keys: tuple[Any, ...], value: Any, names: set[str]) -> None:
    key = keys[-1] if keys else None
    named = key in TARGETS and value is not None
    if named and not (isinstance(value, str) and (CLASS.fullmatch(value) or value in FUNCTIONS)):
        raise InputError(f"{where} is {value!r}, which is none of the classes that Canary is made of; it is not run")
    if key in ("trust_remote_code", "hf_kwargs") and value:
        raise InputError(f"{where} is {value!r}, which would let a tokenizer bring its own code; it is not run")
    if isinstance(value, str) and "${oc." in value:
        raise InputError(f"{where} is {value!r}, which reads this machine's environment; it is not run")
    if isinstance(value, str) and value.startswith("nemo:") and PurePosixPath(value[5:]).as_posix() not in names:
        raise InputError(f"{where} is {value!r}, which is no file of the archive")

"""A checkpoint of transformers that has its weights in ``.bin`` files only -> a folder of safetensors.

``ser convert hub facebook/hubert-base-ls960 models/hubert_base``

NAME is a name on the hub or a folder. Only files of known names are fetched and copied. The weights are read with
``weights_only``, so that a file that would run code is refused without running; they are renamed by ``renaming``,
written in the precision that they have, and one shard becomes one shard. What is written is the backbone (of Whisper
encoder, decoder and output layer); heads are left out and counted. ``conversion.json`` records where the files came
from: name, commit, and the SHA-256 of each file before and after.

The folder is put in place only after a comparison: transformers loads the published tensors by its own renaming and
the new folder by its safetensors, and both models must agree in every number of every tensor and in the output of a
forward pass; then this pipeline's own loader reads the folder, tokenizer and preprocessor included.

Some old configurations name no architecture (TinyBERT's): ``--model-type bert`` adds it.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import HfApi, hf_hub_download
from safetensors.torch import save_file
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig

from pipeline_lib.conversion import files
from pipeline_lib.conversion.comparison import compare, model_class, model_options
from pipeline_lib.conversion.renaming import Renaming
from pipeline_lib.encoders import checkpoint_safety, contents, text
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.encoders.load_errors import explain
from pipeline_lib.errors import InputError
from pipeline_lib.params.encoder import EncoderSettings

WEIGHTS, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
COPIED = (  # beside config.json; copied unchanged
    *("preprocessor_config.json", "processor_config.json", "generation_config.json", "normalizer.json"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "sentencepiece.bpe.model"),
    *("LICENSE", "LICENSE.txt", "LICENSE.md"),
)
RECORD = "conversion.json"
SPEECH = ("hubert", "wav2vec2", "wavlm", "wav2vec2-bert", "whisper")
MODEL_TYPES = (*SPEECH, *text.MODEL_TYPES)


def convert(name: str, out: Path, revision: str | None = None, model_type: str | None = None) -> list[str]:
    """Write the folder.

    Args:
        name: on the hub, or a folder
        out: a folder that does not exist yet, or that an earlier conversion wrote
        revision: commit, branch or tag on the hub; None is its main branch
        model_type: architecture, where config.json names none

    Returns:
        sentences on the tensors that were kept, left out and compared

    Raises:
        InputError: the checkpoint cannot be read, is of no known architecture, has safetensors already, holds more
            than tensors, or does not load as transformers loads it; the folder holds something else
    """
    check_target(out)
    source, commit = locate(name, revision)
    config_json = _configuration(source["config.json"], model_type)
    with files.replaced(out) as folder:
        (folder / "config.json").write_text(config_json, encoding="utf-8")
        config = _parsed(folder, name)
        with torch.device("meta"):
            renaming = Renaming(model_class(config)(config, **model_options(config)))
        published = [files.state_dict(path, f"weights of {name}") for path in _weights(source)]
        kept = [renaming(shard, path) for shard, path in zip(published, _weights(source), strict=True)]
        kept = [shard for shard in renaming.untied(kept, _weights(source)[0]) if shard]
        _write_weights(folder, kept)
        for file in COPIED:
            if file in source:
                shutil.copyfile(source[file], folder / file)
        compared = compare(folder, config, {key: value for shard in published for key, value in shard.items()})
        read = _read_back(folder, name, config)
        record = {
            "source": name,
            "revision": commit,
            "files": _digests(source),
            "converted": _digests({path.name: path for path in folder.iterdir()}),
        }
        (folder / RECORD).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    total = sum(tensor.numel() for shard in kept for tensor in shard.values())
    shards = f"{len(kept)} shards" if len(kept) > 1 else "1 shard"
    left = [f"left out {reason}: {n} tensors" for reason, n in sorted(renaming.left_out.items())]
    return [f"kept {sum(map(len, kept))} tensors ({total:,} numbers) in {shards}", *left, compared, read]


def locate(name: str, revision: str | None) -> tuple[dict[str, Path], str | None]:
    """Return the known files of a checkpoint by name, fetched where it is on the hub, and the commit.

    Args:
        name: on the hub, or a folder
        revision: commit, branch or tag on the hub; None is its main branch

    Raises:
        InputError: there is no such checkpoint, it cannot be reached, or it has nothing to convert
    """
    settings = EncoderSettings(checkpoint=name, revision=revision)
    if Path(name).is_dir():
        names, commit = {path.name for path in Path(name).iterdir() if path.is_file()}, None
        fetch: Callable[[str], Path] = Path(name).joinpath
    else:
        contents.check_folder(name)
        try:
            info = HfApi().model_info(name, revision=revision, timeout=30)
        except Exception as error:
            raise explain(error, settings, "list of files") from error
        names, commit = {sibling.rfilename for sibling in info.siblings or ()}, info.sha

        def fetch(file: str) -> Path:
            try:
                return Path(hf_hub_download(name, file, revision=commit))
            except Exception as error:
                raise explain(error, settings, file) from error

    if "config.json" not in names:
        raise InputError(f"{name} has no config.json, so it is no checkpoint of transformers")
    if names & {"model.safetensors", checkpoint_safety.INDEX}:
        raise InputError(f"{name} has safetensors already; give it as checkpoint, it needs no conversion")
    source = {file: fetch(file) for file in ("config.json", *COPIED) if file in names}
    if INDEX in names:
        source[INDEX] = fetch(INDEX)
        shards = checkpoint_safety.shards(source[INDEX], ".bin")
        if absent := [shard for shard in shards if shard not in names]:
            raise InputError(f"{name} lacks {len(absent)} shards that its index names, {absent[0]!r} first")
        source |= {shard: fetch(shard) for shard in shards}
    elif WEIGHTS in names:
        source[WEIGHTS] = fetch(WEIGHTS)
    else:
        raise InputError(f"{name} has neither {WEIGHTS} nor {INDEX}, so it has no weights that can be converted")
    return source, commit


def check_target(out: Path) -> None:
    """Refuse a folder that anything but an earlier conversion wrote.

    Raises:
        InputError: the folder exists and holds something else
    """
    if out.exists() and not (out / RECORD).is_file():
        raise InputError(f"{out} exists and holds something else; give a new folder")


def _configuration(path: Path, model_type: str | None) -> str:
    """Return the text of config.json, with the architecture where it names none."""
    values = contents.json_object(path)
    named = values.get("model_type")
    if named is None and model_type is None:
        raise InputError(f"{path} names no model_type; give it as --model-type, one of {list(MODEL_TYPES)}")
    if named is not None and model_type is not None and named != model_type:
        raise InputError(f"{path} names the model_type {str(named)[:80]!r}, --model-type is {model_type!r}")
    chosen = model_type if named is None else named
    if chosen not in MODEL_TYPES:
        raise InputError(f"{path} is of a {str(chosen)[:80]!r} model, expected one of {list(MODEL_TYPES)}")
    if named is not None:
        return path.read_text(encoding="utf-8")
    return json.dumps({**values, "model_type": chosen}, indent=2) + "\n"


def _parsed(folder: Path, name: str) -> PretrainedConfig:
    try:
        config = AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception as error:
        raise explain(error, EncoderSettings(checkpoint=name), "configuration") from error
    checkpoint_safety.check_kernels(config, name)
    contents.check_sizes(config, name)
    return config


def _weights(source: Mapping[str, Path]) -> list[Path]:
    return [path for name, path in sorted(source.items()) if name.endswith(".bin")]


def _write_weights(folder: Path, shards: list[dict[str, Tensor]]) -> None:
    """Write one file of safetensors a shard, and the index where there are several."""
    names = [f"model-{i:05d}-of-{len(shards):05d}.safetensors" for i in range(1, len(shards) + 1)]
    if len(shards) == 1:
        names = ["model.safetensors"]
    for name, shard in zip(names, shards, strict=True):
        tensors = {key: shard[key].clone(memory_format=torch.contiguous_format) for key in sorted(shard)}
        save_file(tensors, folder / name, metadata={"format": "pt"})
        shutil.copymode(folder / "config.json", folder / name)  # safetensors shuts others out
    if len(shards) > 1:
        size = sum(tensor.numel() * tensor.element_size() for shard in shards for tensor in shard.values())
        weight_map = {key: name for name, shard in zip(names, shards, strict=True) for key in shard}
        index = {"metadata": {"total_size": size}, "weight_map": dict(sorted(weight_map.items()))}
        (folder / checkpoint_safety.INDEX).write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _read_back(folder: Path, name: str, config: PretrainedConfig) -> str:
    """Load the folder as the stages do."""
    settings, cpu = EncoderSettings(checkpoint=str(folder), weights="bfloat16"), torch.device("cpu")
    try:
        encoder = (load_speech if config.model_type in SPEECH else load_text)(settings, cpu)
    except InputError as error:
        raise InputError(str(error).replace(str(folder), name)) from None
    return f"read by this pipeline: {encoder.n_layers} blocks of width {encoder.width}"


def _digests(paths: Mapping[str, Path]) -> dict[str, Any]:
    """Return the SHA-256 of each file by its name."""
    digests = {}
    for name, path in sorted(paths.items()):
        with path.open("rb") as file:
            digests[name] = hashlib.file_digest(file, "sha256").hexdigest()
    return digests

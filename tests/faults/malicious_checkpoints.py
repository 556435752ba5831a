"""Checkpoints and experts made by somebody who means harm, for ``malice``: each case is given an empty folder."""

import json
import os
import pickle
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from pipeline_lib.encoders.load import load_text
from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk
from pipeline_lib.finetuning import checkpoints
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.storage import checksummed_json
from tests.encoders import checkpoints as encoders
from tests.faults import artifacts
from tests.faults.cases import refused


class Runs:
    """Pickled, it leaves a mark when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple:
        """Say what unpickling calls."""
        return (os.system, (f"touch {self.mark}",))


def evil(root: Path) -> bytes:
    """Return a pickle that leaves the mark."""
    return pickle.dumps({"weight": Runs(root / "ran")})


def a_checkpoint(root: Path) -> Path:
    """Write a small LLaMA."""
    return encoders.write(root, "llama")


def loaded(place: Path) -> str:
    """Load a checkpoint; return what was said when it was refused."""
    try:
        load_text(EncoderSettings(checkpoint=str(place)), torch.device("cpu"))
    except InputError as error:
        return str(error)
    return ""


def changed(path: Path, **values: Any) -> None:
    """Change keys of a JSON file."""
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **values}))


def weights_by_pickle(root: Path) -> None:
    place = a_checkpoint(root)
    (place / "model.safetensors").unlink()
    (place / "pytorch_model.bin").write_bytes(evil(root.parent))
    assert ".bin files are not loaded" in loaded(place)


def a_pickle_named_safetensors(root: Path) -> None:
    place = a_checkpoint(root)
    (place / "model.safetensors").write_bytes(evil(root.parent))
    assert "gives no weights" in loaded(place)


def a_header_of_exabytes(root: Path) -> None:
    place = a_checkpoint(root)
    (place / "model.safetensors").write_bytes(struct.pack("<Q", 1 << 60) + b"{}")
    assert "gives no weights" in loaded(place)


def a_tensor_of_exabytes(root: Path) -> None:
    place = a_checkpoint(root)
    header = json.dumps({"embed_tokens.weight": {"dtype": "F32", "shape": [1 << 58], "data_offsets": [0, 1 << 60]}})
    (place / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header.encode())
    assert "gives no weights" in loaded(place)


def shards_elsewhere(root: Path) -> None:
    place = a_checkpoint(root)
    names = list(load_file(place / "model.safetensors"))
    (place / "model.safetensors").rename(root.parent / "elsewhere.safetensors")
    index = {"metadata": {}, "weight_map": dict.fromkeys(names, "../../elsewhere.safetensors")}
    (place / "model.safetensors.index.json").write_text(json.dumps(index))
    said = loaded(place)
    (root.parent / "elsewhere.safetensors").unlink()
    assert said, "weights outside the folder were read"


def code_of_the_model(root: Path) -> None:
    place = a_checkpoint(root)
    (place / "evil.py").write_text(f"open({str(root.parent / 'ran')!r}, 'w')\nclass M: pass\n")
    changed(place / "config.json", auto_map={"AutoModel": "evil.M", "AutoConfig": "evil.M"})
    loaded(place)


def code_of_an_unknown_model(root: Path) -> None:
    code_of_the_model(root)
    changed(root / "llama/config.json", model_type="evil")
    assert loaded(root / "llama")


def code_of_the_tokenizer(root: Path) -> None:
    place = a_checkpoint(root)
    (place / "evil.py").write_text(f"open({str(root.parent / 'ran')!r}, 'w')\nclass T: pass\n")
    changed(place / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.T", "evil.T"]}, tokenizer_class="T")
    loaded(place)


def an_adapter_beside(root: Path) -> None:
    place = a_checkpoint(root)
    said = {"base_model_name_or_path": str(place), "peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}
    (place / "adapter_config.json").write_text(json.dumps(said))
    (place / "adapter_model.bin").write_bytes(evil(root.parent))
    loaded(place)


def an_adapter_of_another(root: Path) -> None:
    place, other = a_checkpoint(root), a_checkpoint(root.parent / "elsewhere")
    tensors = {name: torch.full_like(t, 7.0) for name, t in load_file(other / "model.safetensors").items()}
    save_file(tensors, other / "model.safetensors", metadata={"format": "pt"})
    said = {"base_model_name_or_path": str(other), "peft_type": "LORA", "r": 2, "target_modules": ["q_proj"]}
    (place / "adapter_config.json").write_text(json.dumps(said))
    try:
        encoder = load_text(EncoderSettings(checkpoint=str(place)), torch.device("cpu"))
    except InputError:
        return
    assert not any((p == 7).all() for p in encoder.model.parameters()), "another folder's weights were read"


def a_kernel_of_the_hub(root: Path) -> None:
    place = a_checkpoint(root)
    for name in ("attn_implementation", "_attn_implementation", "experts_implementation"):
        changed(place / "config.json", **{name: "somebody/evil-kernel"})
    assert "code that is never run" in loaded(place)


def a_template_that_runs(root: Path) -> None:
    place = a_checkpoint(root)
    mark = root.parent / "ran"
    template = "{{ ''.__class__.__mro__[1].__subclasses__() }}{% set x = cycler.__init__.__globals__.os.popen('touch "
    changed(place / "tokenizer_config.json", chat_template=f"{template}{mark}').read() %}}")
    encoder = load_text(EncoderSettings(checkpoint=str(place)), torch.device("cpu"))
    encoder.prepare(["i am so happy"])


def an_expert(root: Path) -> Path:
    """Write a trained expert."""
    artifacts.expert_kind(root / "checkpoints").write(root)
    return root / "text"


def an_expert_by_pickle(root: Path) -> None:
    place = an_expert(root)
    (place / "head.safetensors").write_bytes(evil(root.parent))
    with refused("head.safetensors is damaged"):
        disk.load(place, torch.device("cpu"))


def an_expert_that_points_elsewhere(root: Path) -> None:
    place = an_expert(root)
    values, files = checksummed_json.read(place / "settings.json")
    contents = {name: (place / name).read_bytes() for name in files}
    (branch,) = values["branches"].values()
    for checkpoint in ("../../secret.txt", str(root.parent), "/etc", "\0", "models/\n"):
        branch["encoder"]["checkpoint"] = checkpoint
        (place / "settings.json").write_text(checksummed_json.dumps(values, contents))
        with refused("."):
            disk.load(place, torch.device("cpu"))


def an_expert_with_code(root: Path) -> None:
    place = an_expert(root)
    values, files = checksummed_json.read(place / "settings.json")
    contents = {name: (place / name).read_bytes() for name in files}
    (place / "settings.json").write_text(checksummed_json.dumps({**values, "auto_map": "evil.M"}, contents))
    with refused("auto_map is not a parameter"):
        disk.load(place, torch.device("cpu"))


def an_expert_nested_deeply(root: Path) -> None:
    place = an_expert(root)
    (place / "settings.json").write_text('{"x": ' + "[" * 200_000)
    with refused("settings.json is not JSON"):
        disk.load(place, torch.device("cpu"))


def a_training_checkpoint_by_pickle(root: Path) -> None:
    artifacts._write_checkpoints(root)
    place = sorted(root.glob("checkpoint_*"))[-1]
    said, _ = checksummed_json.read(place / "state.json")
    contents = {"weights.safetensors": evil(root.parent), "optimiser.safetensors": evil(root.parent)}
    for name, content in contents.items():
        (place / name).write_bytes(content)
    (place / "state.json").write_text(checksummed_json.dumps(said, contents))
    found = checkpoints.latest(root)
    assert found is not None and found[0].total == 1, "did not go back to the one before"


CHECKPOINTS = (
    weights_by_pickle,
    a_pickle_named_safetensors,
    a_header_of_exabytes,
    a_tensor_of_exabytes,
    shards_elsewhere,
    code_of_the_model,
    code_of_an_unknown_model,
    code_of_the_tokenizer,
    an_adapter_beside,
    an_adapter_of_another,
    a_kernel_of_the_hub,
    a_template_that_runs,
    a_training_checkpoint_by_pickle,
)
EXPERTS = (an_expert_by_pickle, an_expert_that_points_elsewhere, an_expert_with_code, an_expert_nested_deeply)

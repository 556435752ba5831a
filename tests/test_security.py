"""Nothing that is loaded can run code: our source has no way to, and malicious checkpoints are refused."""

import ast
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from pipeline_lib.encoders import checkpoint_safety
from pipeline_lib.encoders.load import load_speech, load_text
from pipeline_lib.errors import InputError
from pipeline_lib.params.encoder import EncoderSettings
from tests.encoders import checkpoints

FILES = sorted(path for folder in ("pipeline_lib", "stages", "benchmarks") for path in Path(folder).rglob("*.py"))
UNPICKLERS = {"joblib", "dill", "cloudpickle", "shelve", "marshal", "jsonpickle", "pandas.read_pickle"}
RUNNERS = {"eval", "exec", "compile", "__import__", "os.system", "os.popen", "runpy.run_path", "runpy.run_module"}
ARCHIVES = ("tarfile", "zipfile", "shutil.unpack_archive")
MAY_OPEN_ARCHIVES = {"pipeline_lib/transcription/archive.py", "pipeline_lib/conversion/files.py"}


def calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield each call with the dotted name that is called."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def option(call: ast.Call, name: str) -> object:
    """Return the constant that a call gives a keyword; None where it gives none, "?" where it is no constant."""
    for keyword in call.keywords:
        if keyword.arg == name:
            return keyword.value.value if isinstance(keyword.value, ast.Constant) else "?"
    return None


def faults(source: str, path: str = "x.py") -> list[str]:
    """Return, a line each, what of ``source`` could run what it loads."""
    tree = ast.parse(source)
    found = list(_imported(tree, path))
    for name, call in calls(tree):
        last = name.rpartition(".")[2]
        if name in RUNNERS or last in ("extractall", "unpack_archive", "read_pickle", "to_pickle"):
            found.append(f"{name}()")
        if name.startswith("pickle.") or last in ("Unpickler", "Pickler"):
            found.append(f"{name}()")
        if name == "torch.load" and option(call, "weights_only") is not True:
            found.append("torch.load without weights_only=True")
        if name == "torch.save" or last in ("load_from_checkpoint", "add_safe_globals"):
            found.append(f"{name}()")
        if name in ("np.load", "numpy.load") and option(call, "allow_pickle") is not False:
            found.append("np.load without allow_pickle=False")
        if option(call, "trust_remote_code") not in (None, False) or option(call, "shell") not in (None, False):
            found.append(f"{name}(trust_remote_code or shell)")
        if name.startswith("subprocess.") and call.args and isinstance(call.args[0], ast.Constant | ast.JoinedStr):
            found.append(f"{name} with a string, expected a list")
        if name in ("yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load") and "yaml" in _modules(tree):
            found.append(f"{name}, expected safe_load")
        if name == "YAML" and option(call, "typ") not in ("safe", None, "rt"):
            found.append("YAML(typ) that is neither safe nor round-trip")
        if last == "from_pretrained" and name.startswith("Auto") and option(call, "trust_remote_code") is not False:
            found.append(f"{name} without trust_remote_code=False")
        is_model = name.startswith("AutoModel") or "For" in name.partition(".")[0]
        if last == "from_pretrained" and is_model and option(call, "use_safetensors") is not True:
            found.append(f"{name} without use_safetensors=True")
    return found


def _modules(tree: ast.AST) -> set[str]:
    """Return the names under which whole modules are imported."""
    return {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}


def _imported(tree: ast.AST, path: str) -> Iterator[str]:
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.partition(".")[0] in UNPICKLERS or name in UNPICKLERS or name.startswith("pickle."):
                yield f"import {name}"
            if name.startswith(ARCHIVES) and path not in MAY_OPEN_ARCHIVES:
                yield f"import {name}: archives are opened in {sorted(MAY_OPEN_ARCHIVES)} only"


@pytest.mark.parametrize("path", FILES, ids=str)
def test_no_source_can_run_what_it_loads(path):
    assert not faults(path.read_text(), path.as_posix())


@pytest.mark.parametrize(
    "source",
    [
        "import joblib",
        "from dill import loads",
        "import cloudpickle as c",
        "import pickle; pickle.loads(b'')",
        "from pickle import loads",
        "import pandas as pd; pd.read_pickle('a')",
        "eval('1')",
        "exec('1')",
        "__import__('os')",
        "import os; os.system('ls')",
        "import subprocess; subprocess.run('ls', shell=True)",
        "import subprocess; subprocess.run('ls')",
        "import subprocess; subprocess.run(f'{a}')",
        "torch.load('a')",
        "torch.load('a', weights_only=False)",
        "torch.load('a', weights_only=flag)",
        "torch.save({}, 'a')",
        "np.load('a')",
        "np.load('a', allow_pickle=True)",
        "import yaml; yaml.load('a', Loader=yaml.Loader)",
        "YAML(typ='unsafe')",
        "AutoModel.from_pretrained('a', use_safetensors=True)",
        "AutoModel.from_pretrained('a', trust_remote_code=False)",
        "AutoTokenizer.from_pretrained('a', trust_remote_code=True)",
        "WhisperForConditionalGeneration.from_pretrained('a')",
        "import tarfile",
        "from zipfile import ZipFile",
        "archive.extractall('a')",
        "import shutil; shutil.unpack_archive('a')",
    ],
)
def test_the_test_itself_sees_each_way(source):
    assert faults(source)


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    return checkpoints.write(tmp_path_factory.mktemp("good"), "bert")


@pytest.fixture
def place(good, tmp_path) -> Path:
    """Return a copy of a text checkpoint, to be poisoned."""
    return shutil.copytree(good, tmp_path / "checkpoint")


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def refused(place: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_text(EncoderSettings(checkpoint=str(place)), torch.device("cpu"))
    assert not (place.parent / "evil").exists()
    return str(caught.value)


def edited(path: Path, **values) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def code(place: Path) -> None:
    lines = ["import pathlib", f"pathlib.Path({str(place.parent / 'evil')!r}).touch()"]
    lines += [f"class Evil{kind}: pass" for kind in ("Config", "Model", "Tokenizer")]
    (place / "evil.py").write_text("\n".join(lines))


@pytest.mark.parametrize(
    "shard", ["../outside.safetensors", "/etc/outside.safetensors", "evil.bin", "a\\b.safetensors"]
)
def test_an_index_that_leads_out_of_its_folder_or_to_a_pickle_is_refused(place, shard):
    weights = load_file(place / "model.safetensors")
    shutil.move(place / "model.safetensors", place.parent / "outside.safetensors")
    torch.save({"x": Evil(place.parent / "evil")}, place / "evil.bin")
    (place / "model.safetensors.index.json").write_text(json.dumps({"weight_map": dict.fromkeys(weights, shard)}))
    assert f"names {shard!r}, expected .safetensors files of its own folder" in refused(place)


@pytest.mark.parametrize("text", ["[]", "{}", "no", '{"weight_map": 3}', "[" * 100_000])
def test_an_index_that_is_none_is_refused(place, text):
    (place / "model.safetensors.index.json").write_text(text)
    assert "model.safetensors.index.json is no index of shards" in refused(place)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
def test_weights_that_are_a_pickle_with_code_are_refused(place, name):
    (place / "model.safetensors").unlink()
    torch.save({"x": Evil(place.parent / "evil")}, place / name)
    assert "checkpoint" in refused(place)


def test_an_architecture_that_brings_its_code_is_refused(place):
    code(place)
    edited(
        place / "config.json",
        model_type="evil",
        auto_map={"AutoConfig": "evil.EvilConfig", "AutoModel": "evil.EvilModel"},
    )
    assert "needs Python code of its own, which is never run" in refused(place)


def test_a_known_architecture_ignores_the_code_beside_it(place):
    code(place)
    edited(place / "config.json", auto_map={"AutoConfig": "evil.EvilConfig", "AutoModel": "evil.EvilModel"})
    edited(place / "tokenizer_config.json", auto_map={"AutoTokenizer": ["evil.EvilTokenizer", None]})
    load_text(EncoderSettings(checkpoint=str(place)), torch.device("cpu"))
    assert not (place.parent / "evil").exists()


def test_a_tokenizer_that_is_only_code_is_refused(place):
    code(place)
    edited(
        place / "tokenizer_config.json",
        auto_map={"AutoTokenizer": ["evil.EvilTokenizer", None]},
        tokenizer_class="EvilTokenizer",
    )
    (place / "tokenizer.json").unlink()
    assert "has no tokenizer" in refused(place)


@pytest.mark.parametrize("key", ["_attn_implementation", "_attn_implementation_internal", "attn_implementation"])
def test_a_kernel_of_the_hub_is_not_fetched(place, key):
    edited(place / "config.json", **{key: "somebody/evil-attention"})
    try:
        load_text(EncoderSettings(checkpoint=str(place)), torch.device("cpu"))
    except InputError as error:
        assert "requests the attention 'somebody/evil-attention' of the hub" in str(error)


@pytest.mark.parametrize(
    "attention", ["flash_attention_2", "flash_attention_3", "paged|flash_attention_2", "Sdpa", ["x"]]
)
def test_an_attention_for_which_transformers_may_fetch_a_kernel_is_refused(attention):
    config = SimpleNamespace(_attn_implementation=attention, sub_configs={})
    with pytest.raises(InputError, match="code that is never run; expected one of"):
        checkpoint_safety.check_kernels(config, "a")
    for good in (None, "eager", "sdpa"):
        checkpoint_safety.check_kernels(SimpleNamespace(_attn_implementation=good, sub_configs={}), "a")


def test_an_adapter_beside_the_weights_does_not_bring_a_pickle(place):
    said = {"peft_type": "LORA", "base_model_name_or_path": "somebody/evil", "r": 2, "target_modules": ["query"]}
    (place / "adapter_config.json").write_text(json.dumps(said))
    torch.save({"x": Evil(place.parent / "evil")}, place / "adapter_model.bin")
    assert "checkpoint" in refused(place)


def test_a_configuration_nested_without_end_is_refused(place):
    (place / "config.json").write_text("[" * 100_000)
    assert "config.json is not JSON" in refused(place)


def test_speech_checkpoints_go_through_the_same_door(tmp_path):
    place = checkpoints.write(tmp_path, "w2v_bert")
    edited(place / "config.json", _attn_implementation="somebody/evil-attention")
    with pytest.raises(InputError, match="code that is never run"):
        load_speech(EncoderSettings(checkpoint=str(place)), torch.device("cpu"))

"""Malicious .nemo archives: none runs code, none leaves its folder, each is refused in a sentence."""

import gzip
import io
import os
import tarfile
from pathlib import Path

import pytest
import torch
import yaml

from pipeline_lib.errors import InputError
from pipeline_lib.transcription import archive
from pipeline_lib.transcription.settings import CanarySettings

DEMO = Path("models/demo/canary.nemo")
GOOD = {
    "target": "nemo.collections.asr.models.aed_multitask_models.EncDecMultiTaskModel",
    "encoder": {"_target_": "nemo.collections.asr.modules.ConformerEncoder", "d_model": 8},
    "tokenizer": {"model_path": "nemo:abc_tokenizer.model", "hf_kwargs": {}},
}


def packed(path: Path, members=(), config=GOOD, mode="w") -> Path:
    """Write an archive of configuration, weights, tokenizer and more members: TarInfo, or (name, bytes)."""
    text = config if isinstance(config, bytes) else yaml.safe_dump(config).encode()
    plain = [("./model_config.yaml", text), ("./model_weights.ckpt", b"0"), ("./abc_tokenizer.model", b"0")]
    with tarfile.open(path, mode) as out:
        for member in [*plain, *members]:
            if isinstance(member, tarfile.TarInfo):
                out.addfile(member)
            else:
                info = tarfile.TarInfo(member[0])
                info.size = len(member[1])
                out.addfile(info, io.BytesIO(member[1]))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refused(path: Path) -> str:
    with pytest.raises(InputError, match="a.nemo") as caught:
        archive.check(path)
    return str(caught.value)


def test_an_archive_as_nemo_writes_it_passes_compressed_too(tmp_path):
    archive.check(packed(tmp_path / "a.nemo"))
    archive.check(packed(tmp_path / "b.nemo", mode="w:gz"))
    archive.check(DEMO)


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (("../evil.txt", b"x"), "'../evil.txt', which leads out of its folder"),
        (("a/../../evil.txt", b"x"), "leads out of its folder"),
        (("/tmp/evil.txt", b"x"), "'/tmp/evil.txt', which leads out of its folder"),
        (("..\\evil.txt", b"x"), "leads out of its folder"),
        (special("link", tarfile.SYMTYPE, "/etc"), "'link', a symbolic link; wanted plain files only"),
        (special("tokenizer.model", tarfile.LNKTYPE, "/etc/passwd"), "a hard link"),
        (special("pipe", tarfile.FIFOTYPE), "a device, pipe or sparse file"),
        (special("null", tarfile.CHRTYPE), "a device, pipe or sparse file"),
        (special("disk", tarfile.BLKTYPE), "a device, pipe or sparse file"),
        (("model_config.yaml", b"a: 1"), "'model_config.yaml' twice"),
    ],
)
def test_a_member_that_is_no_plain_file_of_the_folder_is_refused(tmp_path, member, said):
    assert said in refused(packed(tmp_path / "a.nemo", [member]))


@pytest.mark.parametrize("key", ["_target_", "target", "cls"])
@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "nemo.collections.asr.parts.utils.diarization_utils.write_txt",  # NeMo itself would call it
        "nemo.collections.asr.modules.os.system",
        "nemo.collections.common.tokenizers.os.system",
        "nemo.utils.exp_manager.exp_manager",
        "torch.nn.Linear",
        "nemo.collections.asr.modules.ConformerEncoder.restore_from",
        "${evil}",
        "NEMO.collections.asr.modules.ConformerEncoder",
        ["os.system"],
    ],
)
def test_a_target_that_canary_is_not_made_of_is_refused_at_any_depth(tmp_path, key, target):
    config = GOOD | {"encoder": {"layers": [{"a": {key: target, "_args_": ["touch evil"]}}]}, "evil": "os.system"}
    said = refused(packed(tmp_path / "a.nemo", config=config))
    assert f"model_config.yaml: encoder.layers.0.a.{key} is {target!r}" in said and said.endswith("it is not run")


def test_the_configuration_of_the_second_model_is_looked_at_too(tmp_path):
    other = ("timestamps_asr_model_config.yaml", b"encoder: {_target_: os.system}")
    assert "timestamps_asr_model_config.yaml: encoder._target_ is 'os.system'" in refused(
        packed(tmp_path / "a.nemo", [other])
    )


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (b"a: !!python/object/apply:os.system [touch evil]", "not YAML that can be loaded safely"),
        (b"a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]", "a few lines can stand for billions"),
        (b"[" * 5_000, "not YAML that can be loaded safely"),
        (b"\xff\xfe", "not YAML that can be loaded safely"),
        (b"- 1", "holds list, wanted the model's configuration"),
        (GOOD | {"tokenizer": {"hf_kwargs": {"trust_remote_code": True}}}, "bring its own code"),
        (GOOD | {"tokenizer": {"trust_remote_code": True}}, "bring its own code"),
        (GOOD | {"tokenizer": {"model_path": "nemo:../../etc/passwd"}}, "is no file of the archive"),
        (GOOD | {"tokenizer": {"dir": "${oc.env:HOME}"}}, "reads this machine's environment"),
    ],
)
def test_a_configuration_with_tricks_is_refused(tmp_path, config, said):
    assert said in refused(packed(tmp_path / "a.nemo", config=config))


def test_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST", 1 << 20)
    assert "(a bomb?)" in refused(packed(tmp_path / "a.nemo", [("zeros", bytes(2 << 20))], mode="w:gz"))
    assert (tmp_path / "a.nemo").stat().st_size < 10_000
    monkeypatch.setattr(archive, "MOST_MEMBERS", 10)
    assert "(a bomb?)" in refused(packed(tmp_path / "a.nemo", [(f"{i}", b"") for i in range(20)]))
    monkeypatch.setattr(archive, "LARGEST_CONFIG", 100)
    assert "wanted at most 100" in refused(packed(tmp_path / "a.nemo"))


def test_what_is_cut_short_or_compressed_badly_is_refused(tmp_path):
    whole = packed(tmp_path / "a.nemo").read_bytes()
    (tmp_path / "a.nemo").write_bytes(whole[:700])
    assert "not a .nemo archive" in refused(tmp_path / "a.nemo")
    squeezed = gzip.compress(whole)
    (tmp_path / "a.nemo").write_bytes(squeezed[: len(squeezed) // 2])
    assert "not a .nemo archive" in refused(tmp_path / "a.nemo")
    (tmp_path / "a.nemo").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "not a .nemo archive" in refused(tmp_path / "a.nemo")


def test_an_environment_that_lets_weights_run_code_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    assert "is set, so the weights in" in refused(packed(tmp_path / "a.nemo"))


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self):
        return os.system, (f"touch {self.place}",)


def test_weights_that_are_a_pickle_with_code_are_refused_and_not_run(tmp_path):
    from pipeline_lib.transcription.canary import Canary

    torch.save({"encoder.weight": Evil(tmp_path / "evil")}, tmp_path / "weights")
    with tarfile.open(DEMO) as old, tarfile.open(tmp_path / "a.nemo", "w") as new:
        for member in old:
            data = old.extractfile(member).read() if member.isreg() else b""
            if member.name.endswith("model_weights.ckpt"):
                data = (tmp_path / "weights").read_bytes()
            member.size = len(data)
            new.addfile(member, io.BytesIO(data))
    with pytest.raises(InputError, match="a.nemo cannot be restored by NeMo: Weights only load failed"):
        Canary(CanarySettings(checkpoint=str(tmp_path / "a.nemo")), "cpu")
    assert not (tmp_path / "evil").exists()
    torch.load(tmp_path / "weights", weights_only=False)  # the file is what it should be: the trap works
    assert (tmp_path / "evil").exists()

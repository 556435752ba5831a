"""What a .nemo archive may hold: each thing that is not on the lists is refused in a sentence, without NeMo."""

import gzip
import tarfile
import time
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

from pipeline_lib.errors import InputError
from pipeline_lib.transcription import archive, archive_config
from tests.transcription.archives import GOOD, SECTIONS_OF_TRAINING, WRITER, packed, published, repacked

DEMO = Path("models/demo/canary.nemo")
PUBLISHED = ("canary-1b", "canary-1b-flash", "canary-180m-flash", "canary-1b-v2")


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def refused(path: Path) -> str:
    with pytest.raises(InputError, match="a.nemo") as caught:
        archive.check(path)
    return str(caught.value)


def test_an_archive_as_nemo_writes_it_passes_compressed_too(tmp_path):
    assert archive.check(packed(tmp_path / "a.nemo")) == archive.check(packed(tmp_path / "b.nemo", mode="w:gz"))
    archive.check(DEMO)


@pytest.mark.parametrize("name", PUBLISHED)
def test_configurations_in_the_layout_of_the_published_canaries_pass_resolved(tmp_path, name):
    config, members = published(name)
    text = yaml.safe_dump(config).encode() + SECTIONS_OF_TRAINING.encode()
    passed = archive.check(packed(tmp_path / "a.nemo", [(name, b"1") for name in members], text))
    expected = OmegaConf.to_container(OmegaConf.create(config), resolve=True)  # read a second time, by OmegaConf
    for section in ("preprocessor", "encoder", "transf_encoder", "transf_decoder", "head", "loss", "prompt_defaults"):
        assert passed[section] == expected[section]
    assert passed["encoder"]["d_model"] == config["model_defaults"]["asr_enc_hidden"]
    assert not {"optim", "train_ds", "validation_ds", "test_ds", "spec_augment", "multitask_metrics_cfg"} & {*passed}
    assert passed["restore_timestamps_model"] is False
    assert "$" not in str(passed) and "lustre" not in str(passed)


def test_yaml_is_read_as_omegaconf_reads_it(tmp_path):
    text = "a: 1e-5\nb: 0.1\nc: [-1, 2e3, 1E+2, 'no', yes, ~, 2024-01-01, 0x10, 1_000]\nd: &d {x: 1.0e-05}\ne: *d\n"
    (tmp_path / "a.yaml").write_text(text)
    config = archive_config._loaded("a.yaml", text.encode())
    assert config == OmegaConf.to_container(OmegaConf.load(tmp_path / "a.yaml"))


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (("../evil.txt", b"x"), "'../evil.txt', which leads out of its folder"),
        (("a/../../evil.txt", b"x"), "leads out of its folder"),
        (("/tmp/evil.txt", b"x"), "'/tmp/evil.txt', which leads out of its folder"),
        (("..\\evil.txt", b"x"), "leads out of its folder"),
        (special("link", tarfile.SYMTYPE, "/etc"), "'link', a symbolic link; expected plain files only"),
        (special("tokenizer.model", tarfile.LNKTYPE, "/etc/passwd"), "a hard link"),
        (special("pipe", tarfile.FIFOTYPE), "a device, pipe or sparse file"),
        (special("null", tarfile.CHRTYPE), "a device, pipe or sparse file"),
        (special("disk", tarfile.BLKTYPE), "a device, pipe or sparse file"),
        (("model_config.yaml", b"a: 1"), "'model_config.yaml' twice"),
        (("vocab.pkl", b"x"), "'vocab.pkl', which is no part of a Canary"),
        (("a_tokenizer.model.pkl", b"x"), "no part of a Canary"),
        (("other.yaml", b"x"), "no part of a Canary"),
        (("folder/a_tokenizer.model", b"x"), "no part of a Canary"),
        (("MODEL_CONFIG.YAML", b"x"), "no part of a Canary"),
        (("sitecustomize.py", b"x"), "no part of a Canary"),
        (special("folder", tarfile.DIRTYPE), "no part of a Canary"),
    ],
)
def test_a_member_that_is_no_plain_file_of_a_canary_is_refused(tmp_path, member, message):
    assert message in refused(packed(tmp_path / "a.nemo", [member]))


@pytest.mark.parametrize("key", ["_target_", "target", "cls"])
@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "builtins.eval",
        "nemo.collections.asr.parts.utils.diarization_utils.write_txt",  # NeMo itself would call it
        WRITER,
        "nemo.collections.asr.modules.os.system",
        "nemo.collections.common.tokenizers.os.system",
        "nemo.utils.exp_manager.exp_manager",
        "torch.nn.Linear",
        "nemo.collections.asr.modules.ConformerEncoder",  # known, but nothing of an encoder's layer
        "nemo.collections.asr.modules.ConformerEncoder.restore_from",
        "NEMO.collections.asr.modules.ConformerEncoder",
        ["os.system"],
    ],
)
def test_a_target_that_canary_is_not_made_of_is_refused_at_any_depth(tmp_path, key, target):
    config = GOOD | {"encoder": {"layers": [{"a": {key: target, "args": ["touch evil"]}}]}}
    message = refused(packed(tmp_path / "a.nemo", config=config))
    assert f"model_config.yaml: encoder.layers.0.a.{key} is {target!r}" in message and message.endswith("it is not run")


def test_a_class_of_another_section_and_one_that_another_key_names_are_refused(tmp_path):
    config = GOOD | {"encoder": {"_target_": "nemo.collections.asr.modules.SpectrogramAugmentation"}}
    assert "encoder._target_ is 'nemo" in refused(packed(tmp_path / "a.nemo", config=config))
    config = GOOD | {"encoder": {"_target_": "${name}"}, "name": "os.system"}
    assert "encoder._target_ is 'os.system', which is none" in refused(packed(tmp_path / "a.nemo", config=config))


def test_a_model_of_another_kind_is_refused_before_it_is_restored(tmp_path):
    config = GOOD | {"target": "nemo.collections.asr.models.EncDecCTCModelBPE"}
    assert "(is it a CTC or transducer checkpoint?)" in refused(packed(tmp_path / "a.nemo", config=config))


def test_the_second_model_of_canary_1b_v2_is_neither_looked_at_nor_unpacked(tmp_path):
    second = [
        ("timestamps_asr_model_config.yaml", b"encoder: {_target_: os.system}"),
        ("timestamps_asr_model_weights.ckpt", b"2"),
    ]
    with archive.unpacked(packed(tmp_path / "a.nemo", second)) as (folder, config):
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            "model_weights.ckpt": b"0",
            "abc_tokenizer.model": b"1",
        }
        assert config["restore_timestamps_model"] is False
    assert not folder.exists()


BOMB = "\n".join(["a0: &a0 [x, x]", *(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60))])
KEYS = "\n".join(["a0: [x, x]", *(f"a{i}: ['${{a{i - 1}}}', '${{a{i - 1}}}']" for i in range(1, 60))])
MERGES = "\n".join(["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}" for i in range(1, 60))])


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (b"a: !!python/object/apply:os.system [touch evil]", "not YAML that can be loaded safely"),
        (BOMB.encode(), "a few lines can stand for billions"),
        (KEYS.encode(), "a few lines can stand for billions"),
        (MERGES.encode(), "not YAML that can be loaded safely"),
        (b"a: &a [*a]", "a few lines can stand for billions"),
        (b"a: ${b}\nb: ${a}", "a few lines can stand for billions"),
        (b"[" * 5_000, "not YAML that can be loaded safely"),
        (b"\xff\xfe", "not YAML that can be loaded safely"),
        (b"a: 1\n---\nb: 1", "not YAML that can be loaded safely"),
        (b"a: 1\na: 2", "not YAML that can be loaded safely"),
        (b"yes: 1", "not YAML that can be loaded safely"),
        (b"- 1", "holds list, expected the model's configuration"),
        (b"", "holds NoneType, expected the model's configuration"),
        (b"a: !!binary b3Muc3lzdGVt", "is of type bytes"),
        (b"a: !!set {b}", "is of type set"),
        (GOOD | {"tokenizer": {"hf_kwargs": {"trust_remote_code": True}}}, "bring its own code"),
        (GOOD | {"tokenizer": {"trust_remote_code": True}}, "bring its own code"),
        (GOOD | {"tokenizer": {"model_path": "nemo:../../etc/passwd"}}, "is no file of the archive"),
        (GOOD | {"tokenizer": {"model_path": "/etc/passwd"}}, "is no file of the archive"),
        (GOOD | {"tokenizer": {"model_path": "nemo:model_weights.ckpt"}}, "is no file of the archive"),
        (GOOD | {"tokenizer": {"model_path": ["nemo:abc_tokenizer.model"]}}, "is no file of the archive"),
        (GOOD | {"tokenizer": {"dir": "/etc", "type": "bpe"}}, "tokenizer.dir '/etc', which is no file of the archive"),
        (GOOD | {"tokenizer": {"dir": "/etc", "type": "agg"}}, "tokenizer.dir is '/etc', expected null"),
        (
            GOOD | {"tokenizer": {"type": "agg", "langs": {"en": {"dir": "/etc", "type": "bpe"}}}},
            "dir '/etc', which is",
        ),
        (GOOD | {"tokenizer": {"dir": "/etc", "type": "wpe"}}, "type is 'wpe', expected 'bpe' or 'agg'"),
        (GOOD | {"tokenizer": {"dir": "${oc.env:HOME}"}}, "it is not run"),
        (GOOD | {"spec_augment": "${ oc.create:{_target_: x}}"}, "it is not run"),
        (GOOD | {"spec_augment": "${\toc.env:HOME}"}, "it is not run"),
        (GOOD | {"spec_augment": "${${x}.env:HOME}", "x": "oc"}, "it is not run"),
        (GOOD | {"spec_augment": "${.x}"}, "it is not run"),
        (GOOD | {"spec_augment": "${nothing.here}"}, "names no key of the configuration"),
        (GOOD | {"${oc.env:HOME}": 1}, "is a key with other signs"),
        (GOOD | {"init_from_nemo_model": "other.nemo"}, "take weights from elsewhere"),
        (GOOD | {"init_from_pretrained_model": {"a": {"name": "b"}}}, "take weights from elsewhere"),
        (GOOD | {"decoding": {"beam": {"ngram_lm_model": "/tmp/lm.arpa"}}}, "expected plain text and no path"),
        (GOOD | {"decoding": {"beam": {"max_generation_delta": "5"}}}, "expected a whole number"),
        (GOOD | {"prompt_format": "llama3"}, "prompt_format is 'llama3'"),
    ],
)
def test_a_configuration_with_tricks_is_refused(tmp_path, config, message):
    began = time.monotonic()
    assert message in refused(packed(tmp_path / "a.nemo", config=config))
    assert time.monotonic() - began < 10.0


def test_sections_of_the_training_are_left_out_whatever_they_hold(tmp_path):
    text = yaml.safe_dump(GOOD).encode()
    evil = b"optim: {_target_: os.system, a: !!python/object/apply:os.system [touch evil]}\n"
    for sections in (SECTIONS_OF_TRAINING.encode(), evil):
        assert archive.check(packed(tmp_path / "a.nemo", config=text + sections)) == archive.check(
            packed(tmp_path / "b.nemo")
        )


def test_what_is_put_in_the_archives_place_after_the_check_is_not_read(tmp_path, monkeypatch):
    path, other = packed(tmp_path / "a.nemo"), tmp_path / "other.nemo"
    repacked(packed(tmp_path / "b.nemo"), other, {"model_weights.ckpt": b"9", "abc_tokenizer.model": b"9"})
    read = archive_config.read

    def read_and_replace(*arguments):
        config = read(*arguments)
        other.replace(path)
        return config

    monkeypatch.setattr(archive_config, "read", read_and_replace)
    with archive.unpacked(path) as (folder, _):
        assert (folder / "model_weights.ckpt").read_bytes() == b"0"
        assert (folder / "abc_tokenizer.model").read_bytes() == b"1"
    assert not other.exists()


def test_bombs_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "LARGEST", 1 << 20)
    assert "(a bomb?)" in refused(packed(tmp_path / "a.nemo", [("zeros.txt", bytes(2 << 20))], mode="w:gz"))
    assert (tmp_path / "a.nemo").stat().st_size < 10_000
    monkeypatch.setattr(archive, "MOST_MEMBERS", 10)
    assert "(a bomb?)" in refused(packed(tmp_path / "a.nemo", [(f"{i}.txt", b"") for i in range(20)]))
    monkeypatch.setattr(archive, "LARGEST_CONFIG", 100)
    assert "expected at most 100" in refused(packed(tmp_path / "a.nemo"))


def test_what_is_cut_short_or_compressed_badly_is_refused(tmp_path):
    whole = packed(tmp_path / "a.nemo").read_bytes()
    (tmp_path / "a.nemo").write_bytes(whole[:700])
    assert "not a .nemo archive" in refused(tmp_path / "a.nemo")
    squeezed = gzip.compress(whole)
    for damaged in (squeezed[: len(squeezed) // 2], squeezed[:40] + b"\0" * 40 + squeezed[80:]):
        (tmp_path / "a.nemo").write_bytes(damaged)
        assert "not a .nemo archive" in refused(tmp_path / "a.nemo")
    (tmp_path / "a.nemo").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    assert "not a .nemo archive" in refused(tmp_path / "a.nemo")


@pytest.mark.parametrize("value", ["1", "y", "YES", "true", "on", " 1", "2"])
def test_an_environment_that_lets_weights_run_code_is_refused(tmp_path, monkeypatch, value):
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", value)
    assert "is set, so the weights in" in refused(packed(tmp_path / "a.nemo"))

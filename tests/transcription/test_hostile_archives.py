"""Hostile .nemo archives: no spelling of a payload passes or runs, alone or through NeMo."""

import contextlib
import os
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from omegaconf.basecontainer import BaseContainer

from pipeline_lib.errors import InputError
from pipeline_lib.params.transcription import CanarySettings
from pipeline_lib.transcription import archive, archive_config
from tests.transcription.archives import WRITER, packed, repacked, variants

DEMO = Path("models/demo/canary.nemo")


def no_variant_passes_or_runs(folder: Path, count: int) -> None:
    """Check ``count`` spellings of ten payloads; each is refused, no resolver is called and no file is written."""
    called: list[str] = []
    before = dict(BaseContainer._resolvers)
    try:
        for name in ("oc.env", "oc.create", "mark"):
            OmegaConf.register_new_resolver(name, lambda *_, name=name: called.append(name), replace=True)
        for name, text in variants(count, str(folder / "ran")):
            with pytest.raises(InputError):
                archive.check(packed(folder / "a.nemo", config=text))
                pytest.fail(f"{name} passes: {text!r}")
        assert not called and [path.name for path in folder.iterdir()] == ["a.nemo"]
        for _, text in variants(100, str(folder / "ran")):  # the traps work: OmegaConf alone calls them
            try:
                OmegaConf.to_container(OmegaConf.create(yaml.safe_load(text.decode())), resolve=True)
            except Exception:  # many spellings are no YAML or no interpolation
                continue
        assert {"oc.env", "oc.create", "mark"} <= {*called}
    finally:
        BaseContainer._resolvers.clear()
        BaseContainer._resolvers.update(before)


def test_a_hundred_spellings_of_payloads_are_refused_and_not_run(tmp_path):
    no_variant_passes_or_runs(tmp_path, 100)


@pytest.mark.acceptance
def test_two_thousand_spellings_of_payloads_are_refused_and_not_run(tmp_path):
    no_variant_passes_or_runs(tmp_path, 2_000)


# through NeMo


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.place = folder

    def __reduce__(self):
        return os.system, (f"touch {self.place}",)


def test_weights_that_are_a_pickle_with_code_are_refused_and_not_run(tmp_path):
    import torch

    from pipeline_lib.transcription.canary import Canary

    torch.save({"encoder.weight": Evil(tmp_path / "evil")}, tmp_path / "weights")
    repacked(DEMO, tmp_path / "a.nemo", {"model_weights.ckpt": (tmp_path / "weights").read_bytes()})
    with pytest.raises(InputError, match="a.nemo cannot be restored by NeMo: Weights only load failed"):
        Canary(CanarySettings(checkpoint=str(tmp_path / "a.nemo")), "cpu")
    assert not (tmp_path / "evil").exists()
    torch.load(tmp_path / "weights", weights_only=False)  # the file is what it should be: the trap works
    assert (tmp_path / "evil").exists()


def test_a_payload_that_nemo_runs_is_refused_and_not_run(tmp_path):
    from nemo.collections.asr.models import EncDecMultiTaskModel

    from pipeline_lib.transcription.canary import Canary

    manifest = "[{stages: {honest: {cmd: touch ran}}}]"
    create = f"{{_target_: {WRITER}, _convert_: all, output_path: {tmp_path / 'ran'}, target_manifest: {manifest}}}"
    payload = {"spec_augment": f"${{ oc.create:{create}}}"}
    change = {"model_config.yaml": lambda text: yaml.safe_dump(yaml.safe_load(text) | payload).encode()}
    path = repacked(DEMO, tmp_path / "a.nemo", change)
    with pytest.raises(InputError, match="spec_augment is .*; it is not run"):
        Canary(CanarySettings(checkpoint=str(path)), "cpu")
    assert not (tmp_path / "ran").exists()
    with contextlib.suppress(Exception):  # what the function returns is no augmentation
        EncDecMultiTaskModel.restore_from(str(path), map_location="cpu")  # the trap works
    assert "touch ran" in (tmp_path / "ran").read_text()


def test_every_class_on_the_list_is_there():
    from importlib import import_module

    for names in (archive_config.MODELS, *archive_config.CLASSES.values()):
        for name in names:
            module, _, attribute = name.rpartition(".")
            assert callable(getattr(import_module(module), attribute)), name

"""Two processes, as two GPUs would be, over gloo on the CPU; and what accelerate is launched with."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from pipeline_lib.errors import InputError
from pipeline_lib.finetuning.checkpoints import State
from pipeline_lib.finetuning.processes import accelerator_of, check_same_start
from pipeline_lib.tables import manifest, predictions, transcripts
from tests.finetuning import corpora
from tests.finetuning.launched import train
from tests.finetuning.test_folds import N_FOLDS, with_folds

RECIPES = Path("pipeline_lib/recipes/accelerate")
SHORT = {"phases": {"only": {"epochs": 1}}}  # four steps
SCORED = {"head": {"kind": "sequence_classification"}}
STILL = {"adaptation": {"lora": {"lora_dropout": 0.0}}}  # nothing is random, no batch norm
BOTH = {"targets": {"attributes": ["arousal", "valence"]}, "losses": {"concordance": 1.0}}
AVERAGED = {"phases": {"only": {"ema_decay": 0.5}}, "augmentation": {"mixing": {"probability": 0.5}}}


def write(folder: Path, tones, **experts) -> Path:
    """Write what the stage reads and return the folder."""
    folder.mkdir()
    entries = {name: entry.model_dump() for name, entry in experts.items()}
    YAML().dump({"corpus": {"root": str(tones.root)}, "finetuning": entries}, folder / "params.yaml")
    (folder / "machine.yaml").write_text("device: cpu\nfinetuning: {save_steps: 1}\n")
    manifest.write(folder / "manifest.parquet", tones.corpus)
    metadata = {"engine": "none", "checkpoint": "", "decoding": {}}
    transcripts.write(folder / "transcripts.parquet", tones.corpus.ids, tones.texts, **metadata)
    return folder


def launch(*runs: tuple[Path, str, int]) -> subprocess.CompletedProcess:
    """Run experts, each by folder, name and the step that a process is killed after, in two processes."""
    several = [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "tests.finetuning.launched",
    ]
    command = [sys.executable, *several, *(str(part) for run in runs for part in run)]
    return subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)


def outputs(folder: Path, expert: str) -> dict[str, bytes]:
    files = [*(folder / "models" / expert).iterdir(), folder / "curves" / f"{expert}.csv"]
    return {file.name: file.read_bytes() for file in [*files, folder / "predictions" / f"{expert}.parquet"]}


@pytest.mark.acceptance
def test_two_processes_train_one_expert_and_go_on_after_a_kill(tones, tmp_path):
    audio = corpora.settings(tones.w2v_bert, "audio", **corpora.merged(SHORT, AVERAGED), **BOTH)
    several = corpora.merged(BOTH, {"losses": {"class_weights": "balanced"}})
    text = corpora.settings(tones.llama, "text", **SHORT, **SCORED, **STILL, **several)
    sparing = corpora.settings(tones.llama_wide, "text", **SHORT, **SCORED, **STILL, encoder={"weights": "nf4"})
    whole = write(tmp_path / "whole", tones, audio=audio, text=text, sparing=sparing)
    killed = write(tmp_path / "killed", tones, audio=audio)
    first = launch((whole, "audio", 0), (whole, "text", 0), (whole, "sparing", 0), (killed, "audio", 2))
    assert "exitcode  : 9" in first.stderr, first.stderr
    assert not (killed / "models").exists()
    for expert in ("audio", "text", "sparing"):
        one, other = (load_file(whole / f"{expert}_{rank}.safetensors") for rank in (0, 1))
        assert one.keys() == other.keys()
        assert [key for key in one if not torch.equal(one[key], other[key])] == []
        result = predictions.read(whole / "predictions" / f"{expert}.parquet")
        assert result.utterance_ids.tolist() == tones.corpus.ids.tolist()

    resumed = launch((killed, "audio", 0))
    assert resumed.returncode == 0, resumed.stderr
    assert resumed.stderr.count("going on after step") == 1
    assert outputs(killed, "audio") == outputs(whole, "audio")

    # two halves of each batch train what the whole batch does, losses of all utterances together too
    alone = write(tmp_path / "alone", tones, text=text, sparing=sparing)
    for expert, tolerance in (("text", 1e-4), ("sparing", 0.02)):  # 4 bit computes in bfloat16
        train(alone, expert, 0)
        tables = [predictions.read(folder / "predictions" / f"{expert}.parquet") for folder in (whole, alone)]
        np.testing.assert_allclose(tables[0].posterior, tables[1].posterior, atol=tolerance)


@pytest.mark.acceptance
def test_two_processes_train_a_joint_expert_where_one_may_lack_a_modality(tones, tmp_path):
    lora = {"adaptation": {"method": "lora", "lora": {"lora_dropout": 0.0}}}
    changes = {"branches": {"text": lora}, "mixer": {"kind": "shared_transformer"}, "cache_embeddings": True}
    settings = corpora.joint(tones, **SHORT, **changes, losses={"contrastive": 0.1, "reconstruction": 0.1})
    texts = ["" if i % 6 else text for i, text in enumerate(tones.texts)]
    tones = SimpleNamespace(**{**vars(tones), "texts": texts})
    folder = write(tmp_path / "two", tones, joint=settings)
    launched = launch((folder, "joint", 0))
    assert launched.returncode == 0, launched.stderr
    one, other = (load_file(folder / f"joint_{rank}.safetensors") for rank in (0, 1))
    assert [key for key in one if not torch.equal(one[key], other[key])] == []
    assert len(predictions.read(folder / "predictions_alone" / "joint" / "text.parquet").utterance_ids) == 8


@pytest.mark.acceptance
def test_two_processes_train_a_joint_expert_with_folds(tones, tmp_path):
    lora = {"adaptation": {"method": "lora", "lora": {"lora_dropout": 0.0}}}
    settings = corpora.joint(tones, **SHORT, branches={"text": lora}).model_copy(update={"folds": True})
    tones = SimpleNamespace(**{**vars(tones), "corpus": with_folds(tones.corpus)})
    two, alone = (write(tmp_path / name, tones, joint=settings) for name in ("two", "alone"))
    launched = launch((two, "joint", 0))
    assert launched.returncode == 0, launched.stderr
    train(alone, "joint", 0)
    for path in ("predictions/joint", "predictions_alone/joint/audio", "predictions_alone/joint/text"):
        tables = [predictions.read(folder / f"{path}.parquet") for folder in (two, alone)]
        assert tables[0].utterance_ids.tolist() == tones.corpus.ids.tolist()
        np.testing.assert_allclose(tables[0].posterior, tables[1].posterior, atol=1e-4)
    names = {path.name for path in (two / "models" / "joint").iterdir()}
    assert names == {"folds.json", *(f"fold{fold}" for fold in range(N_FOLDS))}


@pytest.mark.parametrize(
    ("name", "value"), [("FSDP", "true"), ("DEEPSPEED", "yes"), ("DEEPSPEED", "ON"), ("MEGATRON_LM", "t")]
)
def test_networks_in_shards_are_refused(tones, name, value, monkeypatch):
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", value)
    with pytest.raises(
        InputError, match=r"is not supported: a 70-B model in 4 bit is 36 GB .* use .*accelerate/ddp.yaml"
    ):
        accelerator_of(corpora.settings(tones.llama, "text", **SCORED), "cpu")


class Two:
    """Two processes of which the other one found no checkpoint."""

    num_processes = 2


def test_processes_that_see_different_checkpoints_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline_lib.finetuning.processes.gather_object", lambda mine: [*mine, (0, 0, 0)])
    check_same_start(Two(), State(), tmp_path)
    with pytest.raises(
        InputError, match=r"would go on after steps \[7, 0\]: .* is not the same folder for all of them"
    ):
        check_same_start(Two(), State(total=7), tmp_path)


@pytest.mark.parametrize(("name", "machines", "processes"), [("ddp", 1, 2), ("ddp_two_machines", 2, 8)])
def test_accelerate_understands_its_configuration_files(name, machines, processes):
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.utils import DistributedType

    config = load_config_from_file(str(RECIPES / f"{name}.yaml"))
    assert config.distributed_type == DistributedType.MULTI_GPU
    assert (config.num_machines, config.num_processes, config.mixed_precision) == (machines, processes, "no")
    assert not config.use_cpu

"""Warnings where a run would mix devices or precisions: which artifacts, what the others have, the fix."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipeline_lib.doctor import mixing
from pipeline_lib.params.check import read_all
from pipeline_lib.params.machine import MachineSettings
from pipeline_lib.storage import checksummed_json
from pipeline_lib.tables import embeddings, predictions, transcripts
from pipeline_lib.tables.origin import Origin
from pipeline_lib.tables.predictions import Predictions
from tests.recipes.laid_down import YAML12, filled, overlaid, text

BOTH = """
finetuning:
  both: {like: joint, cache_embeddings: true, branches: {text: {embedding: data/embeddings/text}}}
"""
AUTO = MachineSettings()
FLOAT32, HALF = "float32", "float32 under bfloat16 autocast"


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Stand in an empty folder and return the sections of the default recipe."""
    monkeypatch.chdir(tmp_path)
    return read_all(YAML12.load(text("default")))


def machine(**values):
    return MachineSettings.parse(values, "")


def embedded(name, device, precision=FLOAT32):
    info = embeddings.Info("b", "b", None, "text", 4, None, (), "mean", False, 0, 0, device, precision)
    with embeddings.writing(Path("data/embeddings") / name, info):
        pass


def predicted(name, device, precision=FLOAT32, trained=FLOAT32):
    """Write an expert's table, and what check reads of its settings."""
    ids, posterior = np.array(["a"], dtype=object), np.ones((1, 1))
    table = Predictions(ids, name, ("joy",), posterior, device=device, precision=precision)
    predictions.write(Path("data/predictions") / f"{name}.parquet", table)
    folder = Path("models") / name
    folder.mkdir(parents=True)
    named = {} if device is None else {"device": device, "precision": trained}
    (folder / "settings.json").write_text(checksummed_json.dumps({"modality": name, **named}))


def test_nothing_is_mixed_in_an_empty_folder_and_where_all_was_made_alike(project):
    for settings in (AUTO, machine(device="cpu")):
        assert mixing.mixtures(project, settings) == []
    for name in ("audio", "text"):
        embedded(name, "cpu")
        predicted(name, "cpu")
    for settings in (AUTO, machine(device="cpu")):
        assert mixing.mixtures(project, settings) == []


def test_files_of_older_code_and_reference_transcripts_are_not_compared(project):
    predicted("audio", "cuda")
    predicted("text", None, None)
    transcripts.write(Path("data/transcripts.parquet"), ["a"], ["x"], engine="reference", checkpoint="", decoding={})
    assert mixing.mixtures(project, AUTO) == []


def test_experts_of_different_devices_that_are_fused_are_named_with_the_fix(project):
    predicted("audio", "cuda", trained=HALF)
    predicted("text", "cpu")
    (sentence,) = mixing.mixtures(project, AUTO)
    assert sentence == (
        "what fusion and scoring read together comes from different devices, cpu (models/text,"
        " data/predictions/text.parquet), cuda (models/audio, data/predictions/audio.parquet): results differ by"
        " rounding, within the tolerances that docs/machine.md states; make one side again (dvc repro -f -s"
        " finetuning@audio, with device: cpu in machine.yaml)"
    )


def test_trainings_of_different_precision_are_named_unless_params_request_it(project):
    predicted("audio", "cuda", trained=HALF)
    predicted("text", "cuda", trained=FLOAT32)
    (sentence,) = mixing.mixtures(project, AUTO)
    assert sentence.startswith(
        "what fusion and scoring read together comes from different precisions, float32 (models/text), float32 under"
        " bfloat16 autocast (models/audio): results differ by rounding,"
    )
    assert sentence.endswith("(dvc repro -f -s finetuning@audio) on a machine that computes in float32")
    values = YAML12.load(text("default"))
    values["finetuning"]["text"]["precision"] = "float32"
    assert mixing.mixtures(read_all(values), AUTO) == []


def test_a_quantised_encoder_beside_one_in_float32_is_no_mixture(project):
    predicted("audio", "cuda", trained=FLOAT32)
    predicted("text", "cuda", "nf4", "nf4")
    assert len(mixing.mixtures(project, AUTO)) == 2  # params name float32 for both
    values = YAML12.load(text("default"))
    values["finetuning"]["text"]["encoder"]["weights"] = "nf4"
    assert mixing.mixtures(read_all(values), AUTO) == []


def test_what_this_machine_would_make_is_compared_with_what_is_there(project):
    embedded("audio", "cuda")
    predicted("audio", "cuda")
    assert mixing.mixtures(project, AUTO) == mixing.mixtures(project, machine(device="cuda")) == []
    one, two = mixing.mixtures(project, machine(device="cpu"))
    assert one == (
        "data/embeddings/audio was made on cuda, and what is missing (data/embeddings/text) would be made here on cpu,"
        " the device of embedding in machine.yaml: results differ by rounding, within the tolerances that"
        " docs/machine.md states; make again here what was made elsewhere (dvc repro -f -s embedding@audio), or set"
        " embedding.device to cuda in machine.yaml"
    )
    assert two.startswith(
        "models/audio, data/predictions/audio.parquet were made on cuda, and what is missing (models/text,"
        " data/predictions/text.parquet) would be made here on cpu, the device of finetuning"
    )
    assert mixing.mixtures(project, machine(device="cuda", finetuning={"device": "cpu"})) == [two]
    embedded("text", "cuda")
    predicted("text", "cuda")
    assert all(
        "and what has changed would be made here on cpu" in each
        for each in mixing.mixtures(project, machine(device="cpu"))
    )


def test_an_artifact_whose_shards_came_from_two_devices_is_named_alone(project):
    origin = Origin("cpu, cuda", FLOAT32)
    transcripts.write(
        Path("data/transcripts.parquet"), ["a"], ["x"], engine="c", checkpoint="", decoding={}, origin=origin
    )
    predicted("audio", "cpu, cuda")
    predicted("text", "cpu")
    sentences = mixing.mixtures(project, AUTO)
    assert [each.split(" was itself made in parts on cpu, cuda: ")[0] for each in sentences] == [
        "data/transcripts.parquet",
        "models/audio",
        "data/predictions/audio.parquet",
    ]
    assert sentences[0].endswith("make it again on one device (dvc repro -f -s transcription)")
    assert sentences[1].endswith("(dvc repro -f -s finetuning@audio)")


def test_an_embedding_that_a_branch_reads_is_compared_with_the_expert(project):
    joint = read_all(filled(overlaid(BOTH)))
    embedded("text", "cuda")
    assert mixing.mixtures(joint, AUTO) == []
    (sentence,) = mixing.mixtures(joint, machine(finetuning={"device": "cpu"}))
    assert sentence.startswith(
        "data/embeddings/text was made on cuda, and the expert 'both', which is trained on it, would be trained on cpu,"
        " the device of finetuning in machine.yaml: "
    )
    predicted("both", "cpu")
    (sentence,) = mixing.mixtures(joint, machine(finetuning={"device": "cpu"}))
    assert sentence.startswith(
        "what finetuning of 'both' reads and makes comes from different devices, cpu (models/both,"
        " data/predictions/both.parquet), cuda (data/embeddings/text): "
    )
    assert sentence.endswith("(dvc repro -f -s embedding@text, with device: cpu in machine.yaml)")


def test_a_damaged_artifact_is_named_and_fails_nothing(project, capsys):
    predicted("audio", "cuda")
    predicted("text", "cpu")
    Path("data/predictions/text.parquet").write_bytes(b"PAR1 no more")
    Path("models/audio/settings.json").write_text("{")
    Path("data/embeddings/text").mkdir(parents=True)  # without embedding.json
    mixing.warn(project, AUTO)
    lines = capsys.readouterr().err.splitlines()
    unknown = [each for each in lines if each.startswith("warning: the device that ")]
    assert [each.split()[4] for each in unknown] == [
        "data/embeddings/text",
        "models/audio",
        "data/predictions/text.parquet",
    ]
    assert lines[len(unknown) :] and all("comes from different devices" in each for each in lines[len(unknown) :])


def test_the_stage_and_the_command_warn_and_succeed_without_torch(project, tmp_path):
    root = Path(__file__).parents[2]
    values = YAML12.load(text("default"))
    values["corpus"]["root"] = "data/demonstration/english"
    for file, content in (("params.yaml", values), ("machine.yaml", {"embedding": {"device": "cpu"}})):
        YAML12.dump(content, tmp_path / file)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "demo").symlink_to(root / "models" / "demo")
    embedded("audio", "cuda")
    source = (
        f"import sys; sys.path.insert(0, {str(root)!r})\n"
        "from stages.check import main; from pipeline_lib.cli import _check\n"
        "main(); _check(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", source], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "params.yaml can be run\nFalse\n"
    lines = done.stderr.splitlines()
    assert len(lines) == 2 and lines[0] == lines[1]
    assert lines[0].startswith("warning: data/embeddings/audio was made on cuda, and what is missing")
    assert (tmp_path / "data" / "check.txt").read_text() == "params.yaml can be run\n"

"""The doctor on an installation, parameters and a corpus with one fault at a time, and its command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from pipeline_lib.doctor import installation, project
from pipeline_lib.doctor.examine import diagnose
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import read_params
from pipeline_lib.params.check import read_all
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.tables import manifest
from pipeline_lib.tables.manifest import Manifest
from tests.doctor.results import states

DEFAULT = Path("pipeline_lib/recipes/default.yaml").resolve()


def test_a_drifted_and_a_missing_package_are_reported(place):
    here = np.__version__
    pinned = (
        f"numpy==1.0.0\nnot-there==1.0\n# a comment\nscipy=={_version('scipy')}\nno-stage==1\nno-asr==1\nno-ray==1\n"
    )
    (place / "constraints.txt").write_text(pinned)
    extras = 'pipeline = ["no_stage>=1"]\nasr = ["No_ASR[x]>=1"]\ncluster = ["no-ray"]\n'
    needed = '[project]\ndependencies = ["numpy>=2", "not_there[x]>=1"]\n'
    (place / "pyproject.toml").write_text(f"{needed}[project.optional-dependencies]\n{extras}")
    results = list(installation.installation(place))
    assert [(result.state, result.message) for result in results[1:]] == [
        ("problem", "not installed: not-there, no-stage"),
        ("warning", "not installed: no-asr, which transcription.engine canary needs"),
        ("warning", f"numpy {here} (tested: 1.0.0)"),
    ]


def _version(name: str) -> str:
    from importlib.metadata import version

    return version(name)


def test_the_machine_is_described_and_a_device_that_it_lacks_is_a_problem():
    assert states(installation.hardware())["device"] in {"ok", "warning"}
    assert states(installation.hardware("mps"))["device"] == "problem"


def test_every_mistake_of_the_parameters_is_a_line(place):
    text = (place / "params.yaml").read_text()
    (place / "params.yaml").write_text(
        text.replace("method: plda", "method: guess", 1).replace("seed: 1", "seed: -1", 1)
    )
    params, found = project.parameters(place / "params.yaml")
    assert params is None and len(found) >= 2 and {each.state for each in found} == {"problem"}


def corpus(root: Path, n: int = 5) -> CorpusSettings:
    root.mkdir(exist_ok=True)
    for i in range(n):
        soundfile.write(root / f"{i}.wav", 0.3 * np.sin(np.arange(8_000) * (0.1 + 0.01 * i)), 16_000)
    return CorpusSettings(reader="ravdess", root=str(root))


def test_a_sample_of_the_corpus_is_decoded(tmp_path):
    settings = corpus(tmp_path / "corpus")
    (found,) = project.corpus(settings, False, tmp_path / "none")
    assert found.state == "ok" and "5 recordings tried" in found.message
    (tmp_path / "corpus" / "2.wav").write_bytes(b"RIFF")
    (found,) = project.corpus(settings, False, tmp_path / "none")
    assert found.state == "warning" and found.message.startswith("1 of 5 tried recordings: ")


def test_of_a_long_recording_the_parts_are_tried_that_the_manifest_names(tmp_path):
    settings = corpus(tmp_path / "corpus", 1).model_copy(update={"reader": "table", "max_duration_s": 0.3})
    (tmp_path / "corpus" / "corpus.csv").write_text("audio\n")
    (found,) = project.corpus(settings, False, tmp_path / "none")
    assert found.state == "ok"  # the recording is too long, the table may name parts of it
    rows = {"utterance_id": ["a", "b", "c"], "audio": ["0.wav", "0.wav", None]}
    frame = pd.DataFrame(rows | {"start_s": [0.0, 0.2, np.nan], "end_s": [0.2, 0.5, np.nan]})
    frame = frame.reindex(columns=manifest.SCHEMA.names).assign(split="train", subsets=[[]] * 3)
    manifest.write(tmp_path / "m.parquet", Manifest(frame, "x", ("a", "b")))
    (found,) = project.corpus(settings, False, tmp_path / "m.parquet")
    assert found.state == "ok" and "2 recordings tried" in found.message
    manifest.write(tmp_path / "m.parquet", Manifest(frame.assign(end_s=[0.2, 1.5, np.nan]), "x", ("a", "b")))
    (found,) = project.corpus(settings, False, tmp_path / "m.parquet")
    assert found.state == "warning" and "behind the recording's end" in found.message


def test_a_corpus_that_is_not_there_is_a_problem_unless_a_stage_makes_it(tmp_path):
    settings = CorpusSettings(reader="ravdess", root=str(tmp_path / "away"))
    assert [each.state for each in project.corpus(settings, False, tmp_path)] == ["problem"]
    assert [each.state for each in project.corpus(settings, True, tmp_path)] == ["ok"]


def test_the_estimate_is_utterances_times_layers_times_width_times_two_bytes_twice(tmp_path, monkeypatch):
    params = read_all(read_params(DEFAULT))
    entry = params.embedding["audio"]
    checkpoint = tmp_path / "encoder"
    checkpoint.mkdir()
    (checkpoint / "config.json").write_text(json.dumps({"num_hidden_layers": 24, "hidden_size": 1024}))
    entry = entry.model_copy(update={"encoder": entry.encoder.model_copy(update={"checkpoint": str(checkpoint)})})
    only = params.__class__(**{**vars(params), "embedding": {"audio": entry}, "finetuning": {}})
    monkeypatch.setattr(project, "_extent", lambda *_: (1_000, 5_000.0))
    assert project.estimate(only, tmp_path / "data" / "manifest.parquet") == (2 * 2 * 25 * 1024 * 1_000, [])
    (tmp_path / "data" / "embeddings" / "audio").mkdir(parents=True)
    assert project.estimate(only, tmp_path / "data" / "manifest.parquet") == (0, [])
    monkeypatch.setattr(project, "estimate", lambda *_: (1e18, []))
    (found,) = project.disk(tmp_path, only, tmp_path)
    assert found.state == "problem" and "about 1000000000.0 GB" in found.message


def test_the_estimate_of_an_expert_with_folds_has_its_checkpoints_once_and_each_model_twice(tmp_path):
    params = read_all(read_params(DEFAULT))
    weights = sum(file.stat().st_size for file in Path("models/demo/w2v_bert").iterdir())
    full = params.finetuning["audio"].adaptation.model_copy(update={"method": "full"})
    audio = params.finetuning["audio"].model_copy(update={"adaptation": full})
    table = tmp_path / "data" / "manifest.parquet"

    def of(expert, k=5):
        folds = params.corpus.split.folds.model_copy(update={"k": k})
        corpus = params.corpus.model_copy(update={"split": params.corpus.split.model_copy(update={"folds": folds})})
        changed = {"corpus": corpus, "embedding": {}, "finetuning": {"audio": expert}}
        return project.estimate(params.__class__(**{**vars(params), **changed}), table)

    folded = audio.model_copy(update={"folds": True})
    assert of(audio) == (8 * weights, [])
    assert of(folded) == ((7 + 2 * 5) * weights, [])
    assert of(folded, "loso") == (0, ["finetuning.audio (folds: loso)"])
    frozen = full.model_copy(update={"method": "frozen"})
    assert of(audio.model_copy(update={"adaptation": frozen})) == (0, [])


def doctor(place: Path, *options: str) -> subprocess.CompletedProcess:
    env = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pipeline_lib.cli", "doctor", *options]
    return subprocess.run(command, cwd=place, capture_output=True, text=True, env=env, check=False)


def test_the_command_fails_on_a_problem_fixes_it_and_then_succeeds(place):
    (place / "models").symlink_to(Path("models").resolve())
    (place / ".dvc" / "tmp" / "rwlock").write_text("")
    first = doctor(place)
    assert first.returncode == 1 and "blocks every dvc repro" in first.stdout and not first.stderr
    assert (place / ".dvc" / "tmp" / "rwlock").exists()
    fixed = doctor(place, "--fix")
    assert fixed.returncode == 0 and "DVC's rwlock: removed" in fixed.stdout, fixed.stdout + fixed.stderr


def test_what_blocks_dvc_is_fixed_alone_and_where_all_is_well_nothing_is_printed(place):
    well = doctor(place, "--dvc-only", "--fix")
    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")
    (place / ".dvc" / "tmp" / "rwlock").write_text("")
    fixed = doctor(place, "--dvc-only", "--fix")
    assert fixed.returncode == 0 and "DVC's rwlock: removed" in fixed.stdout and "Python" not in fixed.stdout
    (place / "dvc.yaml").write_text("<<<<<<< ours\n")
    assert doctor(place, "--dvc-only", "--fix").returncode == 1


def test_ending_orphans_without_fixing_is_refused():
    with pytest.raises(InputError, match="--end-orphans is used without --fix: add --fix"):
        diagnose(end_orphans=True)

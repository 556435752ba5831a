"""The doctor on a project with one fault at a time, and its fixes."""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import soundfile

from pipeline_lib.doctor import installation, leftovers, processes, project, repository
from pipeline_lib.doctor.examine import diagnose
from pipeline_lib.errors import InputError
from pipeline_lib.params.base import read_params
from pipeline_lib.params.check import read_all
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.tables import manifest
from pipeline_lib.tables.manifest import Manifest

DEFAULT = Path("pipeline_lib/recipes/default.yaml").resolve()


@pytest.fixture
def place(tmp_path) -> Path:
    """Return a project with parameters and an orderly DVC."""
    (tmp_path / ".dvc" / "tmp").mkdir(parents=True)
    (tmp_path / ".dvc" / "tmp" / "rwlock").write_text("{}")
    shutil.copy(DEFAULT, tmp_path / "params.yaml")
    (tmp_path / "dvc.yaml").write_text("stages: {}\n")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
    return tmp_path


def by_check(findings) -> dict:
    return {each.check: each for each in findings}


def states(findings) -> dict[str, str]:
    return {each.check: each.state for each in findings}


def test_an_orderly_repository_has_nothing_to_fix(place):
    found = list(repository.repository(place))
    assert {each.state for each in found} == {"ok"} and not any(each.fix for each in found)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"other": {}}'])
def test_an_empty_or_damaged_rwlock_is_a_problem_and_removed(place, content):
    path = place / ".dvc" / "tmp" / "rwlock"
    path.write_text(content)
    finding = by_check(repository.repository(place))["DVC's rwlock"]
    assert finding.state == "problem" and "blocks every dvc repro" in finding.message
    assert finding.fix() == f"removed {path}" and not path.exists()


def test_dvc_itself_is_blocked_by_an_empty_rwlock_and_runs_after_the_fix(tmp_path):
    dvc = [str(Path(sys.executable).with_name("dvc"))]
    quiet = {"cwd": tmp_path, "capture_output": True, "env": {**os.environ, "DVC_NO_ANALYTICS": "1"}}
    subprocess.run([*dvc, "init", "--no-scm", "-q"], check=True, **quiet)
    (tmp_path / "dvc.yaml").write_text("stages:\n  a:\n    cmd: touch out\n    outs: [out]\n")
    (tmp_path / ".dvc" / "tmp").mkdir(exist_ok=True)
    (tmp_path / ".dvc" / "tmp" / "rwlock").touch()
    assert subprocess.run([*dvc, "repro", "-q"], check=False, **quiet).returncode != 0
    by_check(repository.repository(tmp_path))["DVC's rwlock"].fix()
    subprocess.run([*dvc, "repro", "-q"], check=True, **quiet)


@pytest.mark.parametrize(
    "end",
    [pytest.param("", marks=pytest.mark.acceptance), "  b:", pytest.param("path: b", marks=pytest.mark.acceptance)],
)
def test_a_lock_file_cut_by_a_kill_is_put_aside_and_no_stage_runs_again(tmp_path, end):
    dvc = [str(Path(sys.executable).with_name("dvc"))]
    quiet = {"cwd": tmp_path, "capture_output": True, "env": {**os.environ, "DVC_NO_ANALYTICS": "1"}, "check": True}
    subprocess.run([*dvc, "init", "--no-scm", "-q"], **quiet)
    lines = [f"  {name}:\n    cmd: echo ran >> log && echo {name} > {name}\n    outs: [{name}]\n" for name in "ab"]
    (tmp_path / "dvc.yaml").write_text("stages:\n" + "".join(f"{line}    deps: [source]\n" for line in lines))
    (tmp_path / "source").touch()
    subprocess.run([*dvc, "repro", "-q"], **quiet)
    path = tmp_path / "dvc.lock"
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(end.encode()) + len(end.removesuffix(" b"))])
    finding = by_check(repository.repository(tmp_path))["dvc.lock"]
    assert finding.state == "problem" and finding.message.startswith("cannot be read")
    assert finding.fix() == f"moved {path} to dvc.lock.damaged"
    subprocess.run([*dvc, "repro", "-q"], **quiet)
    assert path.read_bytes() == whole
    assert (tmp_path / "log").read_text() == "ran\nran\n"


def started(place: Path, *words: str) -> subprocess.Popen:
    """Start a sleeping process in the project whose command line ends in ``words``."""
    code = "import time; time.sleep(60)"
    done = subprocess.Popen([sys.executable, "-c", code, *words], cwd=place)
    while psutil.Process(done.pid).cmdline()[-len(words) :] != list(words):
        time.sleep(0.01)
    return done


def test_the_rwlock_of_a_dvc_at_work_is_left_alone(place):
    (place / ".dvc" / "tmp" / "rwlock").write_text("")
    program = place / "dvc"
    program.write_text("import time; time.sleep(60)\n")
    dvc = subprocess.Popen([sys.executable, str(program), "repro"], cwd=place)
    try:
        while len(psutil.Process(dvc.pid).cmdline()) < 3:
            time.sleep(0.01)
        finding = by_check(repository.repository(place))["DVC's rwlock"]
        assert finding.state == "warning" and finding.fix is None and str(dvc.pid) in finding.remedy
        assert repository._removed(place, place / ".dvc" / "tmp" / "rwlock").endswith("dvc runs now")
    finally:
        dvc.kill()
        dvc.wait()
    assert (place / ".dvc" / "tmp" / "rwlock").exists()


@pytest.mark.parametrize("name", ["params.yaml", "dvc.yaml", "dvc.lock"])
def test_marks_of_a_merge_and_broken_yaml_are_problems(place, name):
    (place / name).write_text("a: 1\n<<<<<<< HEAD\nb: 1\n=======\nb: 2\n>>>>>>> other\n")
    finding = by_check(repository.repository(place))[name]
    assert finding.state == "problem" and "marks of a merge" in finding.message
    (place / name).write_text("a: [1\n")
    assert by_check(repository.repository(place))[name].message.startswith("cannot be read")
    (place / name).write_text("")
    assert "is empty" in by_check(repository.repository(place))[name].message


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


def holding(folder: Path, name: str = "shard_00000.parquet") -> Path:
    folder.mkdir(parents=True)
    (folder / name).write_bytes(bytes(1_000))
    return folder


def locked(place: Path, stage: str, section: str) -> dict:
    """Make dvc.lock record the stage with the present parameters."""
    params = read_params(place / "params.yaml")
    value = params
    for part in section.split("."):
        value = value[part]
    lock = {"schema": "2.0", "stages": {stage: {"cmd": "x", "params": {"params.yaml": {section: value}}}}}
    (place / "dvc.lock").write_text(json.dumps(lock))
    return params


def test_work_that_no_parameter_leads_to_is_listed_and_removed(place):
    old = holding(place / "work" / "finetuning" / "gone" / "aaaa")
    now = holding(place / "work" / "finetuning" / "audio" / "bbbb", "checkpoint_00000001")
    logs = holding(place / "work" / "finetuning" / "audio" / "cccc", "logs")
    found = by_check(leftovers.leftovers(place, read_params(place / "params.yaml")))
    assert (
        "work/finetuning/gone/aaaa" in found["abandoned work"].message and "(1 kB)" in found["abandoned work"].message
    )
    assert "work/finetuning/audio/bbbb" in found["unfinished work"].message
    assert found["abandoned work"].fix() == "removed work/finetuning/gone/aaaa: 1 kB"
    assert not old.exists() and now.exists() and logs.exists()


def test_shards_of_a_stage_that_finished_with_the_present_parameters_are_abandoned(place):
    old = holding(place / "work" / "transcription" / "aaaa")
    params = read_params(place / "params.yaml")
    assert by_check(leftovers.leftovers(place, params))["abandoned work"].state == "ok"
    params = locked(place, "transcription", "transcription")
    found = by_check(leftovers.leftovers(place, params))["abandoned work"]
    assert found.state == "warning" and found.fix().startswith("removed work/transcription/aaaa") and not old.exists()
    old = holding(place / "work" / "transcription" / "aaaa")
    params["transcription"]["silence_dbfs"] = -50.0  # changed since: these may be the shards that it goes on from
    assert by_check(leftovers.leftovers(place, params))["abandoned work"].state == "ok"


def test_nothing_is_removed_while_a_run_holds_its_lock(place):
    old = holding(place / "work" / "finetuning" / "gone" / "aaaa")
    finding = by_check(leftovers.leftovers(place, read_params(place / "params.yaml")))["abandoned work"]
    with (old / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert finding.fix() == "nothing was removed, a stage runs now" and old.exists()
        again = by_check(leftovers.leftovers(place, read_params(place / "params.yaml")))
        assert again["abandoned work"].state == "ok" and again["abandoned work"].fix is None


def test_temporary_files_of_a_kill_are_removed_and_links_are_not_followed(place, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (outside / "precious").write_text("x")
    (place / "data").mkdir()
    (place / "data" / ".fused.parquet.123.tmp").write_bytes(bytes(10))
    (place / "models").mkdir()
    (place / "models" / ".audio.9.tmp").mkdir()
    (place / "models" / ".audio.9.tmp" / ".b.tmp").write_bytes(bytes(5))
    (place / "models" / ".audio.9.tmp" / "link").symlink_to(outside)
    (place / "data" / ".link.tmp").symlink_to(outside)
    found = by_check(leftovers.leftovers(place, None))["temporary files"]
    assert found.message.startswith("2 left by a kill")
    found.fix()
    assert not list(place.rglob(".*.tmp")) or [each.name for each in place.rglob(".*.tmp")] == [".link.tmp"]
    assert (outside / "precious").exists()


@pytest.fixture
def orphan(place):
    """Start a stage whose parent ends at once."""
    inner = "import subprocess, sys; p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)', '-m',"
    inner += " 'stages.embedding'], stdin=-3, stdout=-3, stderr=-3, start_new_session=True); print(p.pid)"
    done = subprocess.run([sys.executable, "-c", inner], cwd=place, capture_output=True, text=True, check=True)
    process = psutil.Process(int(done.stdout))
    while "stages.embedding" not in process.cmdline():
        time.sleep(0.01)
    yield process
    if process.is_running():
        process.kill()


def test_an_orphan_is_found_and_ended_only_on_request(place, orphan):
    (found,) = processes.processes(place)
    assert found.state == "warning" and str(orphan.pid) in found.message and found.fix is None
    assert "kill" in found.remedy and orphan.is_running()
    (found,) = processes.processes(place, end=True)
    assert found.fix() == f"ended {orphan.pid}"
    assert not orphan.is_running() or orphan.status() == psutil.STATUS_ZOMBIE
    assert [each.state for each in processes.processes(place)] == ["ok"]


def test_a_stage_whose_parent_lives_and_a_process_elsewhere_are_no_orphans(place, tmp_path_factory):
    child = started(place, "-m", "stages.embedding")
    other = started(tmp_path_factory.mktemp("elsewhere"), "-m", "stages.embedding")
    try:
        assert processes.orphans(place) == []
        assert [each.pid for each in processes.running(place, "stages")] == [child.pid]
    finally:
        for each in (child, other):
            each.kill()
            each.wait()


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

"""machine.yaml: defaults where it is absent, refused where it is wrong, no part of params.yaml."""

import pytest
from pydantic import BaseModel

from pipeline_lib.params import machine
from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.check import check
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.expert import ExpertEntry, PredictSettings
from pipeline_lib.params.machine import MachineSettings, read_machine
from tests.recipes.laid_down import YAML12, text


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """Run in an empty folder, without the variable."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(machine.VARIABLE, raising=False)
    return tmp_path


def test_without_a_file_and_with_an_empty_one_the_defaults_hold(elsewhere):
    assert read_machine() == MachineSettings()
    (elsewhere / "machine.yaml").write_text("# nothing yet\n")
    assert read_machine() == MachineSettings()
    assert (MachineSettings().embedding.limit_gb, MachineSettings().finetuning.workers) == (50.0, 0)


def test_a_stage_has_its_own_device_and_executor_or_those_of_all(elsewhere):
    (elsewhere / "machine.yaml").write_text(
        "device: cuda\nexecutor: {kind: ray, workers: 4}\n"
        "transcription: {device: cpu}\nfinetuning: {executor: {workers: 2}, save_steps: 50}\n"
    )
    read = read_machine()
    devices = [read.transcription.device, read.embedding.device, read.finetuning.device]
    assert devices == ["cpu", "cuda", "cuda"]
    executors = [(each.executor.kind, each.executor.workers) for each in (read.transcription, read.finetuning)]
    assert executors == [("ray", 4), ("local", 2)]  # an executor replaces the whole one of all
    assert read.finetuning.save_steps == 50


def test_a_queued_experiment_reads_the_file_that_the_variable_names(elsewhere, monkeypatch):
    (elsewhere / "machine.yaml").write_text("corpus: {workers: 3}\n")
    (elsewhere / "big.yaml").write_text("corpus: {workers: 9}\n")
    monkeypatch.setenv(machine.VARIABLE, str(elsewhere / "big.yaml"))
    assert read_machine().corpus.workers == 9
    assert read_machine(elsewhere / "machine.yaml").corpus.workers == 3
    monkeypatch.setenv(machine.VARIABLE, "gone.yaml")
    with pytest.raises(ParameterError, match="SER_MACHINE='gone.yaml', which is no file; expected the absolute path"):
        read_machine()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "devise: cuda",
            "machine.yaml: devise is not a parameter, expected one of ['cache', 'corpus', 'demonstration', 'device'",
        ),
        ("embedding: {worker: 1}", "machine.yaml: embedding.worker is not a parameter, expected one of ['device'"),
        ("device: gpu", "machine.yaml: device is 'gpu', expected 'auto', 'cpu', 'cuda' or 'mps'"),
        ("corpus: {workers: 0}", "machine.yaml: corpus.workers is 0: should be greater than or equal to 1"),
        ("finetuning: 3", "machine.yaml: finetuning is 3: should be a valid dictionary or instance of"),
        ("executor: {kind: slurm}", "workers is 0, which is in this process, and kind is 'slurm'"),
        ("- 1", "machine.yaml is [1], expected keys such as 'device:'"),
        ("a: [", "machine.yaml is not YAML"),
    ],
)
def test_what_is_wrong_is_refused_in_a_sentence(elsewhere, content, message):
    (elsewhere / "machine.yaml").write_text(content)
    with pytest.raises(ParameterError) as error:
        read_machine()
    assert message in str(error.value)


MOVED = [
    ("demonstration.english.workers", 2, "demonstration.workers"),
    ("corpus.workers", 2, "corpus.workers"),
    ("transcription.device", "cpu", "transcription.device"),
    ("transcription.executor", {"workers": 2}, "transcription.executor"),
    ("embedding.audio.device", "cpu", "embedding.device"),
    ("embedding.text.workers", 2, "embedding.workers"),
    ("embedding.text.limit_gb", 1.0, "embedding.limit_gb"),
    ("embedding.text.executor", {}, "embedding.executor"),
    ("finetuning.audio.device", "cpu", "finetuning.device"),
    ("finetuning.audio.workers", 2, "finetuning.workers"),
    ("finetuning.audio.threads", 2, "finetuning.threads"),
    ("finetuning.audio.cache_audio_gb", 1.0, "finetuning.cache_audio_gb"),
    ("finetuning.text.save_steps", 1, "finetuning.save_steps"),
    ("finetuning.text.save_seconds", 1.0, "finetuning.save_seconds"),
    ("finetuning.text.predict.executor", {}, "finetuning.executor"),
]


def set_at(values, dotted, value):
    *path, last = dotted.split(".")
    for part in path:
        values = values[part]
    values[last] = value


def test_every_key_that_moved_is_refused_with_its_new_place_which_is_there(elsewhere):
    values = YAML12.load(text("default"))
    for old, value, _ in MOVED:
        set_at(values, old, value)
    YAML12.dump(values, elsewhere / "params.yaml")
    with pytest.raises(ParameterError) as error:
        check(elsewhere / "params.yaml", present=False)
    said = str(error.value)
    for old, _, new in MOVED:
        assert f"{old} has moved to machine.yaml: remove it here, and set {new} there (docs/machine.md)" in said
        section, key = new.split(".")
        assert key in type(getattr(MachineSettings(), section)).model_fields


def test_the_memory_of_cached_frames_moved_and_whether_there_are_any_stayed(elsewhere):
    values = YAML12.load(text("default"))
    values["finetuning"]["audio"]["cache_embeddings_gb"] = 16.0
    YAML12.dump(values, elsewhere / "params.yaml")
    with pytest.raises(ParameterError, match="is now cache_embeddings, true or false; .* finetuning.cache_embeddings_"):
        check(elsewhere / "params.yaml", present=False)


def leaves(model: type[BaseModel]) -> set[str]:
    """Return the names of a class's keys."""
    return set(model.model_fields)


def test_no_key_of_machine_yaml_stands_in_params_yaml_too():
    ours = {name for section in MachineSettings.model_fields for name in leaves_of(section)}
    theirs = leaves(EmbeddingSettings) | leaves(ExpertEntry) | leaves(PredictSettings)
    assert ours & theirs == set()


def leaves_of(section: str) -> set[str]:
    value = getattr(MachineSettings(), section)
    return leaves(type(value)) if isinstance(value, BaseModel) else {section}

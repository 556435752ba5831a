"""Trainings that end with the same bytes: repeated, killed and resumed, with workers and caches."""

import pytest

from pipeline_lib.finetuning import checkpoints
from pipeline_lib.finetuning.finetune import finetune
from pipeline_lib.finetuning.steps import Steps
from tests.finetuning import corpora
from tests.finetuning.runs import BOTH, SCORED, run


@pytest.mark.parametrize(("name", "modality", "changes"), [("w2v_bert", "audio", BOTH), ("llama", "text", SCORED)])
def test_two_runs_give_the_same_bytes(tones, tmp_path, name, modality, changes):
    settings = corpora.settings(getattr(tones, name), modality, **changes)
    one, two = (run(tones, tmp_path / folder, settings)[1] for folder in "12")
    assert one == two


@pytest.mark.parametrize("killed_after", [3, 5, 11])
def test_a_run_killed_after_a_checkpoint_goes_on_to_the_same_bytes(tones, tmp_path, monkeypatch, killed_after):
    # steps 1 to 8 are the first phase (2 epochs of 4), 9 to 12 the second: killed mid-epoch in both
    phase = {"epochs": 2, "batch_size": 6, "learning_rate": 0.003, "chunk_s": [0.3, 0.4]}
    second = {**phase, "epochs": 1, "train": "head", "sampler": "balanced", "optim": "adamw"}
    settings = corpora.settings(tones.w2v_bert, "audio", phases={"only": phase, "then": second}, **BOTH)
    _, whole = run(tones, tmp_path / "whole", settings, save_steps=1)

    step = Steps._step

    def killed(self, state, *rest):
        if state.total == killed_after:
            raise KeyboardInterrupt
        return step(self, state, *rest)

    monkeypatch.setattr(Steps, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tones, tmp_path / "killed", settings, save_steps=1)
    monkeypatch.setattr(Steps, "_step", step)
    steps = []
    monkeypatch.setattr(
        Steps, "_step", lambda self, state, *rest: steps.append(state.total) or step(self, state, *rest)
    )
    _, resumed = run(tones, tmp_path / "killed", settings, save_steps=1)
    assert steps == list(range(killed_after, 12))
    assert resumed == whole


def test_workers_and_process_restarts_do_not_change_what_is_learned(tones, tmp_path):
    settings = corpora.settings(tones.w2v_bert, "audio")
    _, alone = run(tones, tmp_path / "0", settings)
    _, helped = run(tones, tmp_path / "2", settings, workers=2)
    assert alone == helped


def test_audio_kept_in_memory_trains_the_same(tones, tmp_path):
    settings = corpora.settings(tones.w2v_bert, "audio")
    _, decoded = run(tones, tmp_path / "decoded", settings, cache_audio_gb=0.0)
    _, cached = run(tones, tmp_path / "kept", settings, cache_audio_gb=1.0)
    assert decoded == cached


def test_event_files_lie_under_work_and_checkpoints_are_gone_in_the_end(tones, tmp_path):
    run(tones, tmp_path, corpora.settings(tones.llama, "text", **SCORED))
    left = [file.name for file in (tmp_path / "work").rglob("*") if file.is_file()]
    assert any(name.startswith("events.out.tfevents") for name in left)
    assert "metrics.json" in left  # dvclive's
    assert not any(name.endswith((".safetensors", ".parquet")) for name in left)


def test_a_damaged_checkpoint_is_passed_over(tones, tmp_path, monkeypatch):
    settings = corpora.settings(tones.w2v_bert, "audio")
    _, whole = run(tones, tmp_path / "whole", settings, save_steps=1)
    step = Steps._step

    def killed(self, state, *rest):
        if state.total == 3:
            raise KeyboardInterrupt
        return step(self, state, *rest)

    monkeypatch.setattr(Steps, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tones, tmp_path / "killed", settings, save_steps=1)
    monkeypatch.setattr(Steps, "_step", step)
    newest = max((tmp_path / "killed").rglob("checkpoint_*/weights.safetensors"))
    newest.write_bytes(newest.read_bytes()[:100])
    assert run(tones, tmp_path / "killed", settings, save_steps=1)[1] == whole


def test_checkpoints_of_other_settings_are_not_gone_on_from(tones, tmp_path):
    settings = corpora.settings(tones.llama, "text", **SCORED)
    finetune(
        "t",
        settings,
        tones.corpus,
        tones.root,
        tones.texts,
        expert=tmp_path / "m",
        curve=tmp_path / "c",
        work=tmp_path / "w",
        machine=corpora.machine(),
    )
    other = settings.model_copy(update={"seed": 2})
    finetune(
        "t",
        other,
        tones.corpus,
        tones.root,
        tones.texts,
        expert=tmp_path / "m",
        curve=tmp_path / "c",
        work=tmp_path / "w",
        machine=corpora.machine(),
    )
    assert len(list((tmp_path / "w" / "t").iterdir())) == 2
    assert all(checkpoints.latest(folder) is not None for folder in (tmp_path / "w" / "t").iterdir())


@pytest.mark.acceptance  # of a joint expert, test_joint.py has the same
@pytest.mark.parametrize(("name", "modality", "changes"), [("w2v_bert", "audio", BOTH), ("llama", "text", SCORED)])
def test_workers_that_load_the_saved_expert_predict_the_same_bytes(tones, tmp_path, name, modality, changes):
    settings = corpora.settings(getattr(tones, name), modality, **changes)
    _, alone = run(tones, tmp_path / "alone", settings)
    _, spread = run(tones, tmp_path / "spread", settings, executor={"workers": 2})
    assert spread == alone
    folders = [next((tmp_path / folder / "work" / "tones").iterdir()).name for folder in ("alone", "spread")]
    assert folders[0] == folders[1]

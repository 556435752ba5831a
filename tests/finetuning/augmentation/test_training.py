"""Augmentation in training: the same audio for any number of workers and processes, and after a kill."""

import shutil

import numpy as np
import pytest
import soundfile
import torch

from pipeline_lib.errors import InputError
from pipeline_lib.experts.loading import Batch, Loader
from pipeline_lib.experts.loading import load as load_batches
from pipeline_lib.finetuning import sampling
from pipeline_lib.finetuning.augmentation import augment, sounds
from pipeline_lib.finetuning.finetune import finetune
from pipeline_lib.finetuning.steps import Steps
from pipeline_lib.tables.predictions import Predictions
from tests.finetuning import corpora
from tests.finetuning.runs import run


def entry(tones, folder, **changes):
    """Return settings that augment every second chunk in every way, half of the batches at another speed."""
    augmentation = {
        "noise": {"probability": 0.5, "root": str(folder), "snr_db": {"noise": [0.0, 5.0], "music": [0.0, 5.0]}},
        "reverberation": {"probability": 0.5, "root": str(folder)},
        "speed": {"share": 0.5},
    }
    return corpora.settings(tones.w2v_bert, "audio", augmentation=augmentation, **changes)


@pytest.fixture
def loaded(tones, folder):
    """Return a function that loads the waveforms of an epoch, in so many workers."""
    settings = entry(tones, folder)
    options = settings.augmentation
    utterances = corpora.utterances(tones.corpus, settings, root=tones.root)
    augmentation = augment.make(options, sounds.find(options), settings.seed, 1, show_progress=False)
    rows = np.flatnonzero(tones.corpus.mask("train"))
    classes, lengths = tones.corpus.truth()[rows], tones.corpus.frame["duration_s"].to_numpy()[rows]

    def load(plan=None, number=0, workers=0, augmenting=True):
        if plan is None:
            plan = sampling.epoch(rows, classes, lengths, settings.phases["only"], (1, 0, number), options.speed)
        loader = Loader(plan, utterances, as_tensors, augment={"audio": augmentation} if augmenting else None)
        return plan, [inputs["waveforms"] for inputs, _ in load_batches(loader, workers, torch.device("cpu"))]

    return load


def as_tensors(samples):
    """Stand in for an encoder's ``prepare``: padded waveforms."""
    tensors = [torch.from_numpy(waveform) for (waveform,) in samples]
    return {"waveforms": torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)}


def test_two_workers_make_the_tensors_of_none(loaded):
    (_, alone), (_, helped) = loaded(), loaded(workers=2)
    assert all(torch.equal(one, two) for one, two in zip(alone, helped, strict=True))
    assert {tensor.dtype for tensor in alone} == {torch.float32}


def test_an_epoch_resumed_in_its_middle_and_cut_up_sounds_the_same(loaded):
    plan, whole = loaded()
    _, rest = loaded(plan[2:])
    assert all(torch.equal(one, two) for one, two in zip(whole[2:], rest, strict=True))
    _, shared = loaded([plan[1].of_process(1, 2), plan[1].pieces(2)[1]])
    for part, positions in zip(shared, ([1, 3, 5], [3, 4, 5]), strict=True):
        expected = whole[1][positions]
        assert torch.equal(part, expected[:, : part.shape[1]])
        assert not expected[:, part.shape[1] :].any()


def test_two_epochs_and_two_occurrences_differ(loaded):
    _, one = loaded(number=0)
    _, two = loaded(number=1)
    assert not any(a.shape == b.shape and torch.equal(a, b) for a in one for b in two)


def test_without_a_seed_or_an_augmentation_a_chunk_stays_as_it_is(loaded, tones, folder):
    plan, plain = loaded(augmenting=False)
    seedless = [Batch(batch.rows, batch.starts_s, batch.durations_s) for batch in plan]
    _, development = loaded(seedless)
    _, augmented = loaded(plan)
    assert all(torch.equal(one, two) for one, two in zip(plain, development, strict=True))
    assert not any(one.shape == two.shape and torch.equal(one, two) for one, two in zip(plain, augmented, strict=True))


def test_a_training_killed_in_an_epoch_and_resumed_ends_with_the_same_bytes(tones, folder, tmp_path, monkeypatch):
    settings = entry(tones, folder)
    _, whole = run(tones, tmp_path / "whole", settings, save_steps=1)
    step = Steps._step

    def killed(self, state, *rest):
        if state.total == 6:  # of 8: in the second epoch
            raise KeyboardInterrupt
        return step(self, state, *rest)

    monkeypatch.setattr(Steps, "_step", killed)
    with pytest.raises(KeyboardInterrupt):
        run(tones, tmp_path / "killed", settings, save_steps=1)
    monkeypatch.setattr(Steps, "_step", step)
    _, resumed = run(tones, tmp_path / "killed", settings, save_steps=1, workers=2)
    assert resumed == whole
    _, plain = run(tones, tmp_path / "plain", corpora.settings(tones.w2v_bert, "audio"))
    assert plain != whole


def test_other_noises_under_the_same_names_begin_another_training(tones, folder, tmp_path):
    paths = {"expert": tmp_path / "m", "curve": tmp_path / "c", "work": tmp_path / "w"}
    own = tmp_path / "sounds"
    shutil.copytree(folder, own)
    for seconds in (1.0, 1.5):
        soundfile.write(own / "noise" / "free-sound" / "tap.wav", np.full(int(16_000 * seconds), 0.1), 16_000)
        settings = entry(tones, own, max_steps=1)
        result, _ = finetune("t", settings, tones.corpus, tones.root, None, **paths, machine=corpora.machine())
        assert isinstance(result, Predictions)
    assert len(list((tmp_path / "w" / "t").iterdir())) == 2


def test_a_missing_folder_is_told_before_the_model_is_loaded(tones, tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline_lib.experts.disk.build", lambda *parts: pytest.fail("the model was loaded"))
    with pytest.raises(InputError, match="does not exist or is no folder, expected recordings for augmentation"):
        run(tones, tmp_path, entry(tones, tmp_path / "none"))


def test_a_text_expert_has_no_augmentation(tones):
    for part in ({"speed": {"share": 0.5}}, {"reverberation": {"probability": 0.1}}):
        with pytest.raises(InputError, match="augmentation is for audio, a text has no sound"):
            corpora.settings(tones.llama, "text", augmentation=part)


def test_the_prior_of_an_annealed_training_is_of_the_epoch_that_is_kept(tones, tmp_path, monkeypatch):
    frame = tones.corpus.frame.copy()
    rows = np.flatnonzero(tones.corpus.mask("train") & (frame["emotion"] == "O").to_numpy())[:4]
    frame.loc[rows, "split"] = "test"  # 6, 6, 6 and 2 are left to train on
    corpus = type(tones.corpus)(frame, "tones", tones.corpus.labels, tones.corpus.attribute_scale)
    phases = {"only": {"epochs": 3, "sampler": "annealed"}}
    settings = corpora.settings(tones.w2v_bert, "audio", phases=phases, early_stopping={"patience": None})
    calls = []
    monkeypatch.setattr(
        "pipeline_lib.finetuning.train.is_better", lambda *parts: calls.append(1) or len(calls) in (1, 2)
    )
    result, _ = run(tones, tmp_path, settings, corpus)
    # the second of three epochs: halfway between a quarter each and 0.3, 0.3, 0.3, 0.1
    np.testing.assert_allclose(result.training_prior, [0.275, 0.275, 0.275, 0.175])

"""Experts that read previous turns: the emotion stands in the turn before, the own texts are all the same."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.experts import disk
from pipeline_lib.experts.predict import predict
from pipeline_lib.finetuning import identity
from pipeline_lib.finetuning.augmentation import sounds
from pipeline_lib.finetuning.targets import targets_of
from tests.finetuning import corpora, runs, test_joint


@pytest.fixture(scope="module")
def talk(tones):
    """Return the corpus of words as replies, "so", each behind a turn without emotion that has the words."""
    replies = tones.corpus.frame.assign(dialogue=tones.corpus.ids, turn=1, reference_text="so")
    cues = tones.corpus.frame.assign(
        utterance_id=[f"{name}_cue" for name in tones.corpus.ids],
        dialogue=tones.corpus.ids,
        turn=0,
        emotion=None,
        **dict.fromkeys(("arousal", "valence"), np.nan),
    )
    frame = pd.concat([replies, cues]).sort_values("utterance_id", ignore_index=True)
    return replace(tones.corpus, frame=frame)


def settings(tones, **changes):
    return corpora.settings(
        tones.llama, "text", **corpora.merged(runs.LONG, {**runs.SCORED, "text": "reference", "context": 1, **changes})
    )


def test_an_expert_learns_from_the_turn_before_the_text(tones, talk, tmp_path, capsys):
    result, _ = runs.run(tones, tmp_path, settings(tones), talk)
    line = "context of 1 previous turns: 48 of 96 utterances have all of them, 48 have none"
    assert line in capsys.readouterr().out
    assert runs.accuracy(result, talk) == 1.0  # the replies' own texts are all the same
    folder = tmp_path / "models" / "tones"
    assert disk.read_settings(folder).context == 1
    with pytest.raises(InputError, match="reads 1 previous turns before a text, the utterances have 0; make them with"):
        predict(folder, corpora.utterances(talk, settings(tones, context=0)), machine=corpora.machine())


def test_the_text_of_a_turn_before_and_its_order_are_part_of_the_identity(tones, talk):
    entry = settings(tones)
    nothing = sounds.find(entry.augmentation)

    def of(corpus, entry=entry):
        targets = targets_of(corpus, entry)
        return identity.identity(entry, corpus, targets, corpora.utterances(corpus, entry), nothing)

    other = talk.frame.copy()
    other.loc[1, "reference_text"] = "it"
    assert other.loc[1, "utterance_id"].endswith("_cue")
    turned = talk.frame.assign(turn=-talk.frame["turn"].astype(int))
    assert of(talk) == of(talk)
    assert of(replace(talk, frame=other)) != of(talk) != of(replace(talk, frame=turned))
    assert of(talk, settings(tones, context=0)) != of(talk)


def test_a_joint_expert_reads_cached_frames_of_the_own_text_alone(tones, talk, tmp_path, capsys):
    once = {"phases": {"only": {"epochs": 1}}, "text": "reference", "context": 1}
    by_cache = [
        test_joint.run(tones, tmp_path / str(cached), corpora.joint(tones, cache_embeddings=cached, **once), talk)[0]
        for cached in (True, False)
    ]
    assert "frames of text are cached in memory" in capsys.readouterr().err
    np.testing.assert_allclose(by_cache[0]["both"].posterior, by_cache[1]["both"].posterior, atol=1e-5)


def test_a_corpus_without_dialogues_is_refused_before_a_model_is_loaded(tones, tmp_path):
    with pytest.raises(InputError, match="context is 1 and tones has no dialogues"):
        runs.run(tones, tmp_path, settings(tones))

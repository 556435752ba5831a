"""What of a joint entry fits together, and what each refusal says."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.experts import availability
from pipeline_lib.finetuning.targets import sentiments
from pipeline_lib.params.finetuning import FinetuningSettings
from tests.finetuning import corpora

PLACES = SimpleNamespace(w2v_bert="models/w2v_bert", llama="models/llama")
PHASE = {"epochs": 2, "batch_size": 6, "learning_rate": 0.003}


def test_a_joint_entry_is_told_as_it_was_read():
    entry = corpora.joint(PLACES)
    assert FinetuningSettings.parse(entry.model_dump(), "finetuning.joint") == entry
    assert (entry.encoder, entry.layers, entry.pooling, entry.passes) == (None, None, None, ["audio", "text", "both"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder": {"checkpoint": "x"}},
            "encoder is for audio and text experts, a joint expert has branches.audio.enc",
        ),
        ({"pooling": {"kind": "mean"}}, "pooling is for audio and text experts, a joint expert has mixer.pooling"),
        ({"branches": None}, "branches is null and modality 'joint', which needs them"),
        ({"branches": {"text": {"expert": "models/text"}}}, "expected either encoder or expert, the other one null"),
        (
            {"branches": {"audio": {"encoder": {"weights": "nf4"}}}},
            "branches.audio.encoder.weights is 'nf4', which is for",
        ),
        (
            {"branches": {"audio": {"embedding": "data/embeddings/audio"}}},
            "embedding is 'data/embeddings/audio' and cache_embeddings false; expected true, which reads it",
        ),
        (
            {"branches": {"text": {"embedding": "data/embeddings/text", "adaptation": {"method": "lora"}}}},
            "embedding is 'data/embeddings/text' and adaptation.method 'lora', which changes the encoder",
        ),
        (
            {
                "branches": {"audio": {"embedding": "data/embeddings/audio"}},
                "cache_embeddings": True,
                "phases": {"only": {"chunk_s": [0.3, 0.4]}},
            },
            "of whole utterances, and phases.only.chunk_s draws chunks; expected null",
        ),
        (
            {
                "branches": {"audio": {"embedding": "data/embeddings/audio"}},
                "cache_embeddings": True,
                "augmentation": {"speed": {"share": 0.5}},
            },
            "of the audio as it is, and augmentation is on; expected null",
        ),
        ({"head": {"kind": "sequence_classification"}}, "head.kind is 'sequence_classification', which is for text"),
        ({"passes": ["both", "both"]}, "passes of phase 'only' are .*, one is named twice"),
        ({"passes": []}, "passes is"),
        ({"passes": ["both"], "heads": "separate"}, "no phase trains 'audio', whose head would predict by chance"),
        (
            {"early_stopping": {"shown": "both"}, "passes": ["audio"]},
            "shown is 'both', which phase 'only' does not train",
        ),
        ({"phases": {"only": {"train": "both_head"}}}, "expected heads 'separate' and passes"),
        (
            {"losses": {"contrastive": 1.0}},
            "gives contrastive a weight in its losses, which is for a joint expert with",
        ),
        (
            {"losses": {"contrastive": 1.0}, "mixer": {"kind": "shared_transformer"}, "passes": ["audio", "both"]},
            "gives contrastive a weight .* expected 'audio' and 'text' among them",
        ),
        ({"losses": {"imagination": 1.0}}, "gives imagination a weight .* with mixer.kind 'imagination'; expected 0"),
        (
            {"losses": {"invariance": 1.0}, "mixer": {"kind": "shared_transformer"}},
            "gives invariance a weight .* with mixer.kind 'imagination'; expected 0",
        ),
        (
            {"losses": {"contrastive": 1.0}, "mixer": {"kind": "imagination"}},
            "gives contrastive a weight .* with mixer.kind 'shared_transformer'; expected 0",
        ),
        (
            {"losses": {"invariance": 1.0}, "mixer": {"kind": "imagination"}, "phases": {"only": {"batch_size": 1}}},
            "batch_size is 1, gradient_accumulation_steps 1, and invariance has a weight, a loss of several",
        ),
        ({"losses": {"sentiment": 1.0}}, "gives sentiment a weight in its losses, but no such target is trained"),
        (
            {"targets": {"sentiment": {"enabled": True}}},
            "targets.sentiment.enabled is true, but phase 'only' gives sentim",
        ),
        ({"targets": {"sentiment": {"thresholds": [5.0, 3.0]}}}, "expected .highest negative, lowest positive"),
        ({"modality_dropout": 0.1, "passes": ["text"]}, "trains one modality alone, of which it would hide"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(changes, message):
    with pytest.raises(InputError, match=message):
        corpora.joint(PLACES, **changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoder": None}, "encoder is null, which is for modality 'joint'"),
        ({"mixer": {}}, "mixer is for modality 'joint', the modality is 'audio'; expected null"),
        ({"heads": "separate"}, "heads is for modality 'joint', .* expected 'shared'"),
        ({"cache_embeddings": True}, "cache_embeddings is for modality 'joint'"),
        ({"early_stopping": {"shown": "both"}}, "early_stopping.shown is for modality 'joint'"),
        ({"phases": {"only": {"passes": ["both"]}}}, "phases.only.passes is for modality 'joint'"),
        ({"phases": {"only": {"train": "both_head"}}}, "phases.only.train 'both_head' is for modality 'joint'"),
        ({"losses": {"reconstruction": 1.0}}, "gives reconstruction a weight .* with mixer.kind 'shared_transformer'"),
    ],
)
def test_a_single_expert_is_refused_what_only_a_joint_one_has(changes, message):
    with pytest.raises(InputError, match=message):
        corpora.settings("models/w2v_bert", "audio", **changes)


def test_sentiment_is_read_off_the_valence_with_both_thresholds_inside():
    valence = np.array([1.0, 3.0, 3.01, 4.99, 5.0, 7.0, np.nan])
    assert sentiments(valence, [3.0, 5.0]).tolist() == [0, 0, 1, 1, 2, 2, -1]


def test_an_empty_text_is_none_to_a_joint_expert_and_one_to_a_text_expert(tones):
    texts = ["", "  ", *tones.texts[2:]]
    joint = corpora.utterances(tones.corpus, corpora.joint(tones), texts)
    assert joint.present[:3].tolist() == [[True, False], [True, False], [True, True]]
    text = corpora.utterances(tones.corpus, corpora.settings(tones.llama, "text"), texts)
    assert text.present[:3].tolist() == [[True]] * 3
    assert [text.read(row, 0.0, None) for row in (0, 1)] == [("",), ("  ",)]


def test_what_takes_part_follows_from_what_there_is():
    present = np.array([[True, True], [True, False], [False, True], [False, False]])
    names = ("audio", "text")
    assert availability.takes_part(present, names, ["audio"]).tolist() == [True, True, False, False]
    assert availability.takes_part(present, names, ["audio", "text"]).tolist() == [True, True, True, False]
    assert availability.takes_part(present, names, ["audio+text"]).tolist() == [True, False, False, False]
    assert availability.takes_part(present, names, ["both"]).tolist() == [True, True, True, False]
    assert availability.takes_part(present, names, []).tolist() == [True, True, True, False]
    line = "1 utterances with audio and text, 1 with audio alone, 1 with text alone, 1 with neither"
    assert availability.presence_lines(present, names) == [line]


def test_a_text_without_audio_is_as_long_as_it_would_be_spoken(tones):
    frame = tones.corpus.frame.copy()
    frame["audio"] = [None, *frame["audio"][1:]]
    corpus = type(tones.corpus)(frame, "tones", tones.corpus.labels, (1.0, 7.0))
    lengths = corpora.utterances(corpus, corpora.joint(tones), ["a" * 30, *tones.texts[1:]]).lengths
    assert lengths[0] == 2.0
    assert lengths[1] == frame["duration_s"][1]


def test_a_corpus_without_a_combination_that_alone_is_trained_is_refused(tones):
    settings = corpora.joint(tones, passes=["text"])
    with pytest.raises(
        InputError, match=r"has 0 utterances in train that phase 'only' with passes \['text'\] could be"
    ):
        corpora.checked(tones.corpus, settings)
    silent = tones.corpus.frame.assign(audio=None, duration_s=np.nan)
    with pytest.raises(InputError, match="has no utterance with audio or text, which the expert reads"):
        corpora.checked(type(tones.corpus)(silent, "tones", tones.corpus.labels, (1.0, 7.0)), settings)

"""What of a joint entry fits together, and what each refusal says."""

from types import SimpleNamespace

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.experts import availability
from pipeline_lib.finetuning.targets import sentiments
from pipeline_lib.params.branches import BranchSettings
from pipeline_lib.params.finetuning import FinetuningSettings, JointEntry, SingleEntry
from tests.finetuning import corpora

PLACES = SimpleNamespace(w2v_bert="models/w2v_bert", llama="models/llama")
PHASE = {"epochs": 2, "batch_size": 6, "learning_rate": 0.003}


def test_an_entry_is_written_as_it_was_read():
    for entry in (corpora.joint(PLACES), corpora.settings("a", "audio"), corpora.settings("a", "text")):
        assert FinetuningSettings.parse(entry.model_dump(), "finetuning.any") == entry


def test_every_entry_has_branches_that_are_joined():
    joint, audio = corpora.joint(PLACES), corpora.settings("models/w2v_bert", "audio", layers="weighted")
    assert isinstance(joint, JointEntry) and isinstance(audio, SingleEntry)
    assert [*joint.branches] == ["audio", "text"]
    assert (joint.join, joint.passes) == (joint.mixer, ["audio", "text", "both"])
    (branch,) = audio.branches.items()
    parts = {"encoder": audio.encoder, "embedding": None, "layers": "weighted", "adaptation": audio.adaptation}
    assert branch == ("audio", BranchSettings(**parts))
    assert (audio.join, audio.heads, audio.modality_dropout) == (audio.pooling, "shared", 0.0)
    assert (audio.passes_of(audio.phases["only"]), audio.early_stopping.shown) == ([], None)


def test_branches_stand_in_the_order_of_the_modalities_however_they_are_written():
    branches = corpora.joint(PLACES).model_dump()["branches"]
    turned = {name: branches[name] for name in reversed(branches)}
    entry = FinetuningSettings.parse({"modality": "joint", "branches": turned, "phases": {"only": {}}}, "finetuning.a")
    assert [*entry.branches] == ["audio", "text"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder": {"checkpoint": "x"}},
            r"encoder applies only to modality 'audio' or 'text' \(got 'joint'\): remove it and set branches.<mod",
        ),
        ({"pooling": {"kind": "mean"}}, "pooling applies only to modality .*: remove it and set mixer.pooling"),
        ({"branches": None}, "finetuning.joint.branches is None: should be a valid dictionary"),
        (
            {"branches": {"text": {"expert": "models/text"}}},
            "encoder and expert are both null or both set, expected one of them",
        ),
        (
            {"branches": {"audio": {"encoder": {"weights": "nf4"}}}},
            "branches.audio.encoder.weights is 'nf4', which is for",
        ),
        (
            {"branches": {"audio": {"embedding": "data/embeddings/audio"}}},
            "embedding is 'data/embeddings/audio' and cache_embeddings false; set cache_embeddings to true",
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
            "embedding is 'data/embeddings/audio', .* and phases.only.chunk_s draws chunks; set chunk_s to null",
        ),
        (
            {
                "branches": {"audio": {"embedding": "data/embeddings/audio"}},
                "cache_embeddings": True,
                "augmentation": {"speed": {"share": 0.5}},
            },
            "embedding is 'data/embeddings/audio', .* and augmentation is on; set its probabilities",
        ),
        (
            {"head": {"kind": "sequence_classification"}},
            "head.kind is 'sequence_classification', which applies only to modality 'text'",
        ),
        ({"passes": ["both", "both"]}, "passes of phase 'only' are .*, expected each once"),
        ({"passes": []}, "passes is"),
        (
            {"passes": ["audio+text"]},
            "phase 'only' trains 'audio.text', all modalities of the expert: write it as 'both'",
        ),
        ({"passes": ["audio+smell"]}, "combination is 'audio.smell', expected 'both', or some of"),
        ({"passes": ["text+audio"]}, "'text.audio' names its modalities in another order, expected 'audio.text'"),
        ({"branches": {"audio": None}}, "finetuning.joint.branches.audio is None"),
        ({"passes": ["both"], "heads": "separate"}, "no phase trains 'audio', whose head would predict by chance"),
        (
            {"early_stopping": {"shown": "both"}, "passes": ["audio"]},
            "shown is 'both', which phase 'only' does not train",
        ),
        ({"phases": {"only": {"train": "both_head"}}}, "expected heads 'separate' and passes"),
        (
            {"losses": {"contrastive": 1.0}},
            "gives contrastive a weight in its losses, which applies only to a joint expert with",
        ),
        (
            {"losses": {"contrastive": 1.0}, "mixer": {"kind": "shared_transformer"}, "passes": ["audio", "both"]},
            "gives contrastive a weight .* expected 'audio' and 'text' among them",
        ),
        (
            {"losses": {"imagination": 1.0}},
            "gives imagination a weight .* with mixer.kind 'imagination' .*: set it to 0",
        ),
        (
            {"losses": {"invariance": 1.0}, "mixer": {"kind": "shared_transformer"}},
            "gives invariance a weight .* with mixer.kind 'imagination' .*: set it to 0",
        ),
        (
            {"losses": {"contrastive": 1.0}, "mixer": {"kind": "imagination"}},
            "gives contrastive a weight .* with mixer.kind 'shared_transformer' .*: set it to 0",
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
        ({"encoder": None}, "encoder is None"),
        *(
            (change, rf"finetuning.audio.{key} applies only to modality 'joint' \(got 'audio'\): remove it$")
            for change, key in (
                ({"branches": None}, "branches"),
                ({"mixer": {}}, "mixer"),
                ({"heads": "shared"}, "heads"),
                ({"early_stopping": {"shown": None}}, "early_stopping.shown"),
                ({"phases": {"only": {"passes": ["both"]}}}, "phases.only.passes"),
                ({"losses": {"reconstruction": 0.0}}, "losses.reconstruction"),
            )
        ),
        ({"phases": {"only": {"train": "both_head"}}}, "train is 'both_head', which applies only to modality 'joint'"),
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

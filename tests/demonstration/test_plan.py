"""What a demonstration corpus holds, before a word of it is spoken."""

from collections import Counter

import numpy as np
import pytest

from pipeline_lib.demonstration import sentences
from pipeline_lib.demonstration.checkpoints import speech
from pipeline_lib.demonstration.plan import HIDDEN, SPLITS, plan, quotas
from pipeline_lib.demonstration.voices import ACCENTS, VOICES, variant
from pipeline_lib.labels import PRIMARY, consensus
from pipeline_lib.params.demonstration import DemonstrationSettings


@pytest.fixture(scope="module")
def planned():
    return plan(DemonstrationSettings())


def test_no_voice_variant_serves_two_splits_nor_the_checkpoints():
    owners = [(variant(voice), split) for split in VOICES for voice in VOICES[split]]
    assert all(count == 1 for count in Counter(v for v, _ in set(owners)).values())


def test_there_are_at_least_24_voices_of_several_accents_in_the_corpus():
    voices = [voice for split in SPLITS for voice in VOICES[split]]
    assert len({voice.name for voice in voices}) == len(voices) >= 24
    assert {voice.espeak.split("/")[1].split("+")[0] for voice in voices} == set(ACCENTS)


def test_every_voice_of_every_split_speaks(planned):
    for split in SPLITS:
        assert {p.voice for p in planned if p.split == split} == set(VOICES[split])


def test_the_test_split_holds_52_of_each_class_and_neither_x_nor_o(planned):
    assert Counter(p.emotion for p in planned if p.split == "test") == dict.fromkeys(PRIMARY, 52)


def test_training_is_unbalanced_with_x_and_o(planned):
    counts = Counter(p.emotion for p in planned if p.split == "train")
    assert counts["neutral"] > 4 * counts["fear"] > 0
    assert 0.15 <= (counts["X"] + counts["O"]) / 1100 <= 0.20
    assert counts["X"] > 0 < counts["O"]


def test_development_has_at_least_30_of_every_class_and_some_x_and_o(planned):
    counts = Counter(p.emotion for p in planned if p.split == "dev")
    assert min(counts[label] for label in PRIMARY) >= 30
    assert counts["X"] > 0 < counts["O"]
    assert counts["neutral"] > 2 * counts["fear"]


def test_labels_are_the_plurality_of_five_votes(planned):
    for p in planned:
        assert sum(p.votes.values()) == 5
        top = max(p.votes.values())
        winners = [label for label, count in p.votes.items() if count == top]
        assert p.emotion == (winners[0] if len(winners) == 1 else "X")
    assert consensus({"anger": 2, "fear": 2, "O": 1}) == "X"


def test_attributes_are_the_means_of_five_whole_ratings(planned):
    for p in planned:
        assert len(p.ratings) == len(p.ballots) == 5
        assert all(type(value) is int and 1 <= value <= 7 for row in p.ratings for value in row)
        for values, attribute in zip(zip(*p.ratings, strict=True), p.attributes, strict=True):
            assert sum(values) == round(5 * attribute, 9)


def test_attributes_lie_on_their_scale_and_follow_the_emotion(planned):
    values = np.array([p.attributes for p in planned])
    assert values.min() >= 1
    assert values.max() <= 7
    emotions = np.array([p.emotion for p in planned])
    assert values[emotions == "anger", 0].mean() > values[emotions == "sadness", 0].mean() + 1
    assert values[emotions == "happiness", 1].mean() > values[emotions == "anger", 1].mean() + 1


def test_sentences_of_development_and_test_occur_nowhere_else(planned):
    texts = {split: {p.text for p in planned if p.split == split} for split in SPLITS}
    texts["checkpoint"] = {u.text for u in speech.plan(np.random.default_rng(0), 3000)}
    assert not texts["dev"] & (texts["train"] | texts["test"] | texts["checkpoint"])
    assert not texts["test"] & (texts["train"] | texts["dev"] | texts["checkpoint"])
    assert {sentences.part_of(text) for text in texts["train"] | texts["checkpoint"]} == {"open"}


def test_another_seed_shares_no_development_sentence_with_this_ones_training(planned):
    other = plan(DemonstrationSettings(seed=2))
    held_out = {p.text for p in other if p.split != "train"}
    assert not held_out & {p.text for p in planned if p.split == "train"}


def test_sentences_vary_and_stay_short(planned):
    lengths = [len(p.text.split()) for p in planned]
    assert min(lengths) >= 5
    assert max(lengths) <= 10
    assert len({p.text for p in planned}) > 0.95 * len(planned)
    assert 200 <= len(sentences.vocabulary()) <= 300


def test_every_drawn_word_is_in_the_vocabulary(planned):
    assert {word for p in planned for word in p.text.split()} <= set(sentences.vocabulary())


def test_quotas_round_by_the_largest_remainder():
    assert quotas("test", 16) == dict.fromkeys(PRIMARY, 2)
    counts = quotas("train", 33)
    assert sum(counts.values()) == 33
    # exact shares: neutral 7.26, fear 1.65, X 3.3, O 1.815; the largest remainders are rounded up
    assert (counts["neutral"], counts["fear"], counts["X"], counts["O"]) == (7, 2, 3, 2)


def test_hidden_utterances_change_nothing_else_and_are_balanced_test_ones(planned):
    more = plan(DemonstrationSettings(layout="msp_podcast", hidden=16))
    assert more[: len(planned)] == planned
    added = more[len(planned) :]
    assert Counter(p.emotion for p in added) == dict.fromkeys(PRIMARY, 2)
    assert {p.split for p in added} == {HIDDEN}
    assert {p.voice for p in added} <= set(VOICES["test"])
    assert {sentences.part_of(p.text) for p in added} == {"test"}


def test_an_unknown_part_is_refused():
    with pytest.raises(ValueError, match="part is 'train', expected one of"):
        sentences.draw(np.random.default_rng(0), None, "train")

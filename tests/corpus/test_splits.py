"""Who comes into which split: disjoint, balanced, repeatable."""

from collections import Counter

import pytest

from pipeline_lib.corpus import layout
from pipeline_lib.corpus.leaks import leaks
from pipeline_lib.corpus.splits import split
from pipeline_lib.errors import InputError
from pipeline_lib.params.split import SplitSettings

CUSTOM = layout.Custom()


def corpus(n_women: int, n_men: int, per_speaker: int = 4):
    speakers = [(f"w{i:02d}", "female") for i in range(n_women)] + [(f"m{i:02d}", "male") for i in range(n_men)]
    return layout.frame(
        {"utterance_id": f"{s}_{k}", "speaker": s, "gender": g, "emotion": "anger" if k % 2 else "fear"}
        for s, g in speakers
        for k in range(per_speaker)
    )


def speakers_of(frame, result, name):
    return sorted(set(frame["speaker"][result == name]))


def test_twenty_four_speakers_become_sixteen_four_and_four_with_as_many_women_as_men():
    frame = corpus(12, 12)
    result = split(frame, SplitSettings(), CUSTOM)
    counts = {n: Counter(s[0] for s in speakers_of(frame, result, n)) for n in ("train", "dev", "test")}
    assert counts == {"train": {"w": 8, "m": 8}, "dev": {"w": 2, "m": 2}, "test": {"w": 2, "m": 2}}
    assert leaks(frame.assign(split=result, fold=-1)) == []


def test_the_same_seed_draws_the_same_speakers_whatever_the_order_of_rows():
    frame = corpus(12, 12)
    shuffled = frame.sample(frac=1, random_state=3).reset_index(drop=True)
    first, second = split(frame, SplitSettings(), CUSTOM), split(shuffled, SplitSettings(), CUSTOM)
    assert dict(zip(frame["utterance_id"], first)) == dict(zip(shuffled["utterance_id"], second))
    others = {tuple(speakers_of(frame, split(frame, SplitSettings(seed=s), CUSTOM), "test")) for s in range(10)}
    assert len(others) > 5


@pytest.mark.parametrize(("n_women", "n_men"), [(1, 2), (5, 5), (4, 5), (48, 43), (3, 0)])
def test_no_split_is_empty_from_three_speakers_on(n_women, n_men):
    frame = corpus(n_women, n_men)
    result = split(frame, SplitSettings(), CUSTOM)
    assert set(result) == {"train", "dev", "test"} and leaks(frame.assign(split=result, fold=-1)) == []


def test_two_speakers_are_too_few_and_the_way_out_is_named():
    with pytest.raises(InputError, match="2 speakers are too few .* corpus.split.method: random"):
        split(corpus(2, 0), SplitSettings(), CUSTOM)


def test_named_speakers_are_taken_and_the_rest_is_drawn():
    frame = corpus(4, 4)
    result = split(frame, SplitSettings(test_speakers=["w01", "m01"]), CUSTOM)
    assert speakers_of(frame, result, "test") == ["m01", "w01"]
    assert len(speakers_of(frame, result, "dev")) == 1
    both = SplitSettings(test_speakers=["w01"], dev_speakers=["w02", "m03"])
    result = split(frame, both, CUSTOM)
    assert speakers_of(frame, result, "dev") == ["m03", "w02"] and len(speakers_of(frame, result, "train")) == 5


def test_a_named_speaker_who_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(
        InputError, match=r"test_speakers names 'w1', who is not in the corpus \(did you mean 'w01'\?\)"
    ):
        split(corpus(4, 4), SplitSettings(test_speakers=["w1"]), CUSTOM)


def test_a_row_without_speaker_cannot_be_drawn():
    frame = corpus(4, 4)
    frame.loc[5, "speaker"] = None
    with pytest.raises(InputError, match="needs every speaker; 1 utterances have none, 'w01_1' first"):
        split(frame, SplitSettings(), CUSTOM)


def test_groups_are_not_cut():
    frame = corpus(4, 4)
    frame["group"] = [f"session{s[1:]}" for s in frame["speaker"]]  # a woman and a man each
    result = split(frame, SplitSettings(), CUSTOM)
    assert frame.assign(split=result).groupby("group")["split"].nunique().eq(1).all()


def test_random_draws_the_share_of_each_emotion_and_leaks():
    frame = corpus(4, 4, per_speaker=30)
    result = split(frame, SplitSettings(method="random"), CUSTOM)
    counts = Counter(zip(frame["emotion"], result))
    assert counts == {(e, s): n for e in ("anger", "fear") for s, n in (("train", 80), ("dev", 20), ("test", 20))}
    assert len(leaks(frame.assign(split=result, fold=-1))) == 8


def test_an_official_split_is_taken_as_it_is_and_must_be_whole():
    frame = corpus(2, 2).assign(split="train")
    assert set(split(frame, SplitSettings(), CUSTOM)) == {"train"}
    frame.loc[3, "split"] = None
    with pytest.raises(InputError, match="1 utterances have no split, 'w00_3' first"):
        split(frame, SplitSettings(), CUSTOM)


def test_leaks_are_speakers_in_two_of_train_dev_and_any_test():
    cases = {
        "a": ["train", "dev"],
        "b": ["dev", "test2"],
        "c": ["test", "test2"],
        "d": ["train", "unlabelled"],
        "e": ["train"],
    }
    frame = layout.frame(
        {"utterance_id": f"{speaker}{i}", "speaker": speaker, "split": name}
        for speaker, names in cases.items()
        for i, name in enumerate(names)
    )
    unknown = layout.frame({"utterance_id": f"u{name}", "split": name} for name in ("train", "test"))
    assert leaks(frame.assign(fold=-1)) == ["a", "b"]
    assert leaks(unknown.assign(fold=-1)) == []


LABELS = ("anger", "fear", "joy", "sorrow")


def confounded(n: int = 38, sizes=(5, 20)):
    """Return a corpus whose speakers have one label each, as URDU's mostly do."""
    rows = [
        {"utterance_id": f"s{i:02d}_{k:02d}", "speaker": f"s{i:02d}", "gender": "male", "emotion": LABELS[i % 4]}
        for i in range(n)
        for k in range(sizes[0] + 7 * i % (sizes[1] - sizes[0]))
    ]
    return layout.frame(rows)


@pytest.mark.parametrize("n", [12, 38])
@pytest.mark.parametrize("seed", range(4))
def test_no_set_that_is_drawn_lacks_a_label(n, seed):
    frame = confounded(n)
    result = split(frame, SplitSettings(seed=seed), CUSTOM, LABELS)
    for name in ("train", "dev", "test"):
        assert set(frame["emotion"][result == name]) == set(LABELS)
    assert leaks(frame.assign(split=result, fold=-1)) == []
    assert (result == split(frame, SplitSettings(seed=seed), CUSTOM, LABELS)).all()


def test_a_draw_that_has_the_labels_in_their_shares_stays_as_it_is():
    frame = corpus(12, 12)
    for seed in range(5):
        settings = SplitSettings(seed=seed)
        assert (split(frame, settings, CUSTOM, ("anger", "fear")) == split(frame, settings, CUSTOM)).all()


def test_a_label_of_too_few_speakers_for_three_sets_is_refused_with_counts():
    frame = corpus(4, 4)
    frame.loc[frame["speaker"].isin(["w01", "m02"]) & (frame["emotion"] == "fear"), "emotion"] = "joy"
    with pytest.raises(InputError, match=r"no draw of 8 speakers .*: joy 4 of 2 speakers \(m02, w01\); expected 3"):
        split(frame, SplitSettings(), CUSTOM, ("anger", "fear", "joy"))


def test_a_rare_label_is_in_every_set_of_a_random_draw_or_refused():
    frame = corpus(4, 4)
    frame.loc[:2, "emotion"] = "joy"
    result = split(frame, SplitSettings(method="random"), CUSTOM, ("anger", "fear", "joy"))
    assert sorted(result[:3]) == ["dev", "test", "train"]
    frame.loc[2, "emotion"] = "fear"
    with pytest.raises(InputError, match="label 'joy' has 2 utterances, expected one or more in each"):
        split(frame, SplitSettings(method="random"), CUSTOM, ("anger", "fear", "joy"))

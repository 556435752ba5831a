"""Previous turns: a dialogue worked out by hand, and the definition written a second time over drawn dialogues."""

import re

import numpy as np
import pandas as pd
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.tables import dialogues, folds
from pipeline_lib.tables.manifest import Manifest


def corpus(rows) -> Manifest:
    """Return a manifest of (utterance_id, split, subsets, dialogue, turn)."""
    columns = ("utterance_id", "split", "subsets", "dialogue", "turn")
    frame = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in zip(columns, zip(*rows))})
    return Manifest(frame, "talk", ("anger",))


def by_hand():
    rows = [
        ("a", "train", [], "d1", 10),  # the last turn
        ("b", "train", [], "d1", 2),
        ("c", "train", [], "d1", 0),
        ("d", "train", [], "d1", 7),  # turns 3 to 6 are absent
        ("e", "train", [], "d1", 8),  # without words
        ("f", "train", [], "d2", 0),  # another dialogue
        ("g", "dev", [], "d1", 1),  # another split
        ("h", "train", [], None, None),  # in no dialogue
        ("i", "train", [], "d1", 7),  # at once with d
    ]
    return corpus(rows), ["A", "B", "C", "D", " ", "F", "G", "H", "I"]


def test_the_nearest_turns_with_words_come_in_order_and_never_across_a_dialogue_or_split():
    manifest, texts = by_hand()
    expected = {"a": "DI", "b": "C", "c": "", "d": "CB", "e": "DI", "f": "", "g": "", "h": "", "i": "CB"}
    assert dialogues.previous_turns(manifest, texts, 2) == [tuple(expected[name]) for name in manifest.ids]
    four = dialogues.previous_turns(manifest, texts, 4)
    assert four[0] == ("C", "B", "D", "I") and four[4] == ("C", "B", "D", "I") and four[8] == ("C", "B")


def test_the_count_of_previous_turns_is_told():
    manifest, texts = by_hand()
    line = dialogues.describe(dialogues.previous_turns(manifest, texts, 2), 2)
    assert line.startswith("context of 2 previous turns: 4 of 9 utterances have all of them, 4 have none (")


@pytest.mark.parametrize("most", [1, 3, 50])
def test_drawn_dialogues_are_the_definition_written_a_second_time(most):
    rng = np.random.default_rng(most)
    n = 300
    splits, numbers = rng.choice(["train", "dev", "test"], n).tolist(), rng.integers(0, 12, n).tolist()
    rows = [
        (f"u{i:03d}", splits[i], [], None if i % 11 == 0 else f"d{i % 7}", None if i % 11 == 0 else numbers[i])
        for i in range(n)
    ]
    manifest, texts = corpus(rows), [None if i % 13 == 0 else "" if i % 17 == 0 else f"text {i}" for i in range(n)]
    result = dialogues.previous_turns(manifest, texts, most)
    for i, (name, split, _, dialogue, turn) in enumerate(rows):
        earlier = sorted(
            (other_turn, other, texts[j])
            for j, (other, other_split, _, other_dialogue, other_turn) in enumerate(rows)
            if dialogue is not None and (other_split, other_dialogue) == (split, dialogue) and other_turn < turn
            if texts[j]
        )
        assert result[i] == tuple(text for _, _, text in earlier)[-most:], name


def test_with_folds_both_turns_are_on_one_side_of_every_fold():
    rows = [
        ("a", "folds", ["fold0", "fold1_dev", "fold1_dev_filt"], "d", 0),
        ("b", "folds", ["fold0"], "d", 1),
        ("c", "folds", ["fold1"], "d", 2),
        ("e", "folds", ["fold0", "mine"], "d", 3),
        ("f", "folds", ["fold0", "fold1_dev"], "d", 4),
    ]
    manifest = corpus(rows)
    found = dialogues.previous_turns(manifest, list("ABCEF"), 9)
    assert found == [(), (), (), ("B",), ("A",)]
    for fold in range(2):  # and so in each fold's view
        split = folds.view(manifest, fold).frame["split"].tolist()
        sides = dict(zip("ABCEF", split))
        assert all(sides[other] == side for side, turns in zip(split, found) for other in turns)
    seen = folds.view(manifest, 0)  # b, e are tested on with a and f; c trains alone
    assert dialogues.previous_turns(seen, list("ABCEF"), 9)[4] == ("A", "B", "E")


def test_a_corpus_without_dialogues_and_a_turn_without_a_number_are_refused():
    manifest, texts = by_hand()
    message = "context is 3 and talk has no dialogues, expected the columns dialogue and turn in its manifest; set"
    for frame in (manifest.frame.drop(columns=["dialogue", "turn"]), manifest.frame.assign(dialogue=None)):
        with pytest.raises(InputError, match=re.escape(message)):
            dialogues.previous_turns(Manifest(frame, "talk", ("anger",)), texts, 3)
    manifest.frame.loc[5, "turn"] = None
    with pytest.raises(InputError, match="context is 3 and 'f' of dialogue 'd2' has no turn, expected a whole number"):
        dialogues.previous_turns(manifest, texts, 3)

"""The draw: balanced over labels and speakers, nested, by its seed."""

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.robustness.draw import drawn
from tests.robustness.corpora import without_rows
from tests.scoring.corpora import drawn_manifest

CORPUS = drawn_manifest()
WITH_AUDIO = without_rows(CORPUS, audio="a.wav")


def test_all_of_a_split_that_has_audio_and_a_truth_is_taken_without_a_limit():
    assert np.array_equal(drawn(WITH_AUDIO, "test", None, 1), WITH_AUDIO.mask("test"))
    unlabelled = without_rows(WITH_AUDIO, arousal=np.nan, valence=np.nan, dominance=np.nan)
    taken = drawn(unlabelled, "test", None, 1)
    assert set(unlabelled.frame["emotion"][taken]) == {"anger", "neutral", "sadness"}


def test_a_draw_is_balanced_over_labels_and_speakers():
    categories = without_rows(WITH_AUDIO, arousal=np.nan, valence=np.nan, dominance=np.nan)
    rows = drawn(categories, "test", 12, 1)
    assert rows.sum() == 12 and not rows[~WITH_AUDIO.mask("test")].any()
    assert categories.frame["emotion"][rows].value_counts().tolist() == [4, 4, 4]
    assert categories.frame["speaker"][rows].value_counts().max() <= 4


def test_a_larger_draw_holds_a_smaller_one_and_another_seed_draws_others():
    small, large = (drawn(WITH_AUDIO, "test", n, 1) for n in (7, 15))
    assert small.sum() == 7 and large.sum() == 15 and not (small & ~large).any()
    assert not np.array_equal(small, drawn(WITH_AUDIO, "test", 7, 2))


def test_a_split_without_recordings_is_refused():
    with pytest.raises(InputError, match="no utterance of test has both a recording and a scored label"):
        drawn(CORPUS, "test", None, 1)

"""Mixing where experts are absent, by hand."""

import numpy as np

from pipeline_lib.fusion.availability import mix
from pipeline_lib.fusion.fuse import fuse
from pipeline_lib.tables.manifest import keep
from tests.fusion.experts import NO_ATTRIBUTES, NO_POSTERIOR, corpus, expert, settings

VALUES = np.array([[[1.0], [2.0], [np.nan]], [[3.0], [np.nan], [5.0]]])


def test_an_absent_experts_weight_goes_to_the_others():
    np.testing.assert_allclose(mix(VALUES, np.array([0.25, 0.75])), [[2.5], [2.0], [5.0]])


def test_where_only_experts_of_weight_zero_are_present_they_count_alike():
    np.testing.assert_allclose(mix(VALUES, np.array([1.0, 0.0])), [[1.0], [2.0], [5.0]])
    three = np.array([[[np.nan]], [[3.0]], [[5.0]]])
    np.testing.assert_allclose(mix(three, np.array([1.0, 0.0, 0.0])), [[4.0]])


def test_three_experts_of_which_one_is_absent_keep_their_ratio():
    three = np.array([[[np.nan]], [[3.0]], [[7.0]]])
    np.testing.assert_allclose(mix(three, np.array([0.2, 0.6, 0.2])), [[4.0]])


def test_nobody_present_is_nan():
    assert np.isnan(mix(np.full((2, 1, 1), np.nan), np.array([0.5, 0.5]))).all()


def test_utterances_that_no_expert_saw_are_left_out_counted_and_change_nothing_else(capsys):
    of = corpus()
    seen = np.arange(len(of)) > 2
    fused = fuse([expert(of, "audio", 1, rows=seen), expert(of, "text", 2, rows=seen)], of, settings())
    printed = capsys.readouterr().out
    assert (
        "3 of 120 utterances have no posterior of any expert among ['audio', 'text'], 'u000' first: they are" in printed
    )
    assert fused.fused.utterance_ids.tolist() == of.ids[3:].tolist()
    assert fused.crossfitted.utterance_ids.tolist() == of.ids[3::2].tolist()
    rest = keep(of, seen)
    same = fuse([expert(of, "audio", 1, rows=seen), expert(of, "text", 2, rows=seen)], rest, settings())
    np.testing.assert_array_equal(fused.fused.posterior, same.fused.posterior)
    np.testing.assert_array_equal(fused.crossfitted.attributes, same.crossfitted.attributes)


def test_an_utterance_with_posterior_and_without_attributes_is_left_out(capsys):
    of = corpus()
    late = np.arange(len(of)) > 2
    experts = [expert(of, "audio", 1, **NO_ATTRIBUTES), expert(of, "text", 2, late, **NO_POSTERIOR)]
    assert len(fuse(experts, of, settings()).fused) == 117
    assert "3 of 120 utterances have no attributes of any expert among ['text']" in capsys.readouterr().out

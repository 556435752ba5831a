"""Labels in common, and the posterior over them, against values worked out by hand."""

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.evaluation.labels import common, read_pairs, restricted, summed

OURS = ("angry", "calm", "happy", "neutral")
THEIRS = ["anger"] * 3 + ["joy"] * 2 + ["neutral"] * 4 + ["disgust"] * 5 + ["X", None]
PAIRS = {"anger": "angry", "joy": "happy"}


def test_names_count_as_their_counterparts_and_others_are_left_out_with_counts():
    shared = common(THEIRS, OURS, PAIRS, {})
    assert shared.labels == ("angry", "happy", "neutral")
    assert shared.names == {"anger": "angry", "joy": "happy", "neutral": "neutral"}
    assert shared.left_out == {"disgust": 5} and shared.unlabelled == 2
    assert shared.sentence() == (
        "3 labels in common: angry, happy, neutral; anger counts as angry; joy counts as happy; without a counterpart,"
        " and left out of the scores: disgust 5; 2 utterances without a label are left out too."
    )


def test_the_posterior_is_restricted_and_scaled_and_merged_labels_are_added():
    posterior = np.array([[0.1, 0.4, 0.2, 0.3], [0.0, 1.0, 0.0, 0.0]])
    shared = common(THEIRS, OURS, PAIRS, {})
    np.testing.assert_allclose(restricted(posterior, OURS, shared), [[1 / 6, 2 / 6, 3 / 6], [1 / 3, 1 / 3, 1 / 3]])
    every, labels = summed(posterior, OURS, shared)
    assert labels == ("angry", "happy", "neutral", "calm")
    np.testing.assert_array_equal(every[0], [0.1, 0.2, 0.3, 0.4])
    merged = common(THEIRS, OURS, PAIRS, {"calm": "neutral"})
    np.testing.assert_allclose(restricted(posterior, OURS, merged), [[0.1, 0.2, 0.7], [0.0, 0.0, 1.0]])
    assert "the system's calm counts as neutral" in merged.sentence()


@pytest.mark.parametrize(
    ("names", "merged", "message"),
    [
        ({"angr": "angry"}, {}, r"--map names 'angr' \(did you mean 'anger'\?\); the corpus has the emotions"),
        ({"anger": "angri"}, {}, r"--map names 'angri' \(did you mean 'angry'\?\); the system's labels are"),
        ({"anger": "calm"}, {"calm": "neutral"}, "--map names 'calm'"),
        (PAIRS, {"clam": "neutral"}, r"--merge names 'clam' \(did you mean 'calm'\?\)"),
        (PAIRS, {"calm": "happy", "happy": "neutral"}, r"--merge turns \['happy'\] into another"),
        ({}, {}, r"labels in common are \['neutral'\], expected two or more: the corpus has .* --map THEIRS=OURS"),
    ],
)
def test_unknown_names_and_too_few_in_common_are_refused(names, merged, message):
    with pytest.raises(InputError, match=message):
        common(THEIRS, OURS, names, merged)


def test_pairs_are_read_from_one_option():
    assert read_pairs(" anger=angry, joy =happy,", "--map") == PAIRS and read_pairs(None, "--map") == {}
    with pytest.raises(InputError, match=r"--map holds 'joy', expected pairs such as anger=angry"):
        read_pairs("anger=angry,joy", "--map")
    with pytest.raises(InputError, match="--map names 'anger' twice"):
        read_pairs("anger=angry,anger=happy", "--map")

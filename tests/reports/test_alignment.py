"""Retrieval and collapse by hand, and of a small shared transformer against loops."""

import numpy as np
import pytest
import torch

from pipeline_lib.errors import InputError
from pipeline_lib.networks.frames import Frames
from pipeline_lib.reports.alignment import drawn, largest_distances, measured, parameters, retrieval
from tests.networks.joint_networks import inputs, network
from tests.scoring.corpora import drawn_manifest


def test_every_utterance_finds_itself_where_vectors_are_orthogonal():
    eye = torch.eye(4)
    assert retrieval({"audio": eye, "text": eye}, among=4) == {"audio": 1.0, "text": 1.0}
    assert retrieval({"audio": eye, "text": eye.roll(1, 0)}, among=4) == {"audio": 0.0, "text": 0.0}


def test_audio_and_text_are_asked_each_for_itself():
    audio, text = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 3.0], [2.0, 4.0]])
    # similarities [[1, 2], [6, 8]]: both audios prefer text 1, both texts prefer audio 1
    assert retrieval({"audio": audio, "text": text}, among=2) == {"audio": 0.5, "text": 0.5}
    audio, text = torch.tensor([[5.0, 0.0], [0.0, 2.0]]), torch.tensor([[1.0, 3.0], [2.0, 4.0]])
    # similarities [[5, 10], [6, 8]]: audios prefer text 1, text 0 prefers audio 1, text 1 audio 0
    assert retrieval({"audio": audio, "text": text}, among=2) == {"audio": 0.5, "text": 0.0}


def test_the_dot_product_is_neither_normalised_nor_by_distance():
    audio = torch.tensor([[1.0, 0.0], [0.9, 0.1]])
    text = torch.tensor([[1.0, 0.0], [5.0, 5.0]])  # the long text wins over the like one
    assert retrieval({"audio": audio, "text": text}, among=2)["audio"] == 0.5


def test_vectors_of_zeros_are_at_chance():
    zeros = torch.zeros(64, 8)
    assert retrieval({"audio": zeros, "text": zeros}) == {"audio": 1 / 32, "text": 1 / 32}


def test_a_rest_that_fills_no_group_is_left_out():
    eye = torch.eye(5)
    wrong = torch.cat([eye[:4], torch.full((1, 5), -1.0)])
    assert retrieval({"audio": wrong, "text": eye}, among=4)["audio"] == 1.0
    assert retrieval({"audio": eye[:3], "text": eye[:3]}, among=4) is None


def test_the_largest_distance_is_between_an_utterances_own_frames():
    values = torch.tensor(
        [[[0.0, 0.0], [3.0, 4.0], [100.0, 0.0]], [[1.0, 1.0], [1.0, 1.0], [1.0, 2.0]], [[7.0, 7.0]] * 3]
    )
    values[0, 2] = torch.nan
    mask = torch.tensor([[True, True, False], [True, True, True], [True, False, False]])
    result = largest_distances(Frames(values, mask))
    assert result.tolist() == [5.0, 1.0]  # the last has one frame, which is no pair


def test_a_small_distance_between_far_vectors_is_not_lost_in_rounding():
    values = torch.tensor([[[1000.0, 1000.0], [1000.0, 1000.001]]])
    result = largest_distances(Frames(values, torch.ones(1, 2, dtype=torch.bool)))
    assert float(result) == pytest.approx(float(values[0, 1, 1] - values[0, 0, 1]), rel=1e-6)


def test_a_shared_transformer_is_measured_in_its_unimodal_passes():
    joint = network().eval()
    result = measured(joint, [inputs([[1, 1]] * 5, seed) for seed in (1, 2)])
    frames = joint.frames(inputs([[1, 1]] * 5, 1)), joint.frames(inputs([[1, 1]] * 5, 2))
    distances = {"input": [], "output": []}
    for each in frames:
        tokens = joint.join.tokens({"text": each["text"]})["text"]
        contextual = joint.join.contextual({"text": each["text"]})[1]["text"]
        for end, part in (("input", tokens), ("output", contextual)):
            for row in range(len(part.mask)):
                own = part.values[row, part.mask[row]].detach().double().numpy()
                if len(own) > 1:
                    pairs = [np.linalg.norm(a - b) for a in own for b in own]
                    distances[end].append(max(pairs))
    for end, each in distances.items():
        assert result["collapse"]["text"][end] == pytest.approx(np.mean(each), rel=1e-5)
    assert result["utterances"] == sum(len(each["text"].mask) for each in frames)
    assert result["retrieval"] is None  # fewer than 32


def test_parameters_are_counted_once_and_by_part():
    counted = parameters(network())
    assert counted["total"] == counted["encoders"] + counted["rest"]
    assert counted["encoders"] == sum(each.numel() for each in network().encoder.parameters())


def test_only_utterances_with_both_are_drawn_by_the_seed():
    corpus = drawn_manifest()
    present = np.ones((len(corpus), 2), dtype=bool)
    present[::2, 1] = False
    rows = drawn(corpus, present, "test", 10, 1)
    assert len(set(rows)) == 10
    assert all(corpus.frame["split"][rows] == "test")
    assert present[rows].all()
    np.testing.assert_array_equal(rows, drawn(corpus, present, "test", 10, 1))
    with pytest.raises(InputError, match="no utterance of 'test' has audio and text"):
        drawn(corpus, np.zeros_like(present), "test", 10, 1)

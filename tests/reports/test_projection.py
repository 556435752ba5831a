"""Embeddings in the plane: which utterances, which vectors, and the silhouette against its definition."""

import csv
import json

import numpy as np
import pytest

from pipeline_lib.errors import InputError
from pipeline_lib.reports import projection
from pipeline_lib.reports.projection import drawn, project, vectors_of
from pipeline_lib.tables import embeddings, manifest, predictions
from tests.scoring.corpora import drawn_manifest, drawn_predictions

CORPUS = drawn_manifest()
TEST = drawn(CORPUS, "test", 1000, 1)


def clustered(spread, seed=3):
    """Return vectors around a centre for each emotion, X around none."""
    generator = np.random.default_rng(seed)
    centres = np.vstack([np.eye(3, 8), np.zeros((1, 8))])
    return (centres[CORPUS.truth()] + spread * generator.normal(size=(len(CORPUS), 8))).astype(np.float32)


def predicted(path, vectors):
    said = drawn_predictions(CORPUS, "text", 1)
    predictions.write(
        path, predictions.Predictions(said.utterance_ids, "text", said.labels, said.posterior, embedding=vectors)
    )
    return path


def plain_silhouette(vectors, truth):
    """Rousseeuw's definition, a loop over everything, with the cosine's distance."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found = []
    for i, label in enumerate(truth):
        distances = 1 - unit @ unit[i]
        own = [distances[j] for j in range(len(truth)) if truth[j] == label and j != i]
        others = [np.mean(distances[truth == other]) for other in set(truth) - {label}]
        a, b = np.mean(own), min(others)
        found.append((b - a) / max(a, b))
    return np.mean(found)


def test_only_utterances_of_the_split_with_a_scored_emotion_are_drawn():
    assert set(CORPUS.frame["split"][TEST]) == {"test"}
    assert set(CORPUS.frame["emotion"][TEST]) <= set(CORPUS.labels)
    assert len(TEST) == ((CORPUS.frame["split"] == "test") & (CORPUS.frame["emotion"] != "X")).sum()


def test_the_lot_is_drawn_by_its_seed():
    some = drawn(CORPUS, "test", 10, 1)
    assert len(some) == 10
    assert set(some) < set(TEST)
    np.testing.assert_array_equal(some, drawn(CORPUS, "test", 10, 1))
    assert list(some) != list(drawn(CORPUS, "test", 10, 2))


def test_the_silhouette_is_rousseeuws_with_the_cosine():
    vectors, truth = clustered(0.4)[TEST].astype(np.float64), CORPUS.truth()[TEST]
    assert project(vectors, truth, 10.0, 1).silhouette == pytest.approx(plain_silhouette(vectors, truth), abs=1e-9)


def test_emotions_that_lie_apart_lie_apart_in_the_plane_too():
    truth = CORPUS.truth()[TEST]
    apart, mixed = (project(clustered(spread)[TEST], truth, 10.0, 1) for spread in (0.1, 3.0))
    assert apart.silhouette > 0.6
    assert apart.silhouette_in_the_plane > 0.4
    assert abs(mixed.silhouette) < 0.1


def test_predictions_and_folders_of_embeddings_give_the_asked_utterances_in_order(tmp_path):
    vectors = clustered(1.0)
    ids = CORPUS.ids[TEST][::-1]
    info = embeddings.Info("bert", "b", None, "text", 8, None, (0, 2), "mean", False, len(CORPUS))
    with embeddings.writing(tmp_path / "folder", info) as writer:
        writer.add(list(CORPUS.ids), {0: np.zeros((len(CORPUS), 8), np.float16), 2: vectors.astype(np.float16)})
    table = predicted(tmp_path / "text.parquet", vectors)
    np.testing.assert_array_equal(vectors_of(table, None, ids), vectors[TEST][::-1])
    np.testing.assert_allclose(vectors_of(tmp_path / "folder", None, ids), vectors[TEST][::-1], atol=5e-3)
    np.testing.assert_array_equal(vectors_of(tmp_path / "folder", 0, ids), 0)


def test_an_utterance_without_embedding_is_refused_by_name(tmp_path):
    table = predicted(tmp_path / "text.parquet", clustered(1.0))
    with pytest.raises(InputError, match=r"lacks 1 of 2 utterances, 'test_9_99' first"):
        vectors_of(table, None, [CORPUS.ids[0], "test_9_99"])


def test_predictions_without_embedding_are_refused(tmp_path):
    predictions.write(tmp_path / "fused.parquet", drawn_predictions(CORPUS, "fused", 1))
    with pytest.raises(InputError, match="holds no embeddings"):
        vectors_of(tmp_path / "fused.parquet", None, CORPUS.ids)


def test_the_command_writes_picture_points_and_silhouettes_the_same_twice(tmp_path):
    manifest.write(tmp_path / "manifest.parquet", CORPUS)
    systems = [
        f"{name}={predicted(tmp_path / f'{name}.parquet', clustered(spread))}"
        for name, spread in (("before", 2.0), ("after", 0.2))
    ]
    written = []
    for folder in ("one", "two"):
        projection.write_figure(
            systems, perplexity=10.0, manifest_path=tmp_path / "manifest.parquet", out=tmp_path / folder / "p"
        )
        written.append({path.name: path.read_bytes() for path in (tmp_path / folder).iterdir()})
    assert written[0] == written[1]
    said = json.loads(written[0]["p.json"])
    assert said["silhouette"]["after"] > 0.5 > said["silhouette"]["before"]
    assert said["notice"] == "drawn numbers"
    points = list(csv.DictReader(written[0]["p.csv"].decode().splitlines()))
    assert len(points) == 2 * len(TEST)
    assert written[0]["p.png"].startswith(b"\x89PNG")


def test_a_system_without_a_path_is_refused(tmp_path):
    with pytest.raises(InputError, match="'before' is no system, expected NAME=PATH"):
        projection.write_figure(["before"])

"""Whisper's real weights on RAVDESS: word error rate by emotion, and what a linear model reads from each layer.

    python -m benchmarks.whisper_ravdess CHECKPOINT CORPUS [--each 2] [--work work/whisper_ravdess]

CHECKPOINT is a folder of a Whisper checkpoint, CORPUS the folder that holds RAVDESS' ``Actor_NN``. Texts come from the
transcription stage's engine with the language set (RAVDESS' two sentences are the reference texts), layers from the
embedding stage's encoder: the mean over an utterance's own frames. For the layer curve the 24 actors are drawn into
folds of as many women as men; each fold is predicted by models that were fitted on the other folds, and all predictions
are scored together, with intervals over actors. Two classifiers: LDA with the within-class covariance shrunk by Ledoit
and Wolf's rule, and logistic regression as in the probe of the layer curve. Nothing is chosen on the scored actors: the
curve shows every layer.

``--each`` takes so many recordings of every actor and emotion, drawn with a fixed seed (8, the default, is all of
them). Results are stored in the work folder; the same command, or one with a larger ``--each``, goes on there.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline_lib.audio import decoding
from pipeline_lib.classifiers.lda import LinearDiscriminantAnalysis
from pipeline_lib.command import run
from pipeline_lib.corpus import ravdess
from pipeline_lib.embedding.pool import embed_batch
from pipeline_lib.encoders.load import load_speech
from pipeline_lib.errors import InputError
from pipeline_lib.metrics.words import word_error_rate
from pipeline_lib.params.corpus import CorpusSettings
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.scoring import IntervalSettings
from pipeline_lib.params.transcription import WhisperSettings
from pipeline_lib.scoring.intervals import intervals
from pipeline_lib.scoring.tallies import clusters, tally_categories
from pipeline_lib.shards.store import run_shards
from pipeline_lib.storage.fingerprint import file_digest, fingerprint
from pipeline_lib.transcription.quality import loops
from pipeline_lib.transcription.whisper import Whisper

SHARD, BATCH = 48, 8  # utterances
FOLDS, SEED = 6, 1
LABELS = list(ravdess.CUSTOM.labels)


def main(
    checkpoint: Path,
    corpus: Path,
    each: int = 8,
    language: str = "en",
    work: Path = Path("work/whisper_ravdess"),
) -> None:
    """Print the word error rate by emotion and the layer curve."""
    if not 1 <= each <= 8:
        raise InputError(f"each is {each}, expected 1 to 8 recordings of an actor and emotion")
    frame = ravdess.read(corpus, CorpusSettings(reader="ravdess", root=str(corpus)))
    rank = ranks(frame)
    paths = [decoding.resolve_under(corpus, path) for path in frame["audio"]]
    shards = [part for number in range(each) for part in plan(np.flatnonzero(rank == number).tolist())]
    source = fingerprint(frame["utterance_id"].tolist(), file_digest(checkpoint / "model.safetensors"), SEED)
    texts = transcribed(checkpoint, paths, shards, language, work / f"texts_{language}_{source}")
    layers = embedded(checkpoint, paths, shards, work / f"layers_{source}")
    frame = frame.iloc[[row for part in shards for row in part]]
    print(f"{len(frame)} recordings of {frame['speaker'].nunique()} actors, {checkpoint.name}")
    print(words(frame, texts))
    print(curve(frame, layers))


def ranks(frame: pd.DataFrame) -> np.ndarray:
    """Return the rank of each recording in a random order of the recordings of its actor and emotion, from 0."""
    draw = pd.Series(np.random.default_rng(SEED).permutation(len(frame)), frame.index)
    return draw.groupby([frame["speaker"], frame["emotion"]]).rank().to_numpy().astype(int) - 1


def transcribed(checkpoint: Path, paths: list[Path], shards: list[list[int]], language: str, work: Path) -> list[str]:
    """Return a text for each row of the shards, in their order."""
    engine = Whisper(WhisperSettings(checkpoint=str(checkpoint), language=language), "cpu")

    def compute(rows: list[int]) -> pa.Table:
        parts = [rows[i : i + BATCH] for i in range(0, len(rows), BATCH)]
        texts = [text for part in parts for text in engine.transcribe([decoding.decode(paths[row]) for row in part])]
        return pa.table({"row": rows, "text": texts})

    return pa.concat_tables(run_shards(work, shards, compute, "transcribing"))["text"].to_pylist()


def embedded(checkpoint: Path, paths: list[Path], shards: list[list[int]], work: Path) -> np.ndarray:
    """Return mean hidden states for each row of the shards, in their order, shape ``(layers, n, width)``."""
    encoder = load_speech(EncoderSettings(checkpoint=str(checkpoint)), torch.device("cpu"))
    layers = range(encoder.n_layers + 1)

    def compute(rows: list[int]) -> pa.Table:
        states: dict[int, list[np.ndarray]] = {layer: [] for layer in layers}
        for part in (rows[i : i + BATCH] for i in range(0, len(rows), BATCH)):
            inputs = encoder.prepare([decoding.decode(paths[row]) for row in part])
            vectors, _ = embed_batch(encoder, inputs, [paths[row].stem for row in part], layers, "mean", frames=False)
            for layer in layers:
                states[layer] += list(vectors[layer].astype(np.float32))
        return pa.table({"row": rows, **{str(layer): states[layer] for layer in layers}})

    table = pa.concat_tables(run_shards(work, shards, compute, "embedding"))
    return np.stack([np.array(table[str(layer)].to_pylist()) for layer in layers])


def plan(rows: list[int]) -> list[list[int]]:
    """Return rows cut into shards."""
    return [rows[start : start + SHARD] for start in range(0, len(rows), SHARD)]


def words(frame: pd.DataFrame, texts: list[str]) -> str:
    """Return the word error rate of each emotion and of all, a line each."""
    references = frame["reference_text"].tolist()
    lines = ["emotion: recordings, word error rate, recordings without an error, empty, looping"]
    for emotion in [*LABELS, "all"]:
        rows = [i for i, label in enumerate(frame["emotion"]) if emotion in (label, "all")]
        if not rows:
            continue
        pairs = [([references[i]], [texts[i]]) for i in rows]
        rate = word_error_rate([references[i] for i in rows], [texts[i] for i in rows])
        right = sum(word_error_rate(*pair) == 0 for pair in pairs) / len(rows)
        empty, looping = sum(not texts[i].strip() for i in rows), sum(loops(texts[i]) for i in rows)
        lines.append(f"{emotion}: {len(rows)}, {rate:.2%}, {right:.1%}, {empty}, {looping}")
    return "\n".join(lines)


def curve(frame: pd.DataFrame, layers: np.ndarray) -> str:
    """Return the unweighted accuracy of both classifiers on each layer, a line each."""
    truth = np.array([LABELS.index(label) for label in frame["emotion"]])
    fold, speakers = folds(frame), frame["speaker"].tolist()
    lines = [f"layer: UA by LDA, UA by logistic regression ({FOLDS} folds of actors, chance {1 / len(LABELS):.3f})"]
    for layer, values in enumerate(layers.astype(np.float64)):
        scores = []
        for fit in (by_lda, by_regression):
            prediction = np.empty_like(truth)
            for number in range(FOLDS):
                train, test = fold != number, fold == number
                scale = StandardScaler().fit(values[train])
                prediction[test] = fit(scale.transform(values[train]), truth[train], scale.transform(values[test]))
            tally = tally_categories(truth, prediction, clusters(speakers), len(LABELS))
            scores.append(number(intervals(tally, IntervalSettings()), "ua", ".3f"))
        lines.append(f"{layer}: {', '.join(scores)}")
    return "\n".join(lines)


def folds(frame: pd.DataFrame) -> np.ndarray:
    """Return the fold of each recording; a fold has as many women as men where the corpus has."""
    draw, fold = np.random.default_rng(SEED), {}
    for _, group in frame.groupby("gender", sort=True):
        actors = sorted(group["speaker"].unique())
        fold |= {actor: i % FOLDS for i, actor in enumerate(draw.permutation(actors))}
    return frame["speaker"].map(fold).to_numpy()


def by_lda(train: np.ndarray, truth: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the predicted labels."""
    model = LinearDiscriminantAnalysis(shrinkage="ledoit_wolf").fit(train, truth)
    return model.classes_[model.predict_proba(test).argmax(axis=1)]


def by_regression(train: np.ndarray, truth: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the predicted labels."""
    return LogisticRegression(C=1.0, max_iter=2000, tol=1e-3).fit(train, truth).predict(test)


if __name__ == "__main__":
    run(main)

"""What 88 hand-made acoustic features and a logistic regression reach: a floor for every audio expert.

    python -m benchmarks.egemaps_baseline

eGeMAPS v02 functionals (Eyben et al. 2016) of whole utterances, standardised with the training split's mean and
deviation, into a multinomial logistic regression with balanced class weights. Its C is the one with the highest UA on
dev; nothing is fitted on the scored split. Splits and labels are those of data/manifest.parquet, intervals those of
the scoring stage. Features are stored in work/egemaps/, by the recordings' checksums. Needs the extra egemaps.
"""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline_lib.command import run
from pipeline_lib.embedding.embed import embed
from pipeline_lib.metrics.categories import unweighted_accuracy
from pipeline_lib.params.base import read_value
from pipeline_lib.params.embedding import EmbeddingSettings
from pipeline_lib.params.encoder import EncoderSettings
from pipeline_lib.params.machine import EmbeddingMachine
from pipeline_lib.params.scoring import IntervalSettings
from pipeline_lib.scoring.cells import number
from pipeline_lib.scoring.intervals import intervals
from pipeline_lib.scoring.tallies import clusters, tally_categories
from pipeline_lib.storage.fingerprint import fingerprint
from pipeline_lib.tables import embeddings, manifest, segments

PENALTIES = tuple(float(c) for c in 10.0 ** np.arange(-4, 2))  # C: inverse strength of the L2 penalty
SETTINGS = EmbeddingSettings(modality="audio", encoder=EncoderSettings(checkpoint="functionals/eGeMAPSv02"))


def main(
    manifest_path: Path = Path("data/manifest.parquet"),
    root: Path | None = None,
    split: str = "test",
    jobs: int = 2,
    work: Path = Path("work/egemaps"),
) -> None:
    """Print UA and macro-F1 of eGeMAPS and logistic regression on a split; root is params.yaml's corpus.root."""
    corpus = manifest.read(manifest_path)
    truth = corpus.truth()
    corpus = manifest.keep(corpus, (truth >= 0) & corpus.has_audio)
    values = features(corpus, Path(read_value("corpus.root")) if root is None else root, jobs, work)
    print(evaluate(corpus, values, split))


def features(corpus: manifest.Manifest, root: Path, jobs: int, work: Path) -> np.ndarray:
    """Return eGeMAPS functionals of every utterance, shape ``(n, 88)``; what was extracted before is read."""
    folder = work / fingerprint(SETTINGS.model_dump(), corpus.ids.tolist(), segments.content(corpus))
    if not folder.is_dir():
        embed(corpus, root, None, SETTINGS, folder, work, EmbeddingMachine(workers=jobs))
    ids, values = embeddings.read_layer(folder, 0)
    return values[pd.Index(ids).get_indexer(corpus.ids)].astype(np.float64)


def evaluate(corpus: manifest.Manifest, values: np.ndarray, split: str) -> str:
    """Return the scores on the split as lines to print; every utterance of the corpus has a scored label."""
    truth, n_labels = corpus.truth(), len(corpus.labels)
    train, dev, scored = corpus.mask("train"), corpus.mask("dev"), corpus.mask(split)
    values = StandardScaler().fit(values[train]).transform(values)
    models = [fitted(values[train], truth[train], penalty) for penalty in PENALTIES]
    on_dev = [unweighted_accuracy(truth[dev], model.predict(values[dev]), n_labels) for model in models]
    best = int(np.argmax(on_dev))
    speakers = [name if isinstance(name, str) else None for name in corpus.frame["speaker"][scored]]
    tally = tally_categories(truth[scored], models[best].predict(values[scored]), clusters(speakers), n_labels)
    present = len(set(truth[scored]))
    scores = {**intervals(tally, IntervalSettings()), "labels_present": (present, n_labels)}
    lines = [f"{corpus.corpus}: eGeMAPS, logistic regression, C {PENALTIES[best]:g} (UA {on_dev[best]:.3f} on dev)"]
    lines += [corpus.notice] if corpus.notice else []
    known, chance = len(set(speakers) - {None}), present / n_labels**2
    lines += [f"{split}: {int(scored.sum())} utterances, {known} speakers, chance UA {chance:.3f}"]
    for name, title in (("ua", "UA"), ("macro_f1", "macro-F1"), ("wa", "WA")):
        lines += [f"{title} {number(scores, name, '.3f')}"]
    return "\n".join(lines)


def fitted(values: np.ndarray, truth: np.ndarray, penalty: float) -> LogisticRegression:
    """Return logistic regression with balanced class weights.

    Args:
        values: standardised, shape ``(n, width)``
        truth: label indices, shape ``(n,)``
        penalty: scikit-learn's C
    """
    return LogisticRegression(C=penalty, class_weight="balanced", max_iter=5000).fit(values, truth)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run(main)

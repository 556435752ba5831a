"""What 88 hand-made acoustic features and a logistic regression reach: a floor for every audio expert.

    python -m benchmarks.egemaps_baseline

eGeMAPS v02 functionals (Eyben et al. 2016) of whole utterances, standardised with the training split's mean and
deviation, into a multinomial logistic regression with balanced class weights. Its C is the one with the highest UA on
dev; nothing is fitted on the scored split. Splits and labels are those of data/manifest.parquet, intervals those of
the scoring stage. Features are stored in work/egemaps/, by the recordings' checksums. Needs opensmile (a development
dependency).
"""

import os
from concurrent.futures import ProcessPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from pipeline_lib.audio.decoding import SAMPLE_RATE
from pipeline_lib.command import run
from pipeline_lib.errors import InputError
from pipeline_lib.metrics.categories import unweighted_accuracy
from pipeline_lib.params.base import read_value
from pipeline_lib.scoring.bootstrap import clusters, intervals, tally_categories
from pipeline_lib.shards.store import by_length, run_shards
from pipeline_lib.storage.fingerprint import fingerprint
from pipeline_lib.tables import manifest, segments
from pipeline_lib.tables.segments import Recording

PENALTIES = tuple(float(c) for c in 10.0 ** np.arange(-4, 2))  # C: inverse strength of the L2 penalty
SHARD = 120  # utterances
SAMPLES, SEED, CONFIDENCE = 2000, 1, 0.95


def main(
    manifest_path: Path = Path("data/manifest.parquet"),
    root: Path | None = None,
    split: str = "test",
    jobs: int = 2,
    work: Path = Path("work/egemaps"),
) -> None:
    """Print UA and macro-F1 of eGeMAPS and logistic regression on a split; root is params.yaml's corpus.root."""
    if find_spec("opensmile") is None:
        raise InputError(
            "opensmile is not installed; it comes with the development dependencies: pip install -e '.[dev]'"
        )
    corpus = manifest.read(manifest_path)
    truth = corpus.truth()
    corpus = manifest.keep(corpus, (truth >= 0) & corpus.has_audio)
    values = features(corpus, Path(read_value("corpus.root")) if root is None else root, jobs, work)
    print(evaluate(corpus, values, split))


def features(corpus: manifest.Manifest, root: Path, jobs: int, work: Path) -> np.ndarray:
    """Return eGeMAPS functionals of every utterance, shape ``(n, 88)``; what was extracted before is read."""
    recordings = segments.of(corpus, root)
    plan = by_length(corpus.frame["duration_s"].tolist(), SHARD)
    folder = work / fingerprint("eGeMAPSv02", corpus.ids.tolist(), segments.content(corpus))
    with ProcessPoolExecutor(jobs) as pool:

        def compute(rows: list[int]) -> pa.Table:
            vectors = list(pool.map(functionals, [recordings[row] for row in rows], chunksize=8))
            return pa.table({"row": rows, "egemaps": vectors})

        tables = pa.concat_tables(run_shards(folder, plan, compute, "extracting eGeMAPS"))
    values = np.empty((len(corpus), len(tables["egemaps"][0])))
    values[tables["row"].to_numpy()] = tables["egemaps"].to_pylist()
    return values


def functionals(recording: Recording) -> list[float]:
    """Return the eGeMAPS functionals of a recording or part of one, 88 numbers."""
    import opensmile  # loads its library: in the processes that extract, not in the one that waits

    extractor = opensmile.Smile(opensmile.FeatureSet.eGeMAPSv02, opensmile.FeatureLevel.Functionals)
    frame = extractor.process_signal(segments.decode(recording), SAMPLE_RATE)
    return [float(value) for value in frame.to_numpy()[0]]


def evaluate(corpus: manifest.Manifest, values: np.ndarray, split: str) -> str:
    """Return the scores on the split as lines to print; every utterance of the corpus has a scored label."""
    truth, n_labels = corpus.truth(), len(corpus.labels)
    train, dev, scored = corpus.mask("train"), corpus.mask("dev"), corpus.mask(split)
    values = StandardScaler().fit(values[train]).transform(values)
    models = [_fitted(values[train], truth[train], penalty) for penalty in PENALTIES]
    on_dev = [unweighted_accuracy(truth[dev], model.predict(values[dev]), n_labels) for model in models]
    best = int(np.argmax(on_dev))
    speakers = [name if isinstance(name, str) else None for name in corpus.frame["speaker"][scored]]
    tally = tally_categories(truth[scored], models[best].predict(values[scored]), clusters(speakers), n_labels)
    scores = intervals(tally, SAMPLES, SEED, CONFIDENCE)
    lines = [f"{corpus.corpus}: eGeMAPS, logistic regression, C {PENALTIES[best]:g} (UA {on_dev[best]:.3f} on dev)"]
    lines += [corpus.notice] if corpus.notice else []
    lines += [f"{split}: {int(scored.sum())} utterances, {len(set(speakers))} speakers, chance UA {1 / n_labels:.3f}"]
    for name, title in (("ua", "UA"), ("macro_f1", "macro-F1"), ("wa", "WA")):
        lines += [f"{title} {scores[name]:.3f} [{scores[f'{name}_lo']:.3f}, {scores[f'{name}_hi']:.3f}]"]
    return "\n".join(lines)


def _fitted(values: np.ndarray, truth: np.ndarray, penalty: float) -> LogisticRegression:
    return LogisticRegression(C=penalty, class_weight="balanced", max_iter=5000).fit(values, truth)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    run(main)

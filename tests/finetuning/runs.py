"""One training on the corpus of hisses and words, and settings that several tests share."""

from pipeline_lib.finetuning.finetune import discard, finetune
from pipeline_lib.tables import predictions
from tests.finetuning import corpora

LONG = {
    "adaptation": {"method": "full"},
    "phases": {"only": {"epochs": 12}},
    "early_stopping": {"patience": None},
}
LONG_AUDIO = corpora.merged(LONG, {"phases": {"only": {"chunk_s": None}}})
BOTH = {"targets": {"attributes": ["arousal", "valence"]}, "losses": {"concordance": 1.0}}
SCORED = {"head": {"kind": "sequence_classification"}, "text": "reference"}


def run(tones, folder, settings, corpus=None, name="tones", **how):
    """Train into a folder; return the predictions and the bytes of everything that was written."""
    corpus = tones.corpus if corpus is None else corpus
    texts = tones.texts if settings.modality == "text" else None
    paths = {"expert": folder / "models" / name, "curve": folder / "curve.csv", "work": folder / "work"}
    paths |= {"machine": corpora.machine(**how)}
    result, unfinished = finetune(name, settings, corpus, tones.root, texts, **paths)
    predictions.write(folder / "predictions.parquet", result)
    discard(unfinished)
    files = [*sorted(paths["expert"].iterdir()), paths["curve"], folder / "predictions.parquet"]
    return result, {file.name: file.read_bytes() for file in files}


def accuracy(result, corpus, split="test"):
    truth, rows = corpus.truth(), corpus.mask(split) & (corpus.truth() >= 0)
    return float((result.posterior[rows, : len(corpus.labels)].argmax(axis=1) == truth[rows]).mean())

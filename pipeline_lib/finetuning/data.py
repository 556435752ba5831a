"""What an expert learns from: targets, and the recordings or texts; checked before a model is loaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline_lib.audio import SAMPLE_RATE, decode
from pipeline_lib.errors import InputError
from pipeline_lib.finetuning import votes
from pipeline_lib.finetuning.settings import FinetuningSettings
from pipeline_lib.labels import GENDERS, PSEUDO, indices
from pipeline_lib.tables.manifest import Manifest

Read = Callable[[int, float, float | None], "np.ndarray | str"]
BYTES_PER_S = 4 * SAMPLE_RATE


@dataclass(frozen=True)
class Targets:
    """What is trained towards, one row an utterance of the manifest.

    Attributes:
        labels: those trained on, the corpus's first, then O and X where they are trained on and occur in train
        n_scored: how many of them are the corpus's
        emotion: label indices, int64, shape ``(n,)``, -1 where missing; of the consensus, with soft labels too
        attribute_names: in order
        attributes: on the trained range, float32, shape ``(n, n_attributes)``, NaN where missing
        scale: of the corpus
        range: lowest and highest trained value
        soft: with soft labels, distributions over ``labels``, float32, shape ``(n, n_labels)``, zeros where missing
        gender: where it is trained, index in ``labels.GENDERS``, int64, shape ``(n,)``, -1 where missing
    """

    labels: tuple[str, ...]
    n_scored: int
    emotion: np.ndarray
    attribute_names: tuple[str, ...]
    attributes: np.ndarray
    scale: tuple[float, float]
    range: tuple[float, float]
    soft: np.ndarray | None = None
    gender: np.ndarray | None = None

    def known(self) -> np.ndarray:
        """Return which utterances have anything to train towards, shape ``(n,)``."""
        found = (self.emotion >= 0) | np.isfinite(self.attributes).any(axis=1)
        if self.soft is not None:
            found = found | self.soft.any(axis=1)
        return found if self.gender is None else found | (self.gender >= 0)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what the losses compare with, by the names of ``losses.combined``."""
        found = {"emotion": self.emotion if self.soft is None else self.soft, "attributes": self.attributes}
        return found if self.gender is None else {**found, "gender": self.gender}

    def on_scale(self, attributes: np.ndarray) -> np.ndarray:
        """Return trained values on the corpus's scale, float64; they are not clipped."""
        return to_scale(attributes, self.range, self.scale)


def targets_of(corpus: Manifest, settings: FinetuningSettings) -> Targets:
    """Return the corpus's labels and attributes as they are trained.

    Attributes are mapped from the corpus's scale to [-1, 1] or [0, 1]. CCC changes when one of truth and prediction is
    mapped and the other not: predictions are mapped back before they are scored or written.
    """
    asked = settings.targets
    train = corpus.mask("train")
    there = set(corpus.frame["emotion"][train])
    pseudo = tuple(label for label in PSEUDO if asked.pseudo_labels and label in there)
    labels, soft = (*corpus.labels, *pseudo) if asked.emotion else (), None
    if asked.soft_labels:
        labels, soft = votes.soft_labels(corpus, pseudo_labels=asked.pseudo_labels)
    bounds = (-1.0, 1.0) if asked.attribute_range == "signed" else (0.0, 1.0)
    names = tuple(asked.attributes)
    values = to_scale(corpus.attributes(names), corpus.attribute_scale, bounds)
    return Targets(
        labels=labels,
        n_scored=len(corpus.labels) if labels else 0,
        emotion=corpus.truth(labels),
        attribute_names=names,
        attributes=values.astype(np.float32).reshape(len(corpus), len(names)),
        scale=corpus.attribute_scale,
        range=bounds,
        soft=soft,
        gender=indices(corpus.frame["gender"].tolist(), GENDERS) if asked.gender else None,
    )


def to_scale(values: np.ndarray, source: tuple[float, float], target: tuple[float, float]) -> np.ndarray:
    """Return values mapped so that one scale's ends lie on the other's."""
    share = (np.asarray(values, dtype=np.float64) - source[0]) / (source[1] - source[0])
    return target[0] + share * (target[1] - target[0])


def texts_of(corpus: Manifest, transcripts: Sequence[str] | None, settings: FinetuningSettings) -> list[str] | None:
    """Return what a text expert reads of each utterance; None for an audio expert.

    Raises:
        InputError: there are no transcripts, or the corpus lacks human text somewhere
    """
    if settings.modality == "audio":
        return None
    if settings.text == "transcripts":
        if transcripts is None:
            raise InputError(
                "a text expert needs transcripts, and there are none; run the stage transcription (dvc repro)"
            )
        return list(transcripts)
    reference = corpus.frame["reference_text"]
    lacking = corpus.ids[reference.isna().to_numpy()]
    if len(lacking):
        said = f"{len(lacking)} of {len(corpus)} utterances of {corpus.corpus} have no human text, {lacking[0]!r} first"
        raise InputError(f"{said}; set text to transcripts")
    return reference.tolist()


def check_data(corpus: Manifest, targets: Targets, settings: FinetuningSettings) -> tuple[np.ndarray, np.ndarray]:
    """Return the manifest's rows to train on and to develop on.

    Raises:
        InputError: something that the settings ask for is not in the corpus
    """
    usable = usable_rows(corpus, settings)
    if not usable.any():
        raise InputError(f"{corpus.corpus} has no audio, an audio expert cannot be trained on it; set modality to text")
    train = np.flatnonzero(corpus.mask("train") & targets.known() & usable)
    _check_beyond_consensus(corpus, targets, train)
    known = targets.emotion[train][targets.emotion[train] >= 0]
    counts = np.bincount(known, minlength=len(targets.labels)) if targets.soft is None else targets.soft[train].sum(0)
    unseen = [label for label, count in zip(targets.labels, counts) if count == 0]
    if unseen:
        raise InputError(f"{corpus.corpus} has no training example of {unseen}; mend the corpus's labels or its splits")
    for i, name in enumerate(targets.attribute_names):
        if np.isfinite(targets.attributes[train, i]).sum() < 2:
            raise InputError(f"{corpus.corpus} has no {name} in its training split; leave it out of targets.attributes")
    smallest = min(phase.batch_size for phase in settings.phases.values())
    if len(train) < 2:
        raise InputError(f"{corpus.corpus} has {len(train)} utterances to train on, wanted at least {smallest}")
    if any(phase.sampler != "natural" for phase in settings.phases.values()):
        _check_balance(corpus, targets, train)
    return train, _development(corpus, targets, settings, usable)


def usable_rows(corpus: Manifest, settings: FinetuningSettings) -> np.ndarray:
    """Return which utterances the expert can read, shape ``(n,)``; one without audio gets no audio prediction."""
    if settings.modality == "text":
        return np.ones(len(corpus), dtype=bool)
    return corpus.frame["audio"].notna().to_numpy()


def classes_of(corpus: Manifest, targets: Targets) -> np.ndarray:
    """Return the labels that a balanced sampler evens out: those trained, or where none are, the corpus's."""
    return targets.emotion if targets.labels else corpus.truth()


class Recordings:
    """Waveforms of a corpus's rows, decoded when asked for, or kept in memory."""

    def __init__(self, paths: Sequence[Path], minimum_samples: int) -> None:
        """Take the files.

        Args:
            paths: one a row of the manifest
            minimum_samples: shorter chunks are filled up with zeros
        """
        self.paths, self.minimum_samples = paths, minimum_samples
        self.kept: np.ndarray | None = None
        self.places: dict[int, tuple[int, int]] = {}

    def keep(self, rows: Sequence[int], durations_s: np.ndarray, limit_gb: float) -> bool:
        """Decode the rows once and keep them, where they fit into the limit; return whether they did."""
        if not len(rows) or float(durations_s[rows].sum()) * BYTES_PER_S > limit_gb * 1e9:
            return False
        waveforms = [decode(self.paths[row]) for row in rows]
        ends = np.cumsum([len(each) for each in waveforms])
        self.kept = np.concatenate(waveforms)
        self.places = {int(row): (int(end) - len(x), int(end)) for row, end, x in zip(rows, ends, waveforms)}
        return True

    def __call__(self, row: int, start_s: float, duration_s: float | None) -> np.ndarray:
        """Return a chunk, float32, 16 kHz, shape ``(n_samples,)``; duration None reads to the end."""
        if self.kept is not None and row in self.places:
            first, end = self.places[row]
            start = first + round(start_s * SAMPLE_RATE)
            chunk = self.kept[start : end if duration_s is None else min(end, start + round(duration_s * SAMPLE_RATE))]
        else:
            chunk = decode(self.paths[row], start_s, duration_s)
        if len(chunk) < self.minimum_samples:
            chunk = np.pad(chunk, (0, self.minimum_samples - len(chunk)))
        return chunk


class Texts:
    """Texts of a corpus's rows; a text has no chunks."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts

    def __call__(self, row: int, start_s: float, duration_s: float | None) -> str:
        """Return the whole text."""
        return self.texts[row]


def _development(corpus: Manifest, targets: Targets, settings: FinetuningSettings, usable: np.ndarray) -> np.ndarray:
    """Return the rows that early stopping measures on."""
    dev = corpus.mask("dev") & usable
    metric = settings.early_stopping.metric
    scored = (targets.emotion >= 0) & (targets.emotion < targets.n_scored)
    complete = np.isfinite(targets.attributes).any(axis=1)
    has = {"macro_f1": scored, "ua": scored, "mean_ccc": complete, "loss": targets.known()}[metric]
    if not (dev & has).any():
        what = "attributes" if metric == "mean_ccc" else "labels"
        raise InputError(f"the split 'dev' of {corpus.corpus} has no {what}, early stopping measures {metric!r} on it")
    return np.flatnonzero(dev & targets.known())


def _check_beyond_consensus(corpus: Manifest, targets: Targets, train: np.ndarray) -> None:
    if targets.soft is not None and not votes.counted(corpus, targets.labels)[train].any():
        raise InputError(
            f"{corpus.corpus} has no annotators' votes for {list(targets.labels)} in its training split; set"
            " targets.soft_labels to false"
        )
    if targets.gender is not None:
        unseen = [gender for i, gender in enumerate(GENDERS) if not (targets.gender[train] == i).any()]
        if unseen:
            raise InputError(
                f"{corpus.corpus} has no utterance of gender {unseen} in its training split; set targets.gender to"
                " false"
            )


def _check_balance(corpus: Manifest, targets: Targets, train: np.ndarray) -> None:
    classes = classes_of(corpus, targets)[train]
    unseen = [label for i, label in enumerate(targets.labels or corpus.labels) if not (classes == i).any()]
    if unseen:
        raise InputError(
            f"samplers 'balanced' and 'annealed' need an example of every label, {corpus.corpus} has none of {unseen}"
            " in train"
        )

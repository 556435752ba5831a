"""Tables of a system in memory as predictions of single recordings."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from pipeline_lib.audio.decoding import SAMPLE_RATE, SILENCE
from pipeline_lib.errors import InputError
from pipeline_lib.inference.loaded import Models
from pipeline_lib.inference.memory import MemoryRun
from pipeline_lib.inference.prediction import Failure, Prediction, Recording
from pipeline_lib.rebalancing.prior import rebalance
from pipeline_lib.tables.predictions import Predictions

TOLERANCE = 1e-3  # of the sum of a prior that is given


class Outcomes:
    """The predictions of one application of a system.

    Args:
        models: of the system
        run: its application
        fused: its table, under the requested prior
    """

    def __init__(self, models: Models, run: MemoryRun, fused: Predictions) -> None:
        self._models, self._run, self._fused = models, run, fused
        self._entries = {name: run.read(f"rebalanced/{name}.parquet") for name in models.system.fusion.experts}
        self._rows = {name: _rows(table) for name, table in self._entries.items()}
        self._fused_rows = _rows(fused)
        self._of_system = prior_notes(models)

    def of(self, row: int, recording: Recording, waveform: np.ndarray | None) -> Prediction | Failure:
        """Return the prediction of a recording.

        Args:
            row: its number
            recording: what was given
            waveform: 16 kHz, shape ``(n_samples,)``, None of text alone
        """
        name = self._run.manifest.ids[row]
        if name not in self._fused_rows:
            return Failure(recording.id, f"{recording.id!r} {self._lacks(recording, row)}, which every expert reads")
        posterior, attributes = _values(self._fused, self._fused_rows[name])
        duration_s = 0.0 if waveform is None else len(waveform) / SAMPLE_RATE
        start = recording.start or 0.0
        experts = {}
        for entry, table in self._entries.items():
            if name in self._rows[entry]:
                parts = zip(("posterior", "attributes"), _values(table, self._rows[entry][name]))
                experts[entry] = {what: values for what, values in parts if values}
        return Prediction(
            id=recording.id,
            posterior=posterior,
            label=max(posterior, key=lambda label: posterior[label]) if posterior else None,
            attributes=attributes,
            experts=experts,
            transcript=self._run.transcripts[row] if self._reads_text() else None,
            segments=[] if waveform is None else [(start, start + duration_s)],
            duration_s=duration_s,
            notes=[*self._notes(row, recording, waveform, experts), *self._of_system],
        )

    def _reads_text(self) -> bool:
        of_experts = (each.modalities for each in self._models.settings.values())
        of_embeddings = ((each.modality,) for each in self._models.embeddings.values())
        return any("text" in modalities for modalities in (*of_experts, *of_embeddings))

    def _lacks(self, recording: Recording, row: int) -> str:
        if recording.audio is None:
            return "has no audio"
        return "has no text" if self._run.transcripts[row] is None else "has no words"

    def _notes(
        self, row: int, recording: Recording, waveform: np.ndarray | None, experts: Mapping[str, object]
    ) -> list[str]:
        """Return sentences on one recording's prediction."""
        notes = []
        if waveform is not None:
            duration_s = len(waveform) / SAMPLE_RATE
            for name, settings in self._models.settings.items():
                if "audio" in settings.modalities and duration_s > settings.max_s:
                    notes.append(
                        f"the audio lasts {duration_s:.1f} s, of which the expert {name} reads the middle"
                        f" {settings.max_s:g} s alone: cut it into segments"
                    )
            if np.abs(waveform).max() < SILENCE:
                notes.append(f"the audio is silent: no sample is beyond {SILENCE:g}")
        absent = [entry for entry in self._entries if entry not in experts]
        if absent:
            notes.append(
                f"{' and '.join(absent)} {'is' if len(absent) == 1 else 'are'} absent, since the recording"
                f" {self._lacks(recording, row)}: the fusion is that of the other entries"
            )
        context = max((each.context for each in self._models.settings.values()), default=0)
        if context:
            notes.append(f"no previous turn is read, of which an expert was trained with up to {context}")
        return notes


def target_prior(prior: Mapping[str, float], labels: Sequence[str]) -> np.ndarray:
    """Return the shares of a prior in the order of the labels, shape ``(n_labels,)``, summing to 1.

    Args:
        prior: share by label
        labels: of the system

    Raises:
        InputError: it names other labels, a share is negative, or they do not sum to 1
    """
    if set(prior) != set(labels):
        raise InputError(f"prior names {sorted(prior)}, expected exactly {list(labels)}")
    shares = np.array([prior[label] for label in labels], dtype=np.float64)
    if not (np.isfinite(shares).all() and (shares >= 0).all() and abs(shares.sum() - 1) <= TOLERANCE):
        raise InputError(f"prior is {dict(prior)}, expected shares of at least 0 that sum to 1 (got {shares.sum():g})")
    return np.asarray(shares / shares.sum())


def under(fused: Predictions, target: np.ndarray) -> Predictions:
    """Return the fused table with its posterior under another prior.

    Args:
        fused: the table
        target: shares of the labels, shape ``(n_labels,)``

    Raises:
        InputError: it is not known which prior the posterior contains
    """
    if fused.posterior is None or fused.training_prior is None:
        raise InputError(
            "prior was given, and the prior that the fused posterior contains is not known (logistic regression takes"
            " over that of its tuning set): fuse by another method, or leave prior out"
        )
    unseen = [label for label, has, share in zip(fused.labels, fused.training_prior, target) if has <= 0 < share]
    if unseen:
        raise InputError(f"prior gives {unseen} a share, of which the system was trained on no example: give them 0")
    return replace(fused, posterior=rebalance(fused.posterior, fused.training_prior, target), training_prior=target)


def prior_notes(models: Models) -> list[str]:
    """Return a sentence on each entry whose prior was estimated on recordings of the corpus."""
    notes = []
    for name in models.system.fusion.experts:
        for model in models.of_entry(name)[:1]:
            if model.settings.prior == "em" and model.target_prior is not None:
                shares = ", ".join(f"{label} {share:.3f}" for label, share in zip(model.labels, model.target_prior))
                notes.append(
                    f"{name} is under the prior that EM estimated on {model.settings.em.on!r} of its corpus ({shares}),"
                    " not on these recordings"
                )
    return notes


def mean_of(parts: Sequence[Prediction]) -> Prediction:
    """Return the mean of a recording's segments, weighted by their durations.

    Args:
        parts: in the order of time, at least one
    """
    weights = np.array([part.duration_s for part in parts]) / sum(part.duration_s for part in parts)

    def mean(values: Sequence[Mapping[str, float]]) -> dict[str, float]:
        return {name: float(sum(w * value[name] for w, value in zip(weights, values))) for name in values[0]}

    posterior = mean([part.posterior for part in parts])
    common = [name for name in parts[0].experts if all(name in part.experts for part in parts)]
    experts = {
        name: {what: mean([part.experts[name][what] for part in parts]) for what in parts[0].experts[name]}
        for name in common
    }
    transcripts = [part.transcript for part in parts if part.transcript is not None]
    return Prediction(
        id=parts[0].id,
        posterior=posterior,
        label=max(posterior, key=lambda label: posterior[label]) if posterior else None,
        attributes=mean([part.attributes for part in parts]),
        experts=experts,
        transcript=" ".join(filter(None, transcripts)) if transcripts else None,
        segments=[segment for part in parts for segment in part.segments],
        duration_s=sum(part.duration_s for part in parts),
        notes=list(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def _rows(table: Predictions) -> dict[str, int]:
    return {name: row for row, name in enumerate(table.utterance_ids)}


def _values(table: Predictions, row: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return posterior and attributes of a row by name, empty where the table has none."""
    posterior = [] if table.posterior is None else table.posterior[row].tolist()
    attributes = [] if table.attributes is None else table.attributes[row].tolist()
    return dict(zip(table.labels, posterior)), dict(zip(table.attribute_names, attributes))

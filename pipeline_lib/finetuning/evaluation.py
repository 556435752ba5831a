"""Scores of an expert while it trains: sums that are added batch by batch and stored in a checkpoint."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from pipeline_lib.finetuning.targets import Targets
from pipeline_lib.labels import GENDERS
from pipeline_lib.metrics.attributes import concordance_of, moments
from pipeline_lib.metrics.categories import accuracy_of, confusion, macro_f1_of, unweighted_accuracy_of
from pipeline_lib.params.finetuning import FinetuningSettings


@dataclass
class Tally:
    """Sums over utterances.

    Attributes:
        loss: sum over utterances
        n: utterances
        cells: confusion counts of the corpus's labels, shape ``(n_scored, n_scored)``
        moments: of each attribute, see ``metrics.attributes.moments``, shape ``(n_attributes, 6)``
        genders: confusion counts of the speakers' genders, shape ``(2, 2)``, ``(0, 0)`` where they are not trained
    """

    loss: float
    n: int
    cells: np.ndarray
    moments: np.ndarray
    genders: np.ndarray

    @classmethod
    def empty(cls, targets: Targets) -> Self:
        """Return a tally of nothing."""
        n_labels, n_attributes = targets.n_scored, len(targets.attribute_names)
        n_genders = 0 if targets.gender is None else len(GENDERS)
        cells, genders = (np.zeros((n, n), np.int64) for n in (n_labels, n_genders))
        return cls(0.0, 0, cells, np.zeros((n_attributes, 6)), genders)

    @classmethod
    def from_json(cls, values: dict[str, Any], targets: Targets) -> Self:
        """Return the tally that ``to_json`` was called on, to the bit.

        Args:
            values: of ``to_json``
            targets: give the shapes
        """
        shapes = cls.empty(targets)
        cells, genders = (
            np.array(values[name], np.int64).reshape(getattr(shapes, name).shape) for name in ("cells", "genders")
        )
        moments = np.array(values["moments"], np.float64).reshape(shapes.moments.shape)
        return cls(values["loss"], values["n"], cells, moments, genders)

    def to_json(self) -> dict[str, Any]:
        """Return plain lists and numbers."""
        arrays = {name: getattr(self, name).tolist() for name in ("cells", "moments", "genders")}
        return {"loss": self.loss, "n": self.n, **arrays}

    def add(self, targets: Targets, rows: np.ndarray, outputs: dict[str, np.ndarray], loss: float) -> None:
        """Add utterances.

        Args:
            targets: of all rows of the manifest
            rows: of the manifest, shape ``(batch,)``
            outputs: the network's, float: ``logits``, ``attributes`` and ``gender`` as far as there are any, shape
                ``(batch, n)`` each
            loss: mean over these utterances
        """
        self.loss += loss * len(rows)
        self.n += len(rows)
        truth = targets.emotion[rows]
        scored = (truth >= 0) & (truth < targets.n_scored)
        if scored.any():
            guess = outputs["logits"][scored, : targets.n_scored].argmax(axis=1)  # never O or X
            self.cells += confusion(truth[scored], guess, targets.n_scored)
        middle = sum(targets.scale) / 2
        for i in range(len(targets.attribute_names)):
            expected = targets.attributes[rows, i]
            known = np.isfinite(expected)
            pair = targets.on_scale(expected[known]), targets.on_scale(outputs["attributes"][known, i])
            self.moments[i] += moments(*pair, centre=middle).sum(axis=0)
        if targets.gender is not None and (targets.gender[rows] >= 0).any():
            known = targets.gender[rows] >= 0
            guess = outputs["gender"][known].argmax(axis=1)
            self.genders += confusion(targets.gender[rows][known], guess, len(GENDERS))

    def scores(self) -> dict[str, float]:
        """Return loss, macro_f1, ua, mean_ccc and gender_accuracy as far as the targets have them."""
        scores = {"loss": self.loss / max(1, self.n)}
        if self.cells.size:
            scores["macro_f1"] = float(macro_f1_of(self.cells))
            scores["ua"] = float(unweighted_accuracy_of(self.cells))
        known = self.moments[:, 0] > 0 if len(self.moments) else np.zeros(0, dtype=bool)
        if len(self.moments):
            scores["mean_ccc"] = float(concordance_of(self.moments[known]).mean()) if known.any() else 0.0
        if self.genders.size:
            scores["gender_accuracy"] = float(accuracy_of(self.genders))
        return scores


def is_better(score: float, best: float | None, settings: FinetuningSettings) -> bool:
    """Return whether a score of the early-stopping metric beats the best so far; an equal one does not.

    Args:
        score: of this epoch
        best: of the epochs before, None where there is none
        settings: the entry, with the metric; of ``loss`` the lower is better
    """
    if best is None:
        return True
    return score < best if settings.early_stopping.metric == "loss" else score > best

"""Provenance of an artifact: splits whose labels it was fitted on, and splits whose labels only chose something of it.

A score on a split that something was fitted on is resubstitution; one on a split that only chose something (the epoch
of early stopping, a layer, the better of two systems) is optimistic by that choice. ``tables.truth.labels_of`` makes
the record where labels are read; what is made of several artifacts inherits the records of all of them.

In metadata and JSON the record is three sorted lists, ``fitted_on``, ``chosen_on`` and ``not_recorded``, and
``out_of_fold`` where it is true. Artifacts of older code have no ``chosen_on``: they are named in ``not_recorded``, as
nothing tells what they read.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Self

NAMES = ("fitted_on", "chosen_on", "not_recorded")


@dataclass(frozen=True)
class Provenance:
    """Splits and subsets of the corpus whose labels an artifact depends on; each list sorted, each name once.

    Attributes:
        fitted_on: on which weights, a back end, a temperature, a prior or a fusion was fitted
        chosen_on: on which something was chosen: an epoch, a layer, one of several systems
        not_recorded: names of artifacts that it was made of and that hold no record
        out_of_fold: whether each utterance of the folds is predicted by a model that read no label of its fold
    """

    fitted_on: tuple[str, ...] = ()
    chosen_on: tuple[str, ...] = ()
    not_recorded: tuple[str, ...] = ()
    out_of_fold: bool = False

    def __post_init__(self) -> None:
        """Sort the names, each once, so that the same record has the same bytes."""
        for name in NAMES:
            object.__setattr__(self, name, tuple(sorted({*getattr(self, name)})))

    @classmethod
    def of(cls, metadata: Mapping[str, Any], name: str) -> Self:
        """Return the record that an artifact's metadata hold.

        Args:
            metadata: of the artifact
            name: of the artifact, which stands in ``not_recorded`` where it is of code that made no record
        """
        if not isinstance(metadata.get("chosen_on"), list | tuple):
            return cls(tuple(metadata.get("fitted_on") or ()), not_recorded=(name,))
        fitted_on, chosen_on, not_recorded = (tuple(metadata.get(key) or ()) for key in NAMES)
        return cls(fitted_on, chosen_on, not_recorded, bool(metadata.get("out_of_fold", False)))

    @classmethod
    def joined(cls, records: Iterable["Provenance"]) -> Self:
        """Return the record of what is made of several artifacts: all that any of them depends on."""
        every = list(records)
        fitted_on, chosen_on, not_recorded = (
            tuple(name for each in every for name in getattr(each, key)) for key in NAMES
        )
        return cls(fitted_on, chosen_on, not_recorded, bool(every) and all(each.out_of_fold for each in every))

    def entries(self) -> dict[str, Any]:
        """Return the record as entries of metadata."""
        lists: dict[str, Any] = {name: list(getattr(self, name)) for name in NAMES}
        return lists | ({"out_of_fold": True} if self.out_of_fold else {})

    @property
    def is_recorded(self) -> bool:
        """Whether all that the artifact was made of holds a record."""
        return not self.not_recorded


UNKNOWN = Provenance(not_recorded=("unknown",))  # of what was made without a record

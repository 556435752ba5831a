"""What a scored table comes from: a trained expert, layers of a frozen encoder, another system, or the fusion."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Literal

from pipeline_lib.modalities import members

GIVEN = "posteriors/"
EXPERTS = ("predictions", "predictions_alone", "predictions_folds")


@dataclass(frozen=True)
class Lineage:
    """What a table comes from.

    Attributes:
        kind: a trained expert, a stored embedding, probabilities that another system gave, or the fusion
        source: name of the expert (of one combination of modalities: with it) or embedding, path of the probabilities,
            "fusion" for the fusion
        modalities: that its predictions are made from; empty where the parameters do not tell
    """

    kind: Literal["expert", "layers", "given", "fusion"]
    source: str
    modalities: frozenset[str]


def lineage(table: str, params: dict[str, Any]) -> Lineage | None:
    """Return what a table comes from, None of another path, and of the cross-fitted half of the fusion's utterances.

    Args:
        table: path of predictions, as in ``scoring.tables``
        params: params.yaml as read
    """
    parts = PurePosixPath(table).with_suffix("").parts
    if table.startswith(GIVEN):
        return Lineage("given", table, frozenset())
    if parts[:1] != ("data",) or len(parts) < 2:
        return None
    if parts == ("data", "fused"):
        return Lineage("fusion", "fusion", frozenset())
    if len(parts) < 3:
        return None
    name = parts[2]
    if parts[1] == "rebalanced":
        entry = (params.get("rebalancing") or {}).get(name)
        return lineage(entry["reads"]["source"], params) if entry else None
    if parts[1] == "embeddings":
        entry = (params.get("embedding") or {}).get(name)
        return Lineage("layers", name, frozenset([entry["modality"]])) if entry else None
    entry = (params.get("finetuning") or {}).get(name)
    if parts[1] not in EXPERTS or entry is None:
        return None
    modalities = tuple(entry.get("branches") or [entry["modality"]])
    if parts[1] == "predictions_alone" and len(parts) > 3:
        return Lineage("expert", "/".join(parts[2:4]), frozenset(members(parts[3], modalities)))
    return Lineage("expert", name, frozenset(modalities))


def cautions_of_given(tables: Mapping[str, str], params: dict[str, Any]) -> list[str]:
    """Return a warning of each scored table that holds probabilities of another system.

    Args:
        tables: name of a system to its path, as in ``scoring.tables``
        params: params.yaml as read
    """
    origins = {name: lineage(table, params) for name, table in tables.items()}
    return [
        f"{name} holds probabilities that another system gave, {origin.source}: that it was trained on none of the"
        " scored utterances (with folds: that each is out of fold) is taken at its word"
        for name, origin in origins.items()
        if origin is not None and origin.kind == "given"
    ]

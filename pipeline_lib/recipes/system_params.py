"""The parameters that one scored system depends on, from its table in ``scoring.tables`` back to the corpus."""

from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

Params = dict[str, Any]
SECTION_OF = {
    **dict.fromkeys(("predictions", "predictions_folds", "predictions_alone"), "finetuning"),
    **{"rebalanced": "rebalancing", "embeddings": "embedding", "fused": "fusion", "fused_crossfitted": "fusion"},
}


def params_of(system: str, params: Params) -> Params:
    """Return the sections, and of those with entries the entries, that a system's table is made from.

    The corpus always is one of them, the transcription where an entry reads its transcripts.

    Args:
        system: name in ``scoring.tables``
        params: params.yaml as read

    Returns:
        like ``params``, without what the system does not read; empty where no table of that name is scored
    """
    table = ((params.get("scoring") or {}).get("tables") or {}).get(system)
    if table is None:
        return {}
    result: Params = {"corpus": params["corpus"]}
    paths = [table]
    while paths:
        section, name = _place(paths.pop(), params)
        entry = params[section] if name is None else params[section][name]
        if name is None:
            result[section] = entry
        elif name not in result.setdefault(section, {}):
            result[section][name] = entry
        paths += _read_by(section, entry)
        if "transcripts" in _texts(entry):
            result["transcription"] = params["transcription"]
    return result


def _place(path: str, params: Params) -> tuple[str, str | None]:
    """Return the section of params.yaml that makes a path below data/ or models/, and its entry."""
    parts = PurePosixPath(path).with_suffix("").parts
    section = SECTION_OF.get(parts[1], "finetuning")  # models/<expert> is an expert's
    name = None if section == "fusion" else parts[2] if parts[0] == "data" else parts[1]
    if name is not None and name not in (params.get(section) or {}):
        return "corpus", None  # a file of one's own: nothing here says more of it
    return section, name


def _read_by(section: str, entry: Params) -> Iterator[str]:
    """Yield the paths that an entry reads and a stage of the pipeline makes."""
    if section == "fusion":
        yield from (f"data/rebalanced/{expert}.parquet" for expert in entry["experts"])
    if section == "rebalancing":
        yield entry["reads"]["source"]
    for part in _branches(entry) if section in ("finetuning", "embedding") else ():
        yield from (part[key] for key in ("embedding", "expert") if part.get(key))


def _texts(entry: Params) -> list[str]:
    return [part["text"] for part in (entry, *_branches(entry)) if isinstance(part.get("text"), str)]


def _branches(entry: Params) -> list[Params]:
    return [*entry.get("branches", {"only": entry}).values()]

"""Read the whole of params.yaml and refuse what no stage could run with, before the first model loads."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pipeline_lib.params import foresight
from pipeline_lib.params.base import FILLER, PARAMS, ParameterError, read_params, short
from pipeline_lib.params.corpus import check_root, demonstration_left
from pipeline_lib.params.finetuning import FinetuningSettings
from pipeline_lib.params.folds import WRONG_FOLDS
from pipeline_lib.params.inputs import (
    branches_of,
    made_by_stages,
    missing_checkpoints,
    missing_packages,
    missing_posteriors,
    missing_sounds,
    sources,
    unsupported_language,
    wrong_slots,
)
from pipeline_lib.params.mistakes import choose
from pipeline_lib.params.posteriors import POSTERIORS
from pipeline_lib.params.rebalancing import EMBEDDINGS
from pipeline_lib.params.sections import ENTRIES, ORDER, SINGLE, Params

NAME = re.compile(r"[a-z][a-z0-9_]*")
ELSEWHERE = " (an entry that was renamed or removed?); name one of these, or add the entry"
RESERVED = {"demo", "fusion", "fused", "rebalancing"}  # folders and tables that are not an expert's


def check(path: Path = PARAMS, present: bool = True) -> Params:
    """Return params.yaml, read and found consistent.

    Args:
        path: the file
        present: whether corpus, checkpoints and sounds must already be there; a recipe may be laid down before

    Raises:
        ParameterError: every mistake of every section, a line each
    """
    sections, mistakes = _read_sections(read_params(path), path)
    params: Any = _Readable(sections) if mistakes else Params(**sections)
    for cross_check in (*BETWEEN_SECTIONS, *(OF_THIS_MACHINE if present else ())):
        try:
            mistakes += [f"{path}: {mistake}" for mistake in cross_check(params)]
        except _UnreadSectionError:
            continue  # its mistakes are listed already
    if mistakes:
        raise ParameterError("\n".join(mistakes))
    return params


class _UnreadSectionError(Exception):
    """A check needs a section that could not be read."""


class _Readable:
    """The sections that could be read; access to another one ends the check."""

    def __init__(self, sections: dict[str, Any]) -> None:
        self.__dict__.update(sections)

    def __getattr__(self, name: str) -> Any:
        raise _UnreadSectionError(name)


def absent(params: Params) -> list[str]:
    """Return, a line each, what is read and neither there nor made by a stage."""
    return [line for check_one in ABSENT for line in check_one(params)]


def read_all(values: dict[str, Any], path: Path = PARAMS) -> Params:
    """Return every section read by its own class.

    Args:
        values: of the whole file
        path: the file, for messages

    Raises:
        ParameterError: a section is missing or unknown, or a key or value of one is wrong
    """
    sections, mistakes = _read_sections(values, path)
    if mistakes:
        raise ParameterError("\n".join(mistakes))
    return Params(**sections)


def _read_sections(values: dict[str, Any], path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the sections that can be read, and the mistakes in the others, each with the file's name before it."""
    mistakes = [
        f"{path}: section '{name}' is missing, expected all of {list(ORDER)} (removed, or misspelt?); add '{name}:'"
        for name in ORDER
        if name not in values
    ]
    mistakes += [
        f"{path}: '{name}' is not a section, expected one of {list(ORDER)}"
        f"{choose(name, ORDER, ' (a key that is not indented?); indent it below its section, or remove it')}"
        for name in values
        if name not in ORDER
    ]
    found: dict[str, Any] = {}
    for name in (name for name in ORDER if name in values):
        try:
            found[name] = _read_section(name, values[name], path)
        except ParameterError as error:
            mistakes.append(str(error))
    return found, mistakes


def _read_section(name: str, value: Any, path: Path) -> Any:
    if name in SINGLE:
        return SINGLE[name].parse(value, name, path)
    if not isinstance(value, dict):
        raise ParameterError(
            f"{path}: {name} is {short(value)}, expected one entry a name (keys that are not"
            f" indented below it?); write {name}: {{}} for none"
        )
    bad = [key for key in value if not (isinstance(key, str) and NAME.fullmatch(key)) or key in RESERVED]
    if bad:
        expected = f"lower-case letters, digits and _, not {sorted(RESERVED)}"
        raise ParameterError(f"{path}: {name} has an entry named {bad[0]!r}, expected {expected}")
    mistakes, entries = [], {}
    for key, entry in value.items():
        try:
            entries[key] = ENTRIES[name].parse(entry, f"{name}.{key}", path)
        except ParameterError as error:
            mistakes.append(str(error))
    if mistakes:
        raise ParameterError("\n".join(mistakes))
    return entries


def _unknown_sources(params: Params) -> list[str]:
    """Return what an entry of rebalancing reads and no entry makes."""
    return [
        f"rebalancing.{name}.reads.source is {entry.reads.source!r}, which is no table of predictions and no embedding"
        f" that an entry makes, expected one of {sources(params)} or {POSTERIORS}<table>.csv"
        f"{choose(entry.reads.source, sources(params), ELSEWHERE)}"
        for name, entry in params.rebalancing.items()
        if entry.reads.source not in sources(params)
        and not entry.reads.source.startswith(POSTERIORS)
        and not (entry.reads.source == FILLER and name in params.finetuning)  # a slot to fill: ``wrong_slots``
    ]


def _unknown_experts(params: Params) -> list[str]:
    """Return the experts that fusion names and no entry of rebalancing makes."""
    return [
        f"fusion.experts names {name!r}, which is not among the entries of rebalancing, expected one of"
        f" {sorted(params.rebalancing)}{choose(name, params.rebalancing, ELSEWHERE)}"
        for name in params.fusion.experts
        if name not in params.rebalancing
    ]


def _wrong_branches(params: Params) -> list[str]:
    """Return the branches that cannot read the expert or embedding that they name."""
    mistakes = [
        f"finetuning.{name}.branches.{modality}.expert is {branch.expert!r}, {why}"
        for name, expert in params.finetuning.items()
        for modality, branch in expert.branches.items()
        if (why := _misfit(params, branch.expert, modality))
    ]
    return mistakes + [
        f"{where}.embedding is {branch.embedding!r}, {why}"
        for name, expert in params.finetuning.items()
        for where, modality, branch in branches_of(name, expert)
        if branch.embedding is not None and (why := _mismatch(params, expert, where, modality))
    ]


def _unknown_tables(params: Params) -> list[str]:
    """Return the tables that scoring names and no stage writes."""
    tables = sorted(path for path in made_by_stages(params) if path.endswith(".parquet"))
    return [
        f"scoring.tables.{system} is {table!r}, which no stage writes, expected one of {tables}"
        f"{choose(table, tables, ELSEWHERE)}"
        for system, table in params.scoring.tables.items()
        if table not in tables
    ]


def _absent_layers(params: Params) -> list[str]:
    """Return the layers that an entry of rebalancing reads and its embedding does not keep, as far as entries tell."""
    kept = {f"{EMBEDDINGS}{name}": entry.layers for name, entry in params.embedding.items()}
    return [
        f"rebalancing.{name}.source.layers is {entry.source.layers}, and {entry.reads.source} keeps {stored}"
        for name, entry in params.rebalancing.items()
        if entry.source is not None
        and not isinstance(entry.source.layers, str)
        and not isinstance(stored := kept.get(entry.reads.source, "all"), str)
        and not {*entry.source.layers} <= {*stored}
    ]


def _misfit(params: Params, folder: str | None, modality: str) -> str | None:
    """Return why an encoder of that modality cannot be taken from an expert, as far as its entry tells."""
    experts: dict[str | None, FinetuningSettings] = {f"models/{name}": e for name, e in params.finetuning.items()}
    found = experts.get(folder)
    if found is None or found.modality == modality:
        return None
    return f"whose modality is {found.modality!r}, expected an expert of modality {modality!r}"


def _mismatch(params: Params, expert: FinetuningSettings, where: str, modality: str) -> str | None:
    """Return why a branch cannot read the frames of its embedding, as far as the entries tell.

    Args:
        params: all sections
        expert: the entry
        where: dotted name of the branch
        modality: of the branch, which has an embedding
    """
    branch = expert.branches[modality]
    made = {f"data/embeddings/{name}": entry for name, entry in params.embedding.items()}
    found = made.get(branch.embedding) if branch.embedding is not None else None
    if found is None:
        return f"which no entry of embedding makes, expected data/embeddings/<one of {sorted(params.embedding)}>"
    if found.modality != modality:
        return f"whose modality is {found.modality!r}, expected an embedding of modality {modality!r}"
    for name in ("encoder", "expert"):
        if getattr(found, name) != getattr(branch, name):
            return f"whose {name} is not that of {where}; set the same {name} in both"
    if modality == "text" and found.text != expert.text:
        return f"whose text is {found.text!r}, expected the expert's, {expert.text!r}; set the same text in both"
    if modality == "text" and found.context != expert.context:
        return f"whose context is {found.context}, expected the expert's, {expert.context}; set the same in both"
    if not found.frames:
        return "whose frames is false; set it to true"
    if branch.layers == "weighted" and found.layers != "all":
        return f"whose layers is {found.layers}, and {where}.layers 'weighted' joins all of them; set it to all"
    return None


def _root_mistakes(params: Params) -> list[str]:
    if params.corpus.root in made_by_stages(params):
        return []
    try:
        check_root(params.corpus)
    except ValueError as error:
        return [str(error)]
    return []


def _table_mistakes(params: Params) -> list[str]:
    return [] if params.corpus.root in made_by_stages(params) else foresight.wrong_table(params)


BETWEEN_SECTIONS: tuple[Callable[[Params], Iterable[str]], ...] = (
    _unknown_sources,
    _absent_layers,
    _unknown_experts,
    _wrong_branches,
    lambda params: demonstration_left(params.corpus),
    _unknown_tables,
    *WRONG_FOLDS,
    wrong_slots,
    foresight.tuned_on_test,
    *foresight.WRONG_VALUES,
)
ABSENT: tuple[Callable[[Params], list[str]], ...] = (
    _root_mistakes,
    missing_sounds,
    missing_checkpoints,
    missing_packages,
    missing_posteriors,
    unsupported_language,
)
OF_THIS_MACHINE = (*ABSENT, _table_mistakes, foresight.unknown_splits)

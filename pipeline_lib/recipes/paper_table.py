"""A paper's tables, published next to obtained: ``ser table taltech``.

Searches the workspace and every experiment of ``dvc exp`` for runs whose parameters are those of a row, takes their
scores, and writes ``metrics/paper_tables/<paper>.md``. The results of earlier calls stay in ``<paper>.json`` beside it.
A run on stand-ins (``ser apply --small``) fills a table of its own: its numbers are no result of the paper's system.
A paper with ``match: system`` fills a row from any run in which what the row's own system depends on is as the row
says, whatever other systems that run has.
"""

import copy
import json
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from pipeline_lib.errors import InputError
from pipeline_lib.params.base import PARAMS, ParameterError
from pipeline_lib.params.mistakes import choose
from pipeline_lib.recipes import small as stand_ins
from pipeline_lib.recipes.apply import change, replaced
from pipeline_lib.recipes.compose import FOLDER, compose
from pipeline_lib.recipes.system_params import params_of
from pipeline_lib.reports.paper_cells import SCORES, SUFFIXES, Column, columns_of, file_of, score, system_of
from pipeline_lib.reports.paper_page import key_of, page, run_of
from pipeline_lib.storage import atomic

PAPERS = FOLDER / "papers"
FREE_SECTIONS = ("embedding", "scoring")  # no expert of these recipes reads the one, no score depends on the other
FREE_OF_EMBEDDINGS = ("frames", "batch", "shard_size")  # beside FREE_KEYS, where a system reads an embedding
FREE_KEYS = (  # paths and speed, at any depth
    *("notice", "reads", "revision", "cache_embeddings", "gradient_checkpointing", "predict"),
)
FREE_PATHS = (("corpus", "root"), ("noise", "root"), ("noise", "table"))
# DVC names an experiment by the commit that it began on; other references hold parameters of runs that still wait in
# the queue beside the scores of that commit
FINISHED = re.compile(r"refs/exps/[0-9a-f]{2}/[0-9a-f]{38}/")


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        name: of its experiment
        params: its parameters without those that change no score
        metrics: by file, parsed
        whole: its parameters as they are written
    """

    name: str
    params: dict[str, Any]
    metrics: dict[str, Any]
    whole: dict[str, Any] = field(default_factory=dict)


def read_paper(path: Path) -> dict[str, Any]:
    """Return a file of papers/."""
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def runs(files: Sequence[str] = (SCORES,), root: Path = Path()) -> Iterator[Run]:
    """Yield the workspace's run and those of all experiments that DVC keeps in this repository.

    Args:
        files: of metrics to read; the scores must be there, others may be absent
        root: of the repository
    """
    texts = {name: _text(root / name) for name in (PARAMS.as_posix(), *files)}
    if texts[PARAMS.as_posix()] is not None and texts[SCORES] is not None:
        yield _run("workspace", texts)
    references = (_git(root, "for-each-ref", "--format=%(refname)", "refs/exps") or "").split()
    for reference in filter(FINISHED.match, references):
        texts = {name: _git(root, "show", f"{reference}:{name}") for name in texts}
        if texts[PARAMS.as_posix()] is not None and texts[SCORES] is not None:
            yield _run(reference.rsplit("/", 1)[-1], texts)


def expected(recipe: str, sets: dict[str, Any], small: bool) -> dict[str, Any]:
    """Return the parameters that a row's run has, without those that change no score.

    Args:
        recipe: its name
        sets: the row's values by dotted key
        small: on stand-ins
    """
    return _bound(_expected(recipe, sets, small))


def _expected(recipe: str, sets: dict[str, Any], small: bool, paths: Sequence[str] = ()) -> dict[str, Any]:
    params = copy.deepcopy(_composed(recipe, small))
    for key, value in sets.items():
        change(params, f"{key}={json.dumps(value)}")
    for path in paths:
        replaced(params, *path.partition("=")[::2])
    return params


@cache
def _composed(recipe: str, small: bool) -> dict[str, Any]:
    params = compose(recipe)
    if small:
        stand_ins.shrink(params)
    return _plain(params)


def _plain(value: Any) -> Any:
    """Return mappings and lists without their comments, equal to the written parameters read back."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


def fill(
    paper: dict[str, Any], finished: list[Run], earlier: dict[str, Any], paths: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the obtained scores: ``{row's key: {"run", "corpus", "notice", "scores"}}``, new over earlier ones.

    Args:
        paper: a file of papers/
        finished: runs
        earlier: what an earlier call returned
        paths: ``OLD=NEW``, as they were given to ``ser apply``
    """
    obtained = dict(earlier)
    for table, row in rows(paper):
        recipe, own = run_of(paper, table, row)
        for small in (False, True):
            key = key_of(table, row, small)
            for sets, columns in _by_run(columns_of(table, row)):
                params = _expected(recipe, own | sets, small, paths)
                system = system_of(row) if paper.get("match") == "system" else None
                match = next((run for run in finished if _is_row(run, params, system)), None)
                if match:
                    obtained |= _filled(key, columns, row, match, obtained.get(key, {}))
    return obtained


def _is_row(run: Run, params: dict[str, Any], system: str | None) -> bool:
    """Return whether a run has a row's parameters: all that change a score, or those that its system depends on."""
    if system is None:
        return run.params == _bound(params)
    of_run = params_of(system, run.whole)
    return bool(of_run) and _system_bound(of_run) == _system_bound(params_of(system, params))


def rows(paper: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield every row that is a system of ours, with its table."""
    for table in paper["tables"]:
        for row in table["rows"]:
            if "system" in row:
                yield table, row


def files_of(paper: dict[str, Any]) -> list[str]:
    """Return the files of metrics that the paper's tables are filled from, the scores first."""
    named = {
        file_of(column.place, row)[0]
        for table, row in rows(paper)
        for column in columns_of(table, row)
        if column.place is not None
    }
    return [SCORES, *sorted(named - {SCORES})]


def _by_run(columns: Sequence[Column]) -> list[tuple[dict[str, Any], list[Column]]]:
    """Return the columns grouped by the values they set: one group a run."""
    groups: list[tuple[dict[str, Any], list[Column]]] = []
    for column in (column for column in columns if column.place is not None):
        alike = next((group for sets, group in groups if sets == column.sets), None)
        if alike is None:
            groups.append((column.sets, [column]))
        else:
            alike.append(column)
    return groups


def _filled(
    key: str, columns: Sequence[Column], row: dict[str, Any], match: Run, before: dict[str, Any]
) -> dict[str, Any]:
    """Return the row with a run's scores of these columns over earlier ones; empty where the run has none.

    Scores that the run lacks stay as they were: an experiment keeps no numbers of ``ser alignment``, which an earlier
    call read in the workspace.
    """
    scores = _scores(columns, row, match)
    if not scores:
        return {}
    scored = [column for column in columns if any(column.name + suffix in scores for suffix in SUFFIXES)]
    stale = {column.name + suffix for column in scored for suffix in SUFFIXES}
    kept = {name: values for name, values in before.get("scores", {}).items() if name not in stale}
    of = {name: match.metrics[SCORES][name] for name in ("corpus", "notice")}
    return {key: {"run": match.name, **of, "scores": kept | scores}}


def _scores(columns: Sequence[Column], row: dict[str, Any], run: Run) -> dict[str, list[float]]:
    """Return the columns' scores and intervals, resubstitution and cross-fitting by name."""
    return {
        column.name + suffix: values for column in columns for suffix, values in score(column, row, run.metrics).items()
    }


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _run(name: str, texts: dict[str, str | None]) -> Run:
    """Return the run without the metrics that record other parameters than the run's."""
    whole = YAML(typ="safe", pure=True).load(texts[PARAMS.as_posix()] or "")
    params = _bound(whole)
    metrics = {file: json.loads(text) for file, text in texts.items() if text is not None and file.endswith(".json")}
    own = {file: values for file, values in metrics.items() if _is_of(values.get("params", {}), params)}
    return Run(name, params, own, whole)


def _is_of(recorded: dict[str, Any], params: dict[str, Any]) -> bool:
    """Return whether the recorded sections, and entries of experts, are the run's."""
    recorded = _bound(recorded)
    experts = recorded.pop("finetuning", {})
    known = all(entry == params.get("finetuning", {}).get(name) for name, entry in experts.items())
    return known and all(values == params.get(section) for section, values in recorded.items())


def _bound(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that a score depends on."""
    return {name: _strip(value, name) for name, value in params.items() if name not in FREE_SECTIONS}


def _system_bound(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of one system that its scores depend on."""
    bound = {name: _strip(value, name) for name, value in params.items()}
    for entry in bound.get("embedding", {}).values():
        for key in FREE_OF_EMBEDDINGS:
            entry.pop(key, None)
    return bound


def _strip(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        return value
    free = (*FREE_KEYS, *(key for section, key in FREE_PATHS if section == name))
    return {key: _strip(item, key) for key, item in value.items() if key not in free}


def _git(root: Path, *arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def write_tables(paper: str, out: Path = Path("metrics/paper_tables"), paths: Sequence[str] = ()) -> None:
    """Write a paper's tables, published next to obtained, and print how many rows there are.

    Args:
        paper: a file of papers/, without .yaml
        out: folder of the tables and of the results of earlier calls
        paths: ``OLD=NEW``, as they were given to ``ser apply``: a checkpoint's folder in place of its name on the hub

    Raises:
        ParameterError: there is no such paper, or no recipe of its rows names such a path
        InputError: the results of earlier calls cannot be read
    """
    known = sorted(path.stem for path in PAPERS.glob("*.yaml"))
    if paper not in known:
        advice = choose(paper, known, " (a paper of another version?); name one of these (docs/recipes.md)")
        raise ParameterError(f"there is no paper {paper!r}, expected one of {known}{advice}")
    content, store = read_paper(PAPERS / f"{paper}.yaml"), out / f"{paper}.json"
    try:
        earlier = json.loads(store.read_text(encoding="utf-8")) if store.is_file() else {}
    except ValueError as error:
        raise InputError(f"{store} is not JSON: {error} (was it cut short?); remove it to begin anew") from None
    for path in paths:
        recipes = {run_of(content, table, row)[0] for table, row in rows(content)}
        old, equals, new = path.partition("=")
        if not (old and equals and new) or not any(replaced(_expected(name, {}, False), old, new) for name in recipes):
            raise ParameterError(f"--path {path!r}: expected OLD=NEW with a path OLD that a recipe of {paper} names")
    finished = list(runs(files_of(content)))
    obtained = fill(content, finished, earlier, paths)
    atomic.write_file(store, json.dumps(obtained, indent=1, sort_keys=True) + "\n")
    atomic.write_file(out / f"{paper}.md", page(content, obtained))
    print(f"{out / paper}.md: {len(obtained)} rows obtained, from {len(finished)} runs and earlier calls")

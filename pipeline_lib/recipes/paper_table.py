"""A paper's tables, published next to obtained: ``python -m pipeline_lib.recipes.paper_table taltech``.

Looks through the workspace and every experiment of ``dvc exp`` for runs whose parameters are those of a row, takes
their scores, and writes ``metrics/paper_tables/<paper>.md``. What an earlier call found stays in ``<paper>.json``
beside it. A run on stand-ins (``apply --small``) fills a table of its own: its numbers are nobody's results.
"""

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from pipeline_lib.command import run
from pipeline_lib.errors import InputError
from pipeline_lib.recipes import small as stand_ins
from pipeline_lib.recipes.apply import change
from pipeline_lib.recipes.compose import FOLDER, compose, read_yaml, write_yaml
from pipeline_lib.recipes.paper_page import key_of, page, run_of
from pipeline_lib.settings import PARAMS, ParameterError

PAPERS = FOLDER / "papers"
SCORES = "metrics/scores.json"
FREE_SECTIONS = ("embedding", "scoring")  # no expert of these recipes reads the one, no score depends on the other
FREE_KEYS = (  # where things lie and how fast they go, at any depth
    *("notice", "after", "revision", "workers", "device", "threads", "cache_audio_gb"),
    *("save_steps", "save_seconds", "gradient_checkpointing", "predict"),
)
FREE_PLACES = (("corpus", "root"), ("noise", "root"), ("noise", "table"))


@dataclass(frozen=True)
class Run:
    """A finished run: where it was found, its parameters without those that change no score, its scores."""

    name: str
    params: dict[str, Any]
    scores: dict[str, Any]


def runs(root: Path = Path()) -> Iterator[Run]:
    """Yield the workspace's run and those of all experiments that DVC keeps in this repository."""
    if (root / PARAMS).is_file() and (root / SCORES).is_file():
        texts = [(root / name).read_text(encoding="utf-8") for name in (PARAMS, SCORES)]
        yield _run("workspace", *texts)
    listed = _git(root, "for-each-ref", "--format=%(refname)", "refs/exps") or ""
    for reference in listed.split():
        texts = [_git(root, "show", f"{reference}:{name}") for name in (PARAMS, SCORES)]
        if all(text is not None for text in texts):
            yield _run(reference.rsplit("/", 1)[-1], *texts)


@cache
def expected(recipe: str, sets: tuple[tuple[str, Any], ...], small: bool) -> dict[str, Any]:
    """Return the parameters that a row's run has, without those that change no score."""
    params = compose(recipe)
    if small:
        stand_ins.shrink(params)
    for key, value in sets:
        change(params, f"{key}={json.dumps(value)}")
    return _bound(YAML(typ="safe", pure=True).load(write_yaml(params)))


def fill(paper: dict[str, Any], found: list[Run], kept: dict[str, Any]) -> dict[str, Any]:
    """Return what was obtained: ``{row's key: {"run", "corpus", "notice", "scores"}}``, newly found over kept.

    Args:
        paper: a file of papers/
        found: runs
        kept: what an earlier call returned
    """
    obtained = dict(kept)
    for table, row in rows(paper):
        for small in (False, True):
            recipe, sets = run_of(paper, table, row)
            wanted = expected(recipe, tuple(sets.items()), small)
            match = next((each for each in found if each.params == wanted), None)
            scores = _scores(table, row, match) if match else {}
            if match and scores:
                said = {name: match.scores[name] for name in ("corpus", "notice")}
                obtained[key_of(table, row, small)] = {"run": match.name, **said, "scores": scores}
    return obtained


def rows(paper: dict[str, Any]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Yield every row that is a system of ours, with its table."""
    for table in paper["tables"]:
        for row in table["rows"]:
            if "system" in row:
                yield table, row


def _scores(table: dict[str, Any], row: dict[str, Any], found: Run) -> dict[str, Any]:
    """Return the row's columns: the score and its interval, resubstitution and cross-fitting by name."""
    columns = {}
    for column, place in table["columns"].items():
        split, metric = (place or ".").split(".")
        for suffix in ("", "_resubstitution", "_crossfitted"):
            each = found.scores.get(split, {}).get(row["system"] + suffix, {})
            if metric in each:
                columns[column + suffix] = [each[metric + end] for end in ("", "_lo", "_hi") if metric + end in each]
    return columns


def _run(name: str, params: str, scores: str) -> Run:
    return Run(name, _bound(YAML(typ="safe", pure=True).load(params)), json.loads(scores))


def _bound(params: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters that a score depends on."""
    return {name: _strip(value, name) for name, value in params.items() if name not in FREE_SECTIONS}


def _strip(value: Any, name: str) -> Any:
    if not isinstance(value, dict):
        return value
    free = (*FREE_KEYS, *(key for place, key in FREE_PLACES if place == name))
    return {key: _strip(each, key) for key, each in value.items() if key not in free}


def _git(root: Path, *arguments: str) -> str | None:
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    return done.stdout if done.returncode == 0 else None


def main(
    paper: Annotated[str, typer.Argument(help="a file of pipeline_lib/recipes/papers, without .yaml")],
    out: Path = Path("metrics/paper_tables"),
) -> None:
    """Write the paper's tables, published next to obtained."""
    known = sorted(path.stem for path in PAPERS.glob("*.yaml"))
    if paper not in known:
        raise ParameterError(f"there is no paper {paper!r}, wanted one of {known}")
    said, store = read_yaml(PAPERS / f"{paper}.yaml"), out / f"{paper}.json"
    try:
        kept = json.loads(store.read_text(encoding="utf-8")) if store.is_file() else {}
    except ValueError as error:
        raise InputError(f"{store} is not JSON: {error} (was it cut short?); remove it to begin anew") from None
    found = list(runs())
    obtained = fill(said, found, kept)
    out.mkdir(parents=True, exist_ok=True)
    store.write_text(json.dumps(obtained, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (out / f"{paper}.md").write_text(page(said, obtained), encoding="utf-8")
    print(f"{out / paper}.md: {len(obtained)} rows obtained, from {len(found)} runs and what was there before")


if __name__ == "__main__":
    run(main)

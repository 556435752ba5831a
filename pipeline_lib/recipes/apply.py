"""Lay a recipe down as params.yaml: ``python -m pipeline_lib.recipes.apply taltech --path /data/musan=/mnt/musan``.

params.yaml is written out whole, so that ``git diff params.yaml`` shows what the recipe is, and outputs that the new
parameters no longer name are removed. ``--small`` lays down the same recipe on stand-ins, see ``recipes/small.py``.
"""

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline_lib.command import run
from pipeline_lib.params.base import PARAMS, ParameterError, read_params
from pipeline_lib.params.check import absent, check, read_all
from pipeline_lib.params.sections import ENTRIES, Params
from pipeline_lib.recipes import small as stand_ins
from pipeline_lib.recipes.compose import compose, fill_slots, names, write_yaml

EXPERT = "settings.json"  # a trained expert has it; what somebody else keeps in models/ is left alone


def change(params: dict[str, Any], assignment: str) -> None:
    """Set one existing key as ``dvc exp run -S`` does: ``fusion.method=logreg``, the value read as YAML.

    Raises:
        ParameterError: it is no assignment, or there is no such key
    """
    dotted, equals, text = assignment.partition("=")
    *path, last = dotted.split(".")
    inner: Any = params
    for part in path:
        inner = inner.get(part) if isinstance(inner, dict) else None
    if not equals or not isinstance(inner, dict) or last not in inner:
        raise ParameterError(
            f"--set {assignment!r}: expected key=value with a key of the recipe, as in fusion.method=plda"
        )
    try:
        inner[last] = YAML(typ="safe", pure=True).load(text)
    except YAMLError as error:
        raise ParameterError(f"--set {assignment!r}: the value is not YAML: {' '.join(str(error).split())}") from None


def replace_path(params: Any, assignment: str) -> None:
    """Put one path in another's place wherever it stands: ``/data/musan=/mnt/musan``.

    Raises:
        ParameterError: it is no assignment, or the recipe names no such path
    """
    old, equals, new = assignment.partition("=")
    if not (old and equals and new) or not _replaced(params, old, new):
        raise ParameterError(f"--path {assignment!r}: expected OLD=NEW with a path OLD that the recipe names")


def _replaced(params: Any, old: str, new: str) -> int:
    places = params.items() if isinstance(params, dict) else enumerate(params) if isinstance(params, list) else ()
    found = 0
    for key, value in list(places):
        if value == old:
            params[key] = new
            found += 1
        else:
            found += _replaced(value, old, new)
    return found


def stale_outputs(params: Params, root: Path = Path()) -> list[Path]:
    """Return outputs of earlier parameters that no entry of these names; a folder of models/ must be an expert's."""
    homes = {
        "demonstration": ["data/demonstration/{}"],
        "embedding": ["data/embeddings/{}", "metrics/embedding/{}.json", "metrics/plots/layers/{}.csv"],
        "finetuning": [
            "models/{}",
            "data/predictions/{}.parquet",
            "data/predictions_alone/{}",
            "metrics/plots/training/{}.csv",
        ],
        "rebalancing": ["data/rebalanced/{}.parquet"],
    }
    stale = []
    for section in ENTRIES:
        keep = {*getattr(params, section), "demo", "fusion"}
        for pattern in homes[section]:
            found = root.glob(pattern.format("*"))
            stale += [path for path in found if path.name.split(".")[0] not in keep and path.name[0] != "."]
    return sorted(path for path in stale if path.parent.name != "models" or (path / EXPERT).is_file())


def main(
    name: Annotated[str, typer.Argument(help=f"one of {', '.join(names())}")],
    small: Annotated[bool, typer.Option("--small", help="on synthetic speech and the checkpoints that ship")] = False,
    sets: Annotated[list[str] | None, typer.Option("--set", "-S", help="key=value, as in dvc exp run -S")] = None,
    paths: Annotated[list[str] | None, typer.Option("--path", help="OLD=NEW, wherever a path stands")] = None,
    out: Path = PARAMS,
) -> None:
    """Write params.yaml from a recipe and remove the outputs that it no longer names."""
    values = compose(name)
    if small:
        stand_ins.shrink(values)
    for assignment in paths or []:
        replace_path(values, assignment)
    for assignment in sets or []:
        change(values, assignment)
    draft = out.with_name(f".{out.name}.draft")
    draft.write_text(write_yaml(values), encoding="utf-8")
    try:
        fill_slots(values, read_all(read_params(draft), draft))
        draft.write_text(write_yaml(values), encoding="utf-8")
        params = check(draft, present=False)
        draft.replace(out)
    finally:
        draft.unlink(missing_ok=True)
    for path in stale_outputs(params, out.parent):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        print(f"removed {path}, which {name} does not name")
    print(f"{out} is now the recipe {name}{' on stand-ins' if small else ''}; see git diff {out}")
    for line in absent(params):
        print(f"not there yet: {line}")


if __name__ == "__main__":
    run(main)

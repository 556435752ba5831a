"""Write a recipe as params.yaml: ``ser apply taltech --path /data/musan=/mnt/musan``.

params.yaml is written with every key, so that ``git diff params.yaml`` shows the whole recipe, and outputs that the new
parameters no longer name are removed. ``--small`` writes the same recipe on stand-ins, see ``recipes/small.py``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from pipeline_lib.params import outputs
from pipeline_lib.params.base import PARAMS, ParameterError, read_params
from pipeline_lib.params.check import absent, check, read_all
from pipeline_lib.recipes import small as stand_ins
from pipeline_lib.recipes.compose import compose, fill_slots, leave_out_fusion, write_yaml
from pipeline_lib.storage import atomic


def change(params: dict[str, Any], assignment: str) -> None:
    """Set one existing key as ``dvc exp run -S`` does: ``fusion.method=logreg``, the value read as YAML.

    Args:
        params: a recipe's parameters, changed in place
        assignment: ``key=value``, the key dotted

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
    """Replace one path by another wherever it is a value: ``/data/musan=/mnt/musan``.

    Args:
        params: a recipe's parameters, changed in place
        assignment: ``OLD=NEW``

    Raises:
        ParameterError: it is no assignment, or the recipe names no such path
    """
    old, equals, new = assignment.partition("=")
    if not (old and equals and new) or not replaced(params, old, new):
        raise ParameterError(f"--path {assignment!r}: expected OLD=NEW with a path OLD that the recipe names")


def replaced(params: Any, old: str, new: str) -> int:
    """Replace a path in nested mappings and lists, in place; return how often.

    Args:
        params: mappings and lists
        old: the path
        new: what stands there afterwards
    """
    items: list[tuple[Any, Any]] = []
    if isinstance(params, dict):
        items = list(params.items())
    elif isinstance(params, list):
        items = list(enumerate(params))
    count = 0
    for key, value in items:
        if value == old:
            params[key] = new
            count += 1
        else:
            count += replaced(value, old, new)
    return count


def apply(
    name: str, *, small: bool = False, sets: Sequence[str] = (), paths: Sequence[str] = (), out: Path = PARAMS
) -> None:
    """Write params.yaml from a recipe, remove the outputs that it no longer names, and print what was done.

    Args:
        name: of the recipe
        small: on synthetic speech and the checkpoints that ship
        sets: ``key=value``, as in ``dvc exp run -S``
        paths: ``OLD=NEW``, wherever a path is a value; replaced before ``sets``
        out: the file to write; outputs are looked for in its folder

    Raises:
        ParameterError: there is no such recipe, key or path, or the recipe cannot be run with these changes
    """
    values = compose(name)
    if small:
        stand_ins.shrink(values)
    for assignment in paths:
        replace_path(values, assignment)
    for assignment in sets:
        change(values, assignment)
    unfused = leave_out_fusion(values)
    draft = out.with_name(f".{out.name}.draft")
    draft.write_text(write_yaml(values), encoding="utf-8")
    try:
        fill_slots(values, read_all(read_params(draft), draft))
        text = write_yaml(values)
        draft.write_text(text, encoding="utf-8")
        params = check(draft, present=False)
        atomic.write_file(out, text)
    finally:
        draft.unlink(missing_ok=True)
    for path in outputs.stale_outputs(params, out.parent):
        outputs.remove(path)
        print(f"removed {path}, which {name} does not name")
    if unfused:
        print(f"left out of scoring.tables, since fusion has one expert: {', '.join(unfused)}")
    print(f"{out} is now the recipe {name}{' on stand-ins' if small else ''}; see git diff {out}")
    for line in absent(params):
        print(f"not there yet: {line}")

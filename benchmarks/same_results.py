"""Whether two ``metrics/details.json`` are the same within ``benchmarks/tolerance.yaml``.

``python -m benchmarks.same_results A B`` prints both machines, each value beyond its tolerance and the largest
difference of every rule, and ends with status 1 where one is beyond.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from ruamel.yaml import YAML

from pipeline_lib.command import run
from pipeline_lib.errors import InputError

TOLERANCE = Path(__file__).with_name("tolerance.yaml")


@dataclass(frozen=True)
class Difference:
    """A value that two files do not share.

    Attributes:
        name: dotted
        one: in the first file, None where it lacks it
        other: in the second file
        rule: the pattern that decides, None for a text or a value that one file lacks
        size: absolute, infinite for a text or a value that one file lacks
        beyond: whether it is more than the rule allows
    """

    name: str
    one: Any
    other: Any
    rule: str | None
    size: float
    beyond: bool


def leaves(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the dotted name and value of everything in nested mappings and lists.

    Args:
        values: as read from JSON
        name: dotted name of ``values``
    """
    if isinstance(values, dict | list):
        for key, each in values.items() if isinstance(values, dict) else enumerate(values):
            yield from leaves(each, f"{name}.{key}" if name else str(key))
    else:
        yield name, values


def differences(one: Any, other: Any, tolerance: Mapping[str, Any]) -> list[Difference]:
    """Return every value that differs.

    Args:
        one: details, as read from JSON
        other: the others
        tolerance: ``ignored`` keys, and ``rules``, each with ``match`` and ``absolute``
    """
    files = [dict(leaves({k: v for k, v in each.items() if k not in tolerance["ignored"]})) for each in (one, other)]
    rules = [(rule["match"], re.compile(rule["match"]), float(rule["absolute"])) for rule in tolerance["rules"]]
    listed = []
    for name in dict.fromkeys([*files[0], *files[1]]):
        here, there = files[0].get(name), files[1].get(name)
        if here == there and name in files[0] and name in files[1]:
            continue
        if not (_is_number(here) and _is_number(there)):
            listed.append(Difference(name, here, there, None, float("inf"), True))
            continue
        match, allowed = next(((text, limit) for text, rule, limit in rules if rule.fullmatch(name)), (None, -1.0))
        listed.append(Difference(name, here, there, match, abs(here - there), abs(here - there) > allowed))
    return listed


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        InputError: it is missing or is no object of JSON
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error} (no finished run?); give a metrics/details.json") from None
    if not isinstance(values, dict):
        raise InputError(
            f"{path} holds {type(values).__name__}, expected an object (another file?); give a details.json"
        )
    return values


def main(
    one: Annotated[Path, typer.Argument(help="metrics/details.json of one machine")],
    other: Annotated[Path, typer.Argument(help="that of the other")],
    tolerance_path: Annotated[Path, typer.Option("--tolerance")] = TOLERANCE,
) -> None:
    """Compare two files of scores."""
    files = [read(path) for path in (one, other)]
    tolerance = YAML(typ="safe", pure=True).load(tolerance_path.read_text(encoding="utf-8"))
    for path, values in zip((one, other), files):
        print(f"{path}: {json.dumps(values.get('made_on'), ensure_ascii=False)}")
    listed = differences(*files, tolerance)
    for rule in (each["match"] for each in tolerance["rules"]):
        if sizes := [each.size for each in listed if each.rule == rule]:
            print(f"{rule}: {len(sizes)} differ, by {max(sizes):.4g} at most")
    beyond = [each for each in listed if each.beyond]
    for each in beyond:
        print(f"beyond: {each.name}: {each.one} and {each.other}")
    print(f"{len(listed)} values differ, {len(beyond)} beyond the tolerance: {'not ' if beyond else ''}the same")
    if beyond:
        sys.exit(1)


if __name__ == "__main__":
    run(main)

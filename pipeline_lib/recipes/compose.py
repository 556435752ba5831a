"""Compose a recipe: overlays over default.yaml, comments included.

An overlay holds the differences from the recipe that it ``extends``, by default default.yaml. Settings are merged key
by key. Where the keys are free names (experts, phases, tables), the overlay names every entry: one that the lower
recipe has is merged, ``like: audio`` starts one as a copy of another (in rebalancing without what that one reads), all
others are dropped. An expert may also be like one of ``entries/``, which are part of no recipe: ``like: joint``.

The layout written is DVC's, so that ``dvc exp run -S`` changes one line: null is left out, lists are blocks, text is
folded at 80 characters. DVC replaces every value by a plain one; so comments belong to keys.
"""

import copy
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.emitter import RoundTripEmitter
from ruamel.yaml.tokens import CommentToken

from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.inputs import entries_with_slots
from pipeline_lib.params.mistakes import choose
from pipeline_lib.params.sections import ORDER, Params

FOLDER = Path(__file__).parent
ENTRIES = FOLDER / "entries"
DEFAULT = "default"
NAMED = (
    "demonstration",
    "corpora",
    "embedding",
    "finetuning",
    "rebalancing",
    "phases",
    "tables",
    "not_computed",
    "given",
    "labels",
    "shares",
    "snr_db",
)


class _Emitter(RoundTripEmitter):
    """Emitter that writes a comment two spaces after its value, wherever the comment was when it was read."""

    def write_comment(self, comment: CommentToken, pre: bool = False) -> None:
        if not pre and self.column and comment.value.lstrip(" ").startswith("#"):
            comment.start_mark.column = self.column + 2
        super().write_comment(comment, pre)


def names() -> list[str]:
    """Return the names of all recipes, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def compose(name: str) -> CommentedMap:
    """Return the parameters of a recipe with their comments.

    Raises:
        ParameterError: there is no such recipe, or it has a section or copies an entry that does not exist
    """
    if name not in names():
        advice = choose(name, names(), " (a recipe of another version?); name one of these (docs/recipes.md)")
        raise ParameterError(f"there is no recipe {name!r}, expected one of {names()}{advice}")
    overlay = read_yaml(FOLDER / f"{name}.yaml")
    if name == DEFAULT:
        return overlay
    params = compose(overlay.pop("extends", DEFAULT))
    merge(params, overlay, f"recipe {name!r}")
    return params


def merge(params: CommentedMap, overlay: dict[str, Any], source: str) -> None:
    """Merge an overlay's sections into parameters.

    Args:
        params: all sections, changed in place
        overlay: sections with the differences
        source: of the overlay, for messages

    Raises:
        ParameterError: a section does not exist, or an entry is to be like one that does not exist
    """
    unknown = [section for section in overlay if section not in ORDER]
    if unknown:
        raise ParameterError(f"{source} has the section {unknown[0]!r}, expected one of {list(ORDER)}")
    _merge_settings(params, overlay, source)


def read_yaml(path: Path) -> CommentedMap:
    """Return a YAML file with its comments."""
    return copy.deepcopy(_parsed(path.read_text(encoding="utf-8")))


@cache
def _parsed(text: str) -> CommentedMap:
    return YAML().load(text)


def fill_slots(values: CommentedMap, params: Params) -> None:
    """Put what each entry reads into its ``reads``, in place, as ``check`` expects it.

    Args:
        values: the parameters, comments kept
        params: the same, read
    """
    for where, _, reads in entries_with_slots(params):
        entry: Any = values
        for part in where.split("."):
            entry = entry[part]
        slots = entry.get("reads")
        if not isinstance(slots, dict) or [*slots] != [*reads]:
            entry.pop("reads", None)
            entry.insert(0, "reads", CommentedMap(reads))
        else:
            slots.update(reads)


def write_yaml(params: CommentedMap) -> str:
    """Return parameters as the text of params.yaml, in DVC's layout."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.Emitter = _Emitter
    written = StringIO()
    yaml.dump(_plain(copy.deepcopy(params)), written)
    return written.getvalue()


def _plain(value: Any) -> Any:
    """Return a value without the layout that it was read with; mappings keep their comments."""
    match value:
        case CommentedMap():
            if value:  # an empty one stays {}
                value.fa.set_block_style()
            for key, item in value.items():
                value[key] = _plain(item)
                if not (isinstance(item, dict | list) and item) and key in value.ca.items:
                    value.ca.items[key][3] = None  # of the lines of an earlier list, which would end this line
            return value
        case dict():
            return {key: _plain(item) for key, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case str():
            return str(value)  # folded or quoted by its own length and characters
        case _:
            return value


def _merge_settings(params: CommentedMap, overlay: dict[str, Any], where: str) -> None:
    for key, value in overlay.items():
        if not (isinstance(value, dict) and isinstance(params.get(key), dict)):
            params[key] = value
        elif key in NAMED:
            params[key] = _merge_named(key, params[key], value, f"{where}: {key}")
        else:
            _merge_settings(params[key], value, f"{where}: {key}")


def _merge_named(key: str, lower: CommentedMap, overlay: dict[str, Any], where: str) -> CommentedMap:
    """Return the entries that the overlay names, each started from its namesake or from the one that it is like."""
    merged = CommentedMap()
    entries = {path.stem: read_yaml(path) for path in ENTRIES.glob("*.yaml")} if key == "finetuning" else {}
    for name, change in overlay.items():
        if not isinstance(change, dict):
            merged[name] = change
            continue
        model = change.get("like", name)
        start = merged.get(model, lower.get(model, entries.get(model)))
        if start is None and "like" in change:
            known = sorted({*merged, *lower, *entries})
            raise ParameterError(f"{where}.{name} is to be like {model!r}, expected one of {known}")
        merged[name] = copy.deepcopy(start) if start is not None else CommentedMap()
        if "like" in change and key == "rebalancing":
            merged[name].pop("reads", None)  # which system it is of; left out, the expert's of its own name
        _merge_settings(merged[name], {k: v for k, v in change.items() if k != "like"}, f"{where}.{name}")
    return merged

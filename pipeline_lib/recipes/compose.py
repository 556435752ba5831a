"""Put a recipe together: overlays over default.yaml, comments kept.

An overlay holds what differs from the recipe that it ``extends``, which is the default where it does not say. Settings
are merged key by key. Where keys are names of one's own choosing (experts, phases, tables), the overlay names every
entry: one that the recipe below has is merged, ``like: audio`` begins one as a copy of another, all others are dropped.
An expert may also be like one of ``entries/``, which no recipe holds as it stands: ``like: joint``.

What is written lies as DVC writes it, so that ``dvc exp run -S`` changes one line: null is left out, lists are blocks,
text is folded at 80 signs. DVC puts a plain value in place of every value that it reads; so comments stand beside keys.
"""

import copy
from io import StringIO
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap
from ruamel.yaml.emitter import RoundTripEmitter
from ruamel.yaml.tokens import CommentToken

from pipeline_lib.params.base import ParameterError
from pipeline_lib.params.inputs import entries_with_slots
from pipeline_lib.params.sections import ORDER, Params

FOLDER = Path(__file__).parent
ENTRIES = FOLDER / "entries"
DEFAULT = "default"
NAMED = ("demonstration", "embedding", "finetuning", "rebalancing", "phases", "tables", "given", "shares", "snr_db")


class _Emitter(RoundTripEmitter):
    """Writes a comment two blanks behind its value, whatever the value was when the comment was read."""

    def write_comment(self, comment: CommentToken, pre: bool = False) -> None:
        if not pre and self.column and comment.value.lstrip(" ").startswith("#"):
            comment.start_mark.column = self.column + 2
        super().write_comment(comment, pre)


def names() -> list[str]:
    """Return the recipes there are."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def compose(name: str) -> CommentedMap:
    """Return the parameters of a recipe, comments kept.

    Raises:
        ParameterError: there is no such recipe, or it holds a section or copies an entry that does not exist
    """
    if name not in names():
        raise ParameterError(f"there is no recipe {name!r}, expected one of {names()}")
    overlay = read_yaml(FOLDER / f"{name}.yaml")
    if name == DEFAULT:
        return overlay
    whole = compose(overlay.pop("extends", DEFAULT))
    merge(whole, overlay, f"recipe {name!r}")
    return whole


def merge(whole: CommentedMap, overlay: dict[str, Any], what: str) -> None:
    """Put an overlay's sections into the whole.

    Raises:
        ParameterError: a section does not exist, or an entry is to be like one that does not
    """
    unknown = [section for section in overlay if section not in ORDER]
    if unknown:
        raise ParameterError(f"{what} holds {unknown[0]!r}, which is not among {list(ORDER)}")
    _merge_settings(whole, overlay, what)


def read_yaml(path: Path) -> CommentedMap:
    """Return a YAML file with its comments."""
    return YAML().load(path.read_text(encoding="utf-8"))


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
    """Return parameters as the text of params.yaml, laid out as DVC does."""
    yaml = YAML()
    yaml.default_flow_style = False
    yaml.Emitter = _Emitter
    written = StringIO()
    yaml.dump(_plain(copy.deepcopy(params)), written)
    return written.getvalue()


def _plain(value: Any) -> Any:
    """Return a value without the layout that it was read with, the comments of mappings kept."""
    match value:
        case CommentedMap():
            if value:  # an empty one stays {}
                value.fa.set_block_style()
            for key, each in value.items():
                value[key] = _plain(each)
            return value
        case dict():
            return {key: _plain(each) for key, each in value.items()}
        case list():
            return [_plain(each) for each in value]
        case str():
            return str(value)  # folded or quoted as its own length and signs ask for
        case _:
            return value


def _merge_settings(whole: CommentedMap, overlay: dict[str, Any], where: str) -> None:
    for key, value in overlay.items():
        if not (isinstance(value, dict) and isinstance(whole.get(key), dict)):
            whole[key] = value
        elif key in NAMED:
            whole[key] = _merge_named(key, whole[key], value, f"{where}: {key}")
        else:
            _merge_settings(whole[key], value, f"{where}: {key}")


def _merge_named(key: str, whole: CommentedMap, overlay: dict[str, Any], where: str) -> CommentedMap:
    """Return the entries that the overlay names, each begun as its namesake or as the one that it is like."""
    found = CommentedMap()
    entries = {path.stem: read_yaml(path) for path in ENTRIES.glob("*.yaml")} if key == "finetuning" else {}
    for name, change in overlay.items():
        if not isinstance(change, dict):
            found[name] = change
            continue
        model = change.get("like", name)
        start = found.get(model, whole.get(model, entries.get(model)))
        if start is None and "like" in change:
            known = sorted({*found, *whole, *entries})
            raise ParameterError(f"{where}.{name} is to be like {model!r}, which is not among {known}")
        found[name] = copy.deepcopy(start) if start is not None else CommentedMap()
        _merge_settings(found[name], {k: v for k, v in change.items() if k != "like"}, f"{where}.{name}")
    return found

"""Keys of an entry that apply to some modalities only: they stand in params.yaml where they do, and nowhere else.

A key that does not apply is refused whatever its value, so that no entry holds a null of another kind. In the settings
it has its default, which does nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from pydantic import (
    ModelWrapValidatorHandler,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from pipeline_lib.modalities import MODALITIES
from pipeline_lib.params.base import Settings
from pipeline_lib.params.mistakes import MISPLACED

JOINT = "joint"  # the word of `modality` for an expert with a branch a modality
SINGLE: tuple[str, ...] = ()  # every modality alone, whichever there are
BRANCHES = "branches"
Location = tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """A key and what it applies to.

    Attributes:
        key: dotted, ``*`` stands for any name
        kinds: words of ``modality``; a joint entry further needs a branch of one of the modalities, if there are any
        hint: what to set in place of the removed key, where there is anything
        elsewhere: what the key applies to where no entry of this section has it
    """

    key: str
    kinds: tuple[str, ...]
    hint: str = ""
    elsewhere: str | None = None


class EntrySettings(Settings):
    """An entry with a ``modality``, some of whose keys apply to some modalities only."""

    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="wrap")
    @classmethod
    def _refuse_other_kinds(cls, values: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Refuse every key that does not apply, beside all other mistakes."""
        wrong = misplaced(values, cls.rules) if isinstance(values, dict) else {}
        if not wrong:
            return handler(values)
        lines = [
            InitErrorDetails(type=PydanticCustomError(MISPLACED, "{why}", {"why": why}), loc=path, input=None)
            for path, why in wrong.items()
        ]
        try:
            handler(_without(values, wrong))
        except ValidationError as error:
            lines += [
                InitErrorDetails(type=line["type"], loc=line["loc"], input=line["input"], ctx=line.get("ctx", {}))
                for line in error.errors()
            ]
        raise ValidationError.from_exception_data(cls.__name__, lines)

    @model_serializer(mode="wrap")
    def _leave_other_kinds_out(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write what can be read again."""
        values = handler(self)
        kind = {name: getattr(self, name, {}) for name in ("modality", BRANCHES)}  # values may lack the defaults
        return _without(values, misplaced(kind | values, self.rules))


def misplaced(values: Mapping[str, Any], rules: Iterable[Rule]) -> dict[Location, str]:
    """Return the keys of an entry that do not apply to it, each with the message that follows its name.

    Args:
        values: of the entry as read, of which nothing needs to be right; an unknown modality has no such key
        rules: of its section
    """
    modality, branches = values.get("modality"), values.get(BRANCHES)
    if not isinstance(modality, str) or not (modality == JOINT or modality in MODALITIES):
        return {}
    names = list(map(str, branches)) if isinstance(branches, Mapping) else list(MODALITIES)
    wrong: dict[Location, str] = {}
    for rule in rules:
        for path in _paths(values, rule.key.split(".")):
            why: str | None
            if rule.elsewhere:
                why = rule.elsewhere
            elif len(path) > 1 and path[0] == BRANCHES:
                why = None if path[1] in rule.kinds else f"a branch of {_listed(rule.kinds)} (got {path[1]!r})"
            else:
                why = _misfit(rule.kinds or tuple(MODALITIES), modality, names)
            if why:
                wrong[path] = f"applies only to {why}: remove it{rule.hint}"
    return wrong


def _misfit(kinds: tuple[str, ...], modality: str, branches: list[str]) -> str | None:
    """Return what a key applies to and what the entry is instead, None where it applies."""
    if modality not in kinds:
        return f"modality {_listed(kinds)} (got {modality!r})"
    parts = [kind for kind in kinds if kind in MODALITIES]
    if modality != JOINT or not parts or set(parts) & set(branches):
        return None
    return f"modality {JOINT!r} with a branch of {_listed(tuple(parts))} (got branches {branches})"


def _listed(kinds: Iterable[str]) -> str:
    return " or ".join(map(repr, kinds))


def _paths(values: Any, key: list[str]) -> Iterator[Location]:
    """Yield the locations of a dotted key in nested mappings."""
    if not isinstance(values, Mapping):
        return
    names = [name for name in values if isinstance(name, str)] if key[0] == "*" else [key[0]]
    for name in names:
        if name not in values:
            continue
        if len(key) == 1:
            yield (name,)
        else:
            yield from ((name, *rest) for rest in _paths(values[name], key[1:]))


def _without(values: Mapping[str, Any], paths: Iterable[Location]) -> dict[str, Any]:
    """Return nested mappings without the keys at these locations."""
    heads: dict[str, list[Location]] = {}
    for head, *rest in paths:
        heads.setdefault(head, []).append(tuple(rest))
    remaining = {}
    for name, value in values.items():
        if name not in heads:
            remaining[name] = value
        elif () not in heads[name]:
            remaining[name] = _without(value, heads[name])
    return remaining

"""The sentence about a wrong key or value of a YAML file: where, what is, what was expected, a likely cause, the fix.

The cause is a question in brackets, the fix an imperative behind a semicolon.
"""

import reprlib
import types
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

MISPLACED = "misplaced"  # type of the error about a key that stands where it does not apply
PLAIN = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", list: "a list", dict: "keys"}
_BRIEF = reprlib.Repr()  # never walks the whole of a value: thirty lines of YAML can hold a thousand million words
_BRIEF.maxstring = _BRIEF.maxother = _BRIEF.maxlong = 80
_BRIEF.maxlevel = 3  # six levels of six are 46,656 words


def short(value: Any) -> str:
    """Return a value of params.yaml as a message shows it, in at most 80 characters."""
    text = _BRIEF.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def nearest(name: Any, known: Iterable[str]) -> str | None:
    """Return the known name that is most like a wrong one, None where none is like it.

    Args:
        name: as it was written
        known: what it may be
    """
    near = get_close_matches(str(name), list(known), n=1, cutoff=0.7)
    return near[0] if near else None


def choose(name: Any, known: Iterable[str], otherwise: str) -> str:
    """Return cause and fix for a name that is not among the known ones.

    Args:
        name: as it was written
        known: what it may be
        otherwise: cause and fix where no known name is like it: `` (...?); ...``
    """
    near = nearest(name, known)
    return f" (did you mean {near!r}?); write {near!r}" if near else otherwise


def explain(cls: type[BaseModel], section: str, detail: ErrorDetails) -> str:
    """Return one mistake of pydantic's in one sentence.

    Args:
        cls: that read the values
        section: dotted name of the values
        detail: the mistake
    """
    where = ".".join(filter(None, [section, *(str(part) for part in detail["loc"])]))
    name, value = str(detail["loc"][-1]) if detail["loc"] else section, detail["input"]
    if detail["type"] == "extra_forbidden":
        models = _models_at(cls, detail["loc"][:-1])
        old: list[Mapping[str, str]] = [getattr(model, "old_keys", {}) for model in models]
        if replacements := [keys[name] for keys in old if name in keys]:
            return f"{where} {replacements[0]}"
        known = sorted(field for model in models for field in model.model_fields)
        otherwise = " (a key of another section or version, or indented too far?); remove it, or move it to its section"
        return f"{where} is not a parameter, expected one of {known}{choose(name, known, otherwise)}"
    if detail["type"] == "missing":
        return f"{where} is missing, expected {_expected(cls, detail)} (left out, or not indented?); add it"
    if detail["type"] == "literal_error":
        known = detail["ctx"]["expected"].split("'")[1::2]
        otherwise = " (a value of another key or version?); choose one of these"
        return f"{where} is {short(value)}, expected {detail['ctx']['expected']}{choose(value, known, otherwise)}"
    message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if detail["type"] == MISPLACED:
        return f"{where} {message}"
    if isinstance(value, dict) and detail["type"] == "value_error":
        return f"{where}: {message}"  # several keys do not fit together; the message names them
    return f"{where} is {short(value)}: {message}{_advice(detail['type'], name, value)}"


def _advice(kind: str, name: str, value: Any) -> str:
    """Return the likely cause of a value of a wrong type or size, and the fix; none for our own checks.

    Args:
        kind: pydantic's type of the mistake
        name: of the key
        value: as it was read
    """
    if kind.startswith("value_error"):
        return ""
    if value is None:
        return " (nothing behind the colon?); give a value, or remove the key to take its default"
    if kind.startswith(("int", "float")) and isinstance(value, str):
        if _is_number(value):
            return f" (a number in quotes?); write {name}: {value.strip()}"
        if _is_number(value.replace(",", ".")):
            return f" (a comma for the decimal point?); write {name}: {value.strip().replace(',', '.')}"
        return f" (a word, or a unit behind the number?); write {name} as a number in digits"
    if kind.startswith("int") and isinstance(value, float):
        return f" (a fraction of what is counted whole?); write a whole number, such as {name}: {round(value)}"
    if kind.startswith("bool"):
        return f" (YAML 1.2 takes yes, no, on and off for words?); write {name}: true or {name}: false"
    if kind == "string_type":
        return f" (a name of digits, or without quotes?); put it in quotes: {name}: '{short(value)}'"
    if kind.startswith(("list", "tuple", "set")):
        return f" (one value without brackets?); write {name}: [{short(value).strip(chr(39))}]"
    if kind.startswith(("dict", "mapping", "model")):
        return f" (keys that are not indented below it?); indent the keys of {name}, or remove it to take its defaults"
    if kind.startswith(("greater", "less", "finite")):
        return f" (another unit, a percentage, or a sign too many?); set {name} within this bound"
    if kind.endswith(("too_short", "too_long")):
        return f" (an entry left out, or one too many?); set {name} to as many"
    if kind == "string_pattern_mismatch":
        return f" (a blank or a sign that is not allowed?); write {name} without it"
    return f" (a value of another key?); set {name} to what is expected"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _expected(cls: type[BaseModel], detail: ErrorDetails) -> str:
    """Return what a missing key would hold: its allowed values or type, and its description."""
    name = str(detail["loc"][-1])
    fields = (model.model_fields.get(name) for model in _models_at(cls, detail["loc"][:-1]))
    for field in filter(None, fields):
        told = f" ({field.description})" if field.description else ""
        return f"{name}: {' or '.join(_values(field.annotation)) or 'its keys'}{told}"
    return f"{name}: with a value"


def _values(annotation: Any) -> Iterator[str]:
    """Yield the values that an annotation allows, types by a word."""
    origin = get_origin(annotation)
    if origin is Literal:
        yield from map(repr, get_args(annotation))
    elif origin in (Union, types.UnionType):
        for each in get_args(annotation):
            yield from _values(each)
    elif origin in (list, tuple, dict):
        yield PLAIN.get(origin, "a list")
    elif origin is not None:  # Annotated
        yield from _values(get_args(annotation)[0])
    elif annotation is type(None):
        yield "null"
    elif annotation in PLAIN:
        yield PLAIN[annotation]


def _models_at(cls: type[BaseModel], location: tuple[int | str, ...]) -> list[type[BaseModel]]:
    """Return the classes of the settings nested at ``location`` inside ``cls``."""
    models: list[type[BaseModel]] = [cls]
    for part in location:
        deeper = []
        for model in models:
            field = model.model_fields.get(str(part))
            deeper += list(_models_in(field.annotation)) if field else []
        models = deeper or models  # a dict's key or a list's index leads to the same models
    return models


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif get_origin(annotation) is not None:
        for argument in get_args(annotation):
            yield from _models_in(argument)

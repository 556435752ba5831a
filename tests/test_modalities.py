"""The modalities are listed in one file; elsewhere code takes them from there."""

import ast
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from pipeline_lib import modalities
from pipeline_lib.encoders.load import LOADERS
from pipeline_lib.experts.utterances import READERS
from pipeline_lib.modalities import MODALITIES, Modality, known_modality
from pipeline_lib.params.modality import Combination, ModalityName

LISTING = {
    "pipeline_lib/modalities.py",
    "pipeline_lib/encoders/load.py",  # LOADERS
    "pipeline_lib/experts/utterances.py",  # READERS
    "pipeline_lib/params/scoring.py",  # names of experts, of params.yaml
}
FILES = sorted([*Path("pipeline_lib").rglob("*.py"), *Path("stages").glob("*.py")])


def texts(node: ast.AST) -> set[Any]:
    """Return the texts that a tuple, list, set, dict's keys or Literal holds itself."""
    parts: list[ast.AST | None] = []
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        parts = [*node.elts]
    elif isinstance(node, ast.Dict):
        parts = [*node.keys]
    return {part.value for part in parts if isinstance(part, ast.Constant)}


def lists_modalities(source: str) -> bool:
    return any(len(texts(node) & {*MODALITIES}) > 1 for node in ast.walk(ast.parse(source)))


def test_no_other_file_lists_the_modalities():
    listing = {path.as_posix() for path in FILES if lists_modalities(path.read_text())}
    assert listing <= LISTING, (
        f"{sorted(listing - LISTING)} list modalities, expected them to read modalities.MODALITIES"
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = ('text', 'joint', 'audio')", True),
        ("def f(x: Literal['audio', 'text']): ...", True),
        ("x = {'audio': 1, 'text': 2}", True),
        ("if x in {'audio', 'text'}: ...", True),
        ("x = [['audio'], ['text']]", False),
        ("x = {'audio': 'text'}", False),
        ("x = 'audio' if y else 'text'", False),
    ],
)
def test_what_lists_them(source, expected):
    assert lists_modalities(source) == expected


def test_every_modality_has_its_name_a_loader_and_a_reader():
    assert {name: row.name for name, row in MODALITIES.items()} == {name: name for name in MODALITIES}
    assert list(LOADERS) == list(READERS) == list(MODALITIES)


def test_an_unknown_modality_is_refused():
    with pytest.raises(ValueError, match=r"'video' is no modality, expected one of \['audio', 'text'\]"):
        known_modality("video")


def test_names_in_params_are_those_of_the_table_when_they_are_checked(monkeypatch):
    name, combination = TypeAdapter(ModalityName), TypeAdapter(Combination)
    for each in (name, combination):
        with pytest.raises(ValidationError):
            each.validate_python("face")
    assert combination.json_schema()["enum"] == ["audio", "text", "audio+text", "both"]
    monkeypatch.setitem(modalities.MODALITIES, "face", Modality("face", "face", "seconds", "video"))
    assert name.validate_python("face") == "face"
    assert combination.validate_python("audio+face") == "audio+face"
    assert name.json_schema()["enum"] == ["audio", "text", "face"]

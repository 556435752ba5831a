"""params.yaml lies as DVC writes it: ``dvc exp run -S`` changes the lines of the key that is set, and no other."""

import difflib
from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from pipeline_lib.recipes.compose import names, write_yaml
from tests.recipes.laid_down import YAML12, overlaid, text


def changed(before: str, path: Path) -> list[str]:
    """Return the lines that left, with -, and those that came, with +."""
    lines = difflib.unified_diff(before.splitlines(), path.read_text().splitlines(), n=0, lineterm="")
    return [line for line in lines if line[0] in "+-" and line[:3] not in ("---", "+++")]


TRIED = [("default", False), ("shared_transformer", False), ("taltech_postevaluation", True)]
OTHERS = [(name, False) for name in names() if (name, False) not in TRIED]


@pytest.mark.parametrize(
    ("name", "small"), [*TRIED, *(pytest.param(*each, marks=pytest.mark.acceptance) for each in OTHERS)]
)
def test_dvc_changes_the_one_line_that_is_set(name, small, tmp_path):
    path, before = tmp_path / "params.yaml", text(name, small)
    path.write_text(before)
    apply_overrides(path, ["scoring.intervals.samples=77"])
    old = YAML12.load(before)["scoring"]["intervals"]["samples"]
    assert changed(before, path) == [f"-    samples: {old}", "+    samples: 77"]


@pytest.mark.parametrize(
    ("assignment", "lines"),
    [
        (
            "finetuning.audio.phases.main.learning_rate=5e-5",
            ["-        learning_rate: 1e-3", "+        learning_rate: 5e-05"],
        ),
        ("finetuning.audio.phases.main.chunk_s=null", ["-        - 1.5", "-        - 2.5"]),
        (
            "finetuning.audio.phases.main.chunk_s=[1.0,2.0]",
            ["-        - 1.5", "-        - 2.5", "+        - 1.0", "+        - 2.0"],
        ),
        ("corpus.labels=[a,b]", ["+  - a", "+  - b"]),
        ("corpus.max_duration_s=30.0", ["-  max_duration_s: 120.0", "+  max_duration_s: 30.0"]),
        ("finetuning.text.embedding={}", ["-    embedding:", "+    embedding: {}"]),
    ],
)
def test_dvc_changes_the_lines_of_a_list_and_of_null(assignment, lines, tmp_path):
    path, before = tmp_path / "params.yaml", text("default")
    path.write_text(before)
    apply_overrides(path, [assignment])
    assert changed(before, path) == lines


@pytest.mark.parametrize("value", ["null", "{}", "{excited: happiness}", "{excited: happiness, fear: anger}"])
def test_a_value_of_any_kind_beside_a_comment_is_read_as_it_was_set(value):
    params = overlaid(f"corpus: {{merge: {value}, labels: [a, 'null', '1', yes]}}")
    read = YAML12.load(write_yaml(params))["corpus"]
    assert read["merge"] == YAML12.load(value)
    assert read["labels"] == ["a", "null", "1", "yes"]


def test_a_comment_stands_two_blanks_behind_its_value():
    lines = [line for line in text("default").splitlines() if "#" in line and not line.lstrip().startswith("#")]
    assert len(lines) > 50
    assert [line for line in lines if line.split("#")[0] != line.split("#")[0].rstrip() + "  "] == []


def test_an_empty_list_in_place_of_one_with_a_comment_keeps_its_line():
    yaml = YAML()
    params = yaml.load("a:  # some\n- x\nb: 1\nc:\n  d: 2\n")
    params["a"] = []
    assert write_yaml(params) == "a: []  # some\nb: 1\nc:\n  d: 2\n"

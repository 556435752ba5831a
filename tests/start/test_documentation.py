"""Command blocks on corpora of one's own: every command exists with its options, or is named here with its reason."""

import re
from pathlib import Path

import pytest
import typer

from pipeline_lib.cli import app

NOT_RUN = {  # beside `ser`: why it is not run here
    "dvc repro": "takes minutes; tests/test_pipeline.py runs it",
    "less metrics/report.md": "needs a terminal",
}


def commands():
    """Yield the commands of the blocks without their comments."""
    readme = Path("README.md").read_text()
    section = readme[readme.index("## Your own corpus") : readme.index("## The real models")]
    for text in (section, Path("docs/own_corpus.md").read_text()):
        for block in re.findall(r"^```\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL):
            yield from (line.partition("  #")[0].strip() for line in block.splitlines() if line.strip())


@pytest.mark.parametrize("command", sorted({*commands()}))
def test_a_documented_command_exists(command):
    if command in NOT_RUN:
        return
    program, name, *words = command.split()
    assert program == "ser"
    known = typer.main.get_command(app).commands[name]
    known.make_context(name, words)  # refuses options and arguments that it does not know


def test_every_option_is_documented_and_every_documented_one_exists():
    text = Path("docs/own_corpus.md").read_text()
    known = {option for each in typer.main.get_command(app).commands["start"].params for option in each.opts}
    assert {*re.findall(r"--[a-z][a-z-]+", text)} == {option for option in known if option.startswith("--")}

"""The examples of docs/extend.md: applied to a copy of the package as they stand, and their tests run."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

BLOCK = re.compile(r"^```(python|diff)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LONGEST = 60  # lines of an example with its test, without blank ones


def examples() -> dict[str, list[tuple[str, str]]]:
    """Return the blocks of each section: language and text."""
    sections = re.split(r"^## ", Path("docs/extend.md").read_text(), flags=re.MULTILINE)[1:]
    return {section.partition("\n")[0]: BLOCK.findall(section) for section in sections}


def apply_diff(text: str, root: Path) -> None:
    """Replace whole lines: those that begin with ``-``, each of which stands once in its file, by the ``+`` behind."""
    lines, path = text.splitlines(), root
    for i, line in enumerate(lines):
        if line.startswith("# "):
            path = root / line[2:]
        elif line.startswith("-"):
            end = next((j for j in range(i + 1, len(lines)) if not lines[j].startswith("+")), len(lines))
            before = f"\n{path.read_text()}"
            assert before.count(f"\n{line[1:]}\n") == 1, (path, line)
            added = "\n".join(each[1:] for each in lines[i + 1 : end])
            path.write_text(before.replace(f"\n{line[1:]}\n", f"\n{added}\n")[1:])


def test_every_example_is_short():
    assert list(examples()) == ["A corpus", "An encoder", "A mixer", "A loss"]
    for name, blocks in examples().items():
        lines = [line for _, text in blocks for line in text.splitlines() if line.strip()]
        assert len(lines) <= LONGEST, (name, len(lines))


def test_every_example_runs(tmp_path):
    shutil.copytree("pipeline_lib", tmp_path / "pipeline_lib")
    for blocks in examples().values():
        for language, text in blocks:
            if language == "diff":
                apply_diff(text, tmp_path)
                continue
            path = tmp_path / text.partition("\n")[0].removeprefix("# file: ")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "--import-mode=importlib", "-p", "no:cacheprovider", "tests"]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert "4 passed" in done.stdout, done.stdout + done.stderr

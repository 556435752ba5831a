"""Which files of the project a file imports, straight or through another; absolute imports only."""

import ast
from functools import cache
from pathlib import Path


def names_in(tree: ast.AST) -> set[str]:
    """Return every dotted name that ``tree`` imports; ``from a import b`` gives both ``a`` and ``a.b``."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"relative import on line {node.lineno}; this project writes absolute imports")
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
    return names


NO_OUTPUT = {Path("pipeline_lib/doctor/mixing.py")}  # prints warnings alone: no stage's result follows from it


@cache
def straight(path: Path) -> frozenset[Path]:
    """Return the project's files that ``path`` itself imports, a lone docstring not counted."""
    found = set()
    for name in names_in(ast.parse(path.read_text())):
        base = Path(*name.split("."))
        found |= {file for file in (base.with_suffix(".py"), base / "__init__.py") if _is_ours(file)}
    return frozenset(found)


def imported_files(path: Path) -> set[Path]:
    """Return the project's files that ``path`` imports, straight or through another, but for NO_OUTPUT's."""
    found: set[Path] = set()
    todo = [path]
    while todo:
        for file in straight(todo.pop()) - found - NO_OUTPUT:
            found.add(file)
            todo.append(file)
    return found


def _is_ours(file: Path) -> bool:
    return file.parts[0] in ("pipeline_lib", "stages") and file.exists() and file.read_text().count("\n") > 1

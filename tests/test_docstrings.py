"""Docstrings of public functions: every parameter in ``Args``, the shape of every array."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path("pipeline_lib")
PENDING: set[str] = set()  # packages and modules with incomplete docstrings; none, and none may come
ARRAYS = {"ndarray", "Tensor"}
GENERATED = {"overload", "setter", "field_validator", "model_validator"}  # not called by name
SHAPE = re.compile(r"\bshapes?\b|\bscalars?\b|``\([^`]*\)``")
Function = ast.FunctionDef | ast.AsyncFunctionDef


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function, str]]:
    """Yield name, definition and docstring of public functions and methods; a constructor has its class's too."""
    for node in tree.body:
        if isinstance(node, Function) and not node.name.startswith("_"):
            yield node.name, node, ast.get_docstring(node) or ""
        if not isinstance(node, ast.ClassDef) or node.name.startswith("_"):
            continue
        for method in (part for part in node.body if isinstance(part, Function)):
            doc = ast.get_docstring(method) or ""
            if method.name == "__init__":
                yield node.name, method, f"{ast.get_docstring(node) or ''}\n\n{doc}"
            elif not method.name.startswith("_") and not GENERATED & {_last(d) for d in method.decorator_list}:
                yield f"{node.name}.{method.name}", method, doc


def _last(decorator: ast.expr) -> str:
    """Return the last part of a decorator's dotted name."""
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")


def parameters(node: Function) -> list[ast.arg]:
    """Return the parameters that a caller gives; a leading underscore marks one that is ignored."""
    signature = node.args
    named = [*signature.posonlyargs, *signature.args, *signature.kwonlyargs]
    stars = [arg for arg in (signature.vararg, signature.kwarg) if arg is not None]
    return [arg for arg in (*named, *stars) if arg.arg not in ("self", "cls") and not arg.arg.startswith("_")]


def has_help(parameter: ast.arg) -> bool:
    """Return whether a command's option or argument is described by its ``help``."""
    calls = [part for part in ast.walk(parameter) if isinstance(part, ast.Call)]
    return any(_last(call) in ("Option", "Argument") and "help" in {k.arg for k in call.keywords} for call in calls)


def described(doc: str) -> set[str]:
    """Return the names that head an entry of the sections ``Args``, one or several before a colon."""
    names: set[str] = set()
    inside, depth = False, None
    for line in doc.splitlines():
        if line.strip() and not line.startswith(" "):
            inside, depth = line.strip() == "Args:", None
        elif inside and line.strip():
            depth = depth or len(line) - len(line.lstrip())
            head, colon, _ = line[depth:].partition(":")
            if colon and re.fullmatch(r"[\w*`, ]+", head) and not head.startswith(" "):
                names |= set(re.findall(r"\w+", head))
    return names


def has_array(node: Function) -> bool:
    """Return whether an annotation of the signature names an array or a tensor."""
    hints = [parameter.annotation for parameter in parameters(node)] + [node.returns]
    parts = [part for hint in hints if hint is not None for part in ast.walk(hint)]
    quoted = " ".join(str(part.value) for part in parts if isinstance(part, ast.Constant))
    names = {part.id for part in parts if isinstance(part, ast.Name)}
    return bool(ARRAYS & (names | {part.attr for part in parts if isinstance(part, ast.Attribute)})) or any(
        re.search(rf"\b{name}\b", quoted) for name in ARRAYS
    )


def without_args(source: str) -> list[str]:
    """Return the functions of two or more parameters that leave one undescribed, each with the missing names."""
    defects = []
    for name, node, doc in public_functions(ast.parse(source)):
        given = parameters(node)
        missing = [p.arg for p in given if p.arg not in described(doc) and not has_help(p)]
        if len(given) >= 2 and missing:
            defects.append(f"{name}: {', '.join(missing)}")
    return defects


def without_shapes(source: str) -> list[str]:
    """Return the functions that take or return arrays and name no shape."""
    functions = public_functions(ast.parse(source))
    return [name for name, node, doc in functions if has_array(node) and not SHAPE.search(doc)]


def owner(path: Path) -> str:
    """Return the package or module of ``pipeline_lib`` that holds a file."""
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def defects_of(check: Callable[[str], list[str]]) -> dict[str, list[str]]:
    """Return what a check reports, by package, as ``file: defect``."""
    defects: dict[str, list[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        defects.setdefault(owner(path), []).extend(f"{path}: {defect}" for defect in check(path.read_text()))
    return defects


def test_every_parameter_of_a_public_function_is_described():
    done = [lines for name, lines in defects_of(without_args).items() if name not in PENDING]
    assert not sum(done, []), "describe each parameter under Args (name: meaning, shape, unit, range)"


def test_the_shape_of_every_array_is_named():
    done = [lines for name, lines in defects_of(without_shapes).items() if name not in PENDING]
    assert not sum(done, []), "name the shape, as in: shape ``(n, n_labels)``; a scalar"


def test_what_is_pending_is_incomplete():
    by_args, by_shapes = defects_of(without_args), defects_of(without_shapes)
    complete = {name for name in PENDING if not by_args.get(name) and not by_shapes.get(name)}
    assert not complete, "remove these from PENDING: their docstrings are complete"


EXAMPLE = '''
def complete(a: np.ndarray, b: int, *rest: int, _ignored: int = 0) -> float:
    """Return a number.

    Args:
        a: first, shape ``(n,)``;
            of which c: is no parameter
        b, rest: integers

    Returns:
        d: no parameter either
    """

def prose(a: int, b: int) -> None:
    """Add a: the one and b: the other."""

def partial(a: int, b: int) -> None:
    """Add.

    Args:
        a: the one
    """

def one(a: "torch.Tensor | None") -> None:
    """Print."""

def returns() -> list[torch.Tensor]:
    """Return a scalar each."""

def command(a: Annotated[int, typer.Option(help="the one")], b: Annotated[int, typer.Option(min=1)]) -> None:
    """Run."""

def _private(a: np.ndarray, b: int) -> None: ...

class Public:
    """Text.

    Args:
        a: the one
    """

    def __init__(self, a: int, b: int) -> None: ...

    def method(self, a: dict[str, np.ndarray]) -> None:
        """Print."""

    @field_validator("a")
    def checked(cls, a: int, b: int) -> int: ...

class _Hidden:
    def method(self, a: np.ndarray, b: int) -> None: ...
'''


def test_the_checks_report_exactly_what_is_missing():
    assert without_args(EXAMPLE) == ["prose: a, b", "partial: b", "command: b", "Public: b"]
    assert without_shapes(EXAMPLE) == ["one", "Public.method"]

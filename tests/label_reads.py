"""Where code reads labels: direct reads of the manifest, and records of labels that are dropped, by its syntax tree."""

import ast

COLUMNS = {"emotion", "votes", "arousal", "valence", "dominance"}
WHOLE_ROWS = {"iloc", "loc", "itertuples", "iterrows", "to_dict", "to_numpy", "values", "query", "eval"}


def direct_reads(source: str) -> list[str]:
    """Return the expressions that read labels of the manifest itself, without a record.

    Args:
        source: of a module
    """
    return [ast.unparse(node) for node in ast.walk(ast.parse(source)) if _reads(node)]


def dropped_records(source: str) -> list[str]:
    """Return the functions that take labels from ``labels_of`` and neither use the record nor hand it on.

    Args:
        source: of a module
    """
    functions = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef)]
    return [function.name for function in functions if not _records(function)]


def _reads(node: ast.AST) -> bool:
    match node:
        case ast.Call(func=ast.Attribute(attr="truth")):
            return True
        case ast.Call(func=ast.Attribute(attr="attributes", value=receiver)):
            return ast.unparse(receiver) != "self"
        case ast.Subscript(value=receiver, slice=index):
            named = {each.value for each in ast.walk(index) if isinstance(each, ast.Constant)}
            has_all = any(isinstance(each, ast.Name) and each.id == "ATTRIBUTES" for each in ast.walk(index))
            return _is_frame(receiver) and (bool(named & COLUMNS) or has_all)
        case ast.Attribute(value=receiver, attr=name):
            return _is_frame(receiver) and name in COLUMNS | WHOLE_ROWS
        case ast.Call(func=ast.Name(id="getattr"), args=[receiver, *_]):
            return _is_frame(receiver)
    return False


def _is_frame(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == "frame") or (
        isinstance(node, ast.Name) and node.id == "frame"
    )


def _records(function: ast.FunctionDef) -> bool:
    """Return whether every result of ``labels_of`` in the function has its record used, or is handed on whole."""
    takes = {
        target.id
        for node in ast.walk(function)
        if isinstance(node, ast.Assign) and _is_labels_of(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    used = {
        node.value.id
        for node in ast.walk(function)
        if isinstance(node, ast.Attribute) and node.attr == "record" and isinstance(node.value, ast.Name)
    }
    handed_on = {
        each.id
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "_recording"
        for each in node.args
        if isinstance(each, ast.Name)
    }
    calls = sum(_is_labels_of(node) for node in ast.walk(function))
    return (
        calls == sum(isinstance(node, ast.Assign) and _is_labels_of(node.value) for node in ast.walk(function))
        and takes <= used | handed_on
    )


def _is_labels_of(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "labels_of"

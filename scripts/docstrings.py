"""Read the docstrings below the fields of classes, which Python itself does not keep."""

import ast
import inspect
from itertools import pairwise
from types import ModuleType


def field_texts(module: ModuleType) -> dict[str, dict[str, str]]:
    """Return the docstrings of all fields and members of a module's classes, by class, each on one line."""
    classes = [node for node in ast.parse(inspect.getsource(module)).body if isinstance(node, ast.ClassDef)]
    return {each.name: dict(_fields(each.body)) for each in classes}


def _fields(body: list[ast.stmt]) -> list[tuple[str, str]]:
    return [
        (name, " ".join(text.value.value.split()))
        for field, text in pairwise(body)
        if (name := _name(field))
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
        and isinstance(text.value.value, str)
    ]


def _name(statement: ast.stmt) -> str:
    """Return the field that a statement defines; empty if it defines none."""
    match statement:
        case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
            return name
    return ""

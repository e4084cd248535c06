"""A search for plugin methods that return a value of the wrong type, as far as their source shows it."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

_EXPECTED = {
    "devices": "hub.Device objects: yield each of them, or return a list",
    "prepare": "hub.Device objects: those passed to it, with any faults filled in",
    "labels": 'strings by name, such as {"example.com/model": "x"}',
    "allocate": "a hub.Allocation: return Allocation(nodes=[...], env={...})",
    "prefer": "a list of hub.Device: the available ones that it prefers",
    "reset_blocked": "a string: the reason, or an empty one if it may be reset",
}
_WRONG: dict[str, tuple[type[ast.AST], ...]] = {
    "devices": (ast.Dict, ast.Constant),
    "prepare": (ast.Dict, ast.Constant),
    "labels": (ast.List, ast.Tuple, ast.Set, ast.Constant),
    "allocate": (ast.Dict, ast.List, ast.Tuple, ast.Set, ast.Constant),
    "prefer": (ast.Dict, ast.Constant),
    "reset_blocked": (ast.Dict, ast.List, ast.Tuple, ast.Set),
}
"""The values that these methods must never return."""


class WrongReturn(NamedTuple):
    """A wrong value that a method returns; the text is empty if there is none."""

    problem: str = ""
    always: bool = False
    """Whether every value that the method returns is wrong."""


def wrong_return(name: str, method: Callable[..., Any]) -> WrongReturn:
    """Find a wrong return value in a method's source."""
    definition = _definition(method) if name in _EXPECTED else ast.Pass()
    nodes = list(_own_nodes(definition))
    if any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in nodes):
        is_right = name in {"devices", "prepare", "prefer"}
        return WrongReturn() if is_right else WrongReturn(f"{name}() yields, expected {_EXPECTED[name]}", always=True)
    returns = [node for node in nodes if isinstance(node, ast.Return)]
    wrong = [node for node in returns if node.value is None or isinstance(node.value, _WRONG[name])]
    if wrong:
        return WrongReturn(
            f"{name}() has {ast.unparse(wrong[0])!r}, expected {_EXPECTED[name]}", always=wrong == returns
        )
    if nodes and not returns and not any(isinstance(node, ast.Raise) for node in nodes):
        text = f"{name}() returns nothing, expected {_EXPECTED[name]}"
        return WrongReturn(text, always=not _ends_in_own_method(definition))
    return WrongReturn()


def _definition(method: Callable[..., Any]) -> ast.AST:
    """Return the syntax tree of a method; an empty one without source, or if a decorator may change what it returns."""
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(method))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return ast.Pass()
    undecorated = isinstance(definition, ast.FunctionDef) and not definition.decorator_list
    return definition if undecorated else ast.Pass()


def _ends_in_own_method(definition: ast.AST) -> bool:
    """Return whether the last statement calls another method of the plugin, which may always raise an error."""
    match definition:
        case ast.FunctionDef(
            args=ast.arguments(args=[ast.arg(arg=own), *_]),
            body=[*_, ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=caller))))],
        ):
            return caller == own
    return False


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a function, without those of the functions and classes nested in it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield from _own_nodes(child)

"""Whether a method of a plugin returns what cannot be right, as far as its source says so."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

_EXPECTED = {
    "devices": "hub.Device objects: yield each of them, or return a list",
    "allocate": "a hub.Allocation: return Allocation(nodes=[...], env={...})",
    "prefer": "a list of hub.Device: the available ones that it prefers",
    "reset_blocked": "a text: the reason, or an empty one where it may be reset",
}
_WRONG: dict[str, tuple[type[ast.AST], ...]] = {
    "devices": (ast.Dict, ast.Constant),
    "allocate": (ast.Dict, ast.List, ast.Tuple, ast.Set, ast.Constant),
    "prefer": (ast.Dict, ast.Constant),
    "reset_blocked": (ast.Dict, ast.List, ast.Tuple, ast.Set),
}
"""What these methods can never return."""


class Returned(NamedTuple):
    """What a method returns that cannot be right; the text is empty where there is no such thing."""

    problem: str = ""
    always: bool = False
    """Whether it returns nothing else."""


def wrong_return(name: str, method: Callable[..., Any]) -> Returned:
    """Read in a method's source what it returns."""
    definition = _definition(method) if name in _EXPECTED else ast.Pass()
    nodes = list(_own_nodes(definition))
    if any(isinstance(node, (ast.Yield, ast.YieldFrom)) for node in nodes):
        is_right = name in {"devices", "prefer"}
        return Returned() if is_right else Returned(f"{name}() yields, expected {_EXPECTED[name]}", always=True)
    returns = [node for node in nodes if isinstance(node, ast.Return)]
    wrong = [node for node in returns if node.value is None or isinstance(node.value, _WRONG[name])]
    if wrong:
        return Returned(f"{name}() has {ast.unparse(wrong[0])!r}, expected {_EXPECTED[name]}", always=wrong == returns)
    if nodes and not returns and not any(isinstance(node, ast.Raise) for node in nodes):
        text = f"{name}() returns nothing, expected {_EXPECTED[name]}"
        return Returned(text, always=not _ends_in_own_method(definition))
    return Returned()


def _definition(method: Callable[..., Any]) -> ast.AST:
    """The source of a method; nothing where there is none, or it is decorated and may return something else."""
    try:
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(method))).body
    except (OSError, TypeError, SyntaxError, ValueError):
        return ast.Pass()
    undecorated = isinstance(definition, ast.FunctionDef) and not definition.decorator_list
    return definition if undecorated else ast.Pass()


def _ends_in_own_method(definition: ast.AST) -> bool:
    """Whether the last statement calls another method of the plugin, which may raise an error each time."""
    match definition:
        case ast.FunctionDef(
            args=ast.arguments(args=[ast.arg(arg=own), *_]),
            body=[*_, ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id=caller))))],
        ):
            return caller == own
    return False


def _own_nodes(node: ast.AST) -> Iterator[ast.AST]:
    """What is in a function, without the functions and classes in it."""
    for child in ast.iter_child_nodes(node):
        yield child
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)):
            yield from _own_nodes(child)

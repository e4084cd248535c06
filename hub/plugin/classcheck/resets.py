"""A check that the reset function named by a plugin exists, made by reading its source.

The function's module is not imported: it belongs in the reset process, and may load a driver.
"""

import ast
import importlib.util
from collections.abc import Iterator, Mapping
from pathlib import Path

from hub.base.failures import explain
from hub.base.untrusted import read_bytes
from hub.base.wording import did_you_mean

_WRITE = "write def {name}(device, settings)"


def reset_problem(target: str) -> str:
    """Return a definite mistake in a "module:function"; empty if the source shows none."""
    module, colon, function = target.partition(":")
    if not (colon and function.isidentifier() and all(part.isidentifier() for part in module.split("."))):
        return f'reset is "{target}", expected "module:function"'
    try:
        spec = importlib.util.find_spec(module)
        if spec is None:
            return f'reset is "{target}": there is no module {module}'
        if not (spec.origin and spec.origin.endswith(".py")):
            return ""
        names = dict(_bindings(ast.parse(read_bytes(Path(spec.origin), follow_links=True), spec.origin)))
    except Exception as error:  # noqa: BLE001 - parent packages are imported, and are third-party code
        return f'reset is "{target}": {module} cannot be imported: {explain(error)}'
    problem = _function_problem(function, spec.origin, names)
    return f'reset is "{target}": {problem}' if problem else ""


def _function_problem(name: str, file: str, names: Mapping[str, ast.AST]) -> str:
    if "*" not in names and name not in names:
        todo = did_you_mean(name, names) or f": {_WRITE.format(name=name)}"
        return f"{file} has no {name}{todo}"
    found = names.get(name)
    if isinstance(found, ast.AsyncFunctionDef):
        return f"{file}:{found.lineno}: {name}() is async, and nothing awaits it: {_WRITE.format(name=name)}"
    if isinstance(found, ast.FunctionDef) and not found.decorator_list and not _takes_two(found.args):
        todo = _WRITE.format(name=name)
        return f"{file}:{found.lineno}: {name}() cannot be called with a device and settings: {todo}"
    return ""


def _takes_two(arguments: ast.arguments) -> bool:
    positional = [*arguments.posonlyargs, *arguments.args]
    needed = len(positional) - len(arguments.defaults)
    takes = needed <= 2 and (len(positional) >= 2 or arguments.vararg is not None)  # noqa: PLR2004 - device and settings
    return takes and all(default is not None for default in arguments.kw_defaults)


def _bindings(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Yield the names that a module binds; "*" if it imports everything from another module."""
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
                yield child.name, child
            case ast.alias():
                yield child.asname or child.name, child
            case ast.Name(ctx=ast.Store()):
                yield child.id, child
            case _:
                yield from _bindings(child)

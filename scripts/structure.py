"""Measure the structure of the code: modules, imports between them, long functions, callbacks, tests.

`python -m scripts.structure` prints a table; `--details` also lists what each measure counts, if that is a short list.
"""

import argparse
import ast
import sys
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from itertools import combinations
from pathlib import Path

import grimp

from scripts.words import ROOT, retired_words, text_files

FUNCTION_LINES = 35
FILE_LINES = 300

Imports = Mapping[str, AbstractSet[str]]
"""The modules that each module imports."""


@dataclass(frozen=True)
class Measure:
    """One figure."""

    name: str
    value: int
    details: tuple[str, ...] = ()
    """What it counts, or how it is computed; empty if that is a long list."""


def import_graph() -> grimp.ImportGraph:
    """Build the graph of imports at run time, without generated code."""
    graph = grimp.build_graph(
        "hub", "plugins", include_external_packages=True, exclude_type_checking_imports=True, cache_dir=None
    )
    for module in [module for module in graph.modules if "_pb2" in module]:
        graph.remove_module(module)
    return graph


def imports_below(graph: grimp.ImportGraph, *packages: str) -> Imports:
    """Return the modules of some packages, each with the modules that it imports from them."""
    modules = {module for module in graph.modules if module.startswith(tuple(f"{name}." for name in packages))}
    modules |= {name for name in packages if name in graph.modules}
    return {module: graph.find_modules_directly_imported_by(module) & modules for module in modules}


def cycles(imports: Imports) -> list[frozenset[str]]:
    """Return the groups of modules that all reach each other by imports."""
    reached = {module: _reachable(imports, module) for module in imports}
    groups = {
        frozenset({module, *(other for other in reached[module] if module in reached[other])}) for module in imports
    }
    return sorted((group for group in groups if len(group) > 1), key=sorted)


def _reachable(imports: Imports, start: str) -> set[str]:
    found: set[str] = set()
    new = set(imports[start])
    while new:
        found |= new
        new = {target for module in new for target in imports[module]} - found
    return found


def longest_chain(imports: Imports) -> list[str]:
    """Return the longest chain in which each module imports the next; a cycle counts as one module."""
    names = {module: module for module in imports}
    for group in cycles(imports):
        names |= dict.fromkeys(group, min(group))
    merged: dict[str, set[str]] = {name: set() for name in names.values()}
    for module, targets in imports.items():
        merged[names[module]] |= {names[target] for target in targets} - {names[module]}
    chains: dict[str, list[str]] = {}
    for module in TopologicalSorter(merged).static_order():
        below = max((chains[target] for target in sorted(merged[module])), key=len, default=[])
        chains[module] = [module, *below]
    return max((chains[module] for module in sorted(chains)), key=len, default=[])


def between_packages(imports: Imports, parent: str) -> AbstractSet[tuple[str, str]]:
    """Return the pairs of subpackages in which the first imports the second."""

    def subpackage(module: str) -> str:
        return ".".join(module.split(".")[: parent.count(".") + 2])

    pairs = {(subpackage(module), subpackage(target)) for module, targets in imports.items() for target in targets}
    return {(one, other) for one, other in pairs if one != other and parent not in {one, other}}


@cache
def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(_text(path))


def _files(*tops: str) -> list[Path]:
    return [path for top in tops for path in sorted((ROOT / top).rglob("*.py")) if "_pb2" not in path.name]


def _lines(path: Path) -> int:
    return len(_text(path).splitlines())


def _place(path: Path, node: ast.stmt) -> str:
    return f"{path.relative_to(ROOT)}:{node.lineno}"


Function = ast.FunctionDef | ast.AsyncFunctionDef


def _functions(*tops: str) -> Iterator[tuple[Path, Function]]:
    for path in _files(*tops):
        for node in ast.walk(_tree(path)):
            if isinstance(node, Function):
                yield path, node


def _length(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _callable_types() -> set[str]:
    """Return the names that annotate a callable: those of typing, and the project's own aliases."""
    found = {"Callable"}
    for path in _files("hub", "plugins"):
        for node in _tree(path).body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)], value=ast.Subscript(value=ast.Name(id="Callable"))):
                    found.add(name)
    return found


def callbacks() -> list[str]:
    """Return the constructor parameters that are callables, including fields of dataclasses and structs."""
    types = _callable_types()
    found = []
    for path in _files("hub", "plugins"):
        for kind in (node for node in ast.walk(_tree(path)) if isinstance(node, ast.ClassDef)):
            for name, annotation in _parameters(kind):
                if types & {node.id for node in ast.walk(annotation) if isinstance(node, ast.Name)}:
                    found.append(f"{_place(path, kind)} {kind.name}.{name}")
    return found


def _parameters(kind: ast.ClassDef) -> Iterator[tuple[str, ast.expr]]:
    """Yield the parameters of a class's constructor, with their annotations."""
    for node in kind.body:
        match node:
            case ast.FunctionDef(name="__init__", args=arguments):
                for argument in (*arguments.args, *arguments.kwonlyargs):
                    if argument.annotation:
                        yield argument.arg, argument.annotation
            case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation):
                yield name, annotation


def measures() -> Iterator[Measure]:
    """Yield all measures."""
    graph = import_graph()
    yield from _of_the_tree(graph)
    yield from _of_the_plugin_process(graph)
    yield from _of_the_code()
    yield from _of_the_tests()


def _of_the_tree(graph: grimp.ImportGraph) -> Iterator[Measure]:
    imports = imports_below(graph, "hub")
    children = graph.find_children("hub")
    pairs = between_packages(imports, "hub")
    mutual = [f"{one} and {two}" for one, two in combinations(sorted(children), 2) if {(one, two), (two, one)} <= pairs]
    rings = cycles(imports_below(graph, "hub", "plugins"))
    chain = longest_chain(imports)
    yield Measure("hub: modules", len(imports))
    yield Measure("hub: lines", sum(_lines(path) for path in _files("hub")))
    yield Measure("hub: imports between modules", sum(len(targets) for targets in imports.values()))
    yield Measure("hub: depth, the longest chain of imports", len(chain) - 1, (" > ".join(chain),))
    yield Measure("hub: packages and modules directly in it", len(children), tuple(sorted(children)))
    yield Measure("hub: imports between those", len(pairs))
    yield Measure("pairs of packages that import each other", len(mutual), tuple(mutual))
    yield Measure("import cycles", len(rings), tuple(", ".join(sorted(ring)) for ring in rings))


def _of_the_plugin_process(graph: grimp.ImportGraph) -> Iterator[Measure]:
    imports = imports_below(graph, "hub.plugin")
    children = graph.find_children("hub.plugin")
    packages = {child for child in children if graph.find_children(child)}
    depths = {package: len(longest_chain(imports_below(graph, package))) - 1 for package in packages}
    chain = longest_chain(imports)
    wire = sorted(module for module in imports if _imports_the_wire(graph, module))
    private = sorted(
        f"{module} imports {target}"
        for module in imports_below(graph, "plugins")
        for target in graph.find_modules_directly_imported_by(module)
        if target.startswith("hub.")
    )
    yield Measure("hub.plugin: modules directly in it", len(children - packages), tuple(sorted(children - packages)))
    yield Measure("hub.plugin: packages", len(packages), tuple(sorted(packages)))
    yield Measure("hub.plugin: depth", len(chain) - 1, (" > ".join(chain),))
    yield Measure("hub.plugin: depth of its deepest package", *max((depth, (name,)) for name, depth in depths.items()))
    yield Measure("hub.plugin: modules that import grpc or hub.kubelet", len(wire), tuple(wire))
    yield Measure("plugins: imports of modules below hub", len(private), tuple(private))


def _imports_the_wire(graph: grimp.ImportGraph, module: str) -> bool:
    targets = graph.find_modules_directly_imported_by(module)
    return any(target == "grpc" or f"{target}.".startswith("hub.kubelet.") for target in targets)


def _of_the_code() -> Iterator[Measure]:
    functions = [(_length(node), _place(path, node), node.name) for path, node in _functions("hub", "plugins")]
    longest = max((length, place) for length, place, name in functions if name == "__init__")
    long = [f"{place} {name}: {length}" for length, place, name in functions if length > FUNCTION_LINES]
    files = [(_lines(path), path) for path in _files("hub", "plugins", "tests", "scripts", "benchmarks")]
    large = [f"{path.relative_to(ROOT)}: {length}" for length, path in files if length > FILE_LINES]
    callables = callbacks()
    words = {f"{path.relative_to(ROOT)}:{each.line}" for path in text_files() for each in retired_words(_text(path))}
    yield Measure("longest constructor, in lines", longest[0], (longest[1],))
    yield Measure(f"functions over {FUNCTION_LINES} lines", len(long), tuple(long))
    yield Measure(f"files over {FILE_LINES} lines", len(large), tuple(large))
    yield Measure("constructor parameters that are callables", len(callables), tuple(callables))
    yield Measure("lines with retired words", len(words), tuple(sorted(words)))


def _of_the_tests() -> Iterator[Measure]:
    tests = [(path, node) for path, node in _functions("tests") if node.name.startswith("test_")]
    yield Measure("tests: functions", len(tests))
    yield Measure("tests: files", len({path for path, _ in tests}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print all measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--details", action="store_true", help="also list what each measure counts")
    details = parser.parse_args(arguments).details
    for measure in measures():
        print(f"{measure.name:52}  {measure.value:6}")
        if details:
            for line in measure.details:
                print(f"    {line}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

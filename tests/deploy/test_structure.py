"""The measures of the code's structure are correct."""

import subprocess
import sys

import pytest

from scripts.structure import between_packages, cycles, import_graph, imports_below, longest_chain
from tests.harness.project import PROJECT

IMPORTS = {
    "a": {"a.one", "a.two.x"},
    "a.one": {"a.two.x"},
    "a.two.x": {"a.two.y"},
    "a.two.y": {"a.two.z"},
    "a.two.z": {"a.two.y"},
}


def test_cycles_and_chains() -> None:
    """Modules that reach each other form a cycle, which counts as one link of a chain."""
    assert cycles(IMPORTS) == [frozenset({"a.two.y", "a.two.z"})]
    assert longest_chain(IMPORTS) == ["a", "a.one", "a.two.x", "a.two.y"]
    assert cycles({"a": set()}) == []


def test_imports_between_packages() -> None:
    """Imports within a subpackage, and those of the package itself, do not count."""
    assert between_packages(IMPORTS, "a") == {("a.one", "a.two")}


def test_the_graph_is_that_of_the_code() -> None:
    """The graph has the imports of modules at run time, and no generated code."""
    imports = imports_below(import_graph(), "hub")
    assert "hub.base.paths" in imports["hub.base.instances"]
    assert [module for module in imports if "_pb2" in module] == []


@pytest.mark.parametrize("options", [[], ["--details"]])
def test_the_table_has_a_figure_in_each_line(options: list[str]) -> None:
    """Details follow below the figures."""
    # As a process: in this one, a thread that another test has left may print log lines.
    command = [sys.executable, "-m", "scripts.structure", *options]
    printed = subprocess.run(command, cwd=PROJECT, check=True, capture_output=True, text=True).stdout.splitlines()
    figures = [line for line in printed if not line.startswith(" ")]
    assert len(figures) > 20
    assert [line for line in figures if not line.split()[-1].isdigit()] == []
    assert bool(options) == (len(printed) > len(figures))

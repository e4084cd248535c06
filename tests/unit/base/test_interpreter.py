"""A child never looks for programs or modules in a directory that depends on where the command was started."""

import re
from pathlib import Path

import pytest

import hub
import plugins
from hub.base.interpreter import absolute_paths, own_python

SOURCES = [path for package in (hub, plugins) for path in Path(str(package.__file__)).parent.rglob("*.py")]


@pytest.mark.parametrize("variable", ["PATH", "PYTHONPATH"])
@pytest.mark.parametrize("entry", ["", ".", "lib", "../lib"])
def test_no_relative_entries(variable: str, entry: str) -> None:
    """An empty entry, which results from a colon at either end, also means the working directory, and is left out."""
    inherited = {variable: f"{entry}:/opt/lib:{entry}:/opt/bin:{entry}", "OTHER": entry}
    assert absolute_paths(inherited) == {variable: "/opt/lib:/opt/bin", "OTHER": entry}
    assert absolute_paths({variable: entry}) == {variable: ""}


def test_no_interpreter_imports_from_its_working_directory() -> None:
    """Python's option -P prevents it, wherever the hub or a plugin starts a module."""
    assert own_python("hub", "check")[1:] == ["-P", "-m", "hub", "check"]
    starts = [
        (path.name, found) for path in SOURCES for found in re.findall(r"sys\.executable,[^\n]*", path.read_text())
    ]
    assert starts
    assert [start for start in starts if '"-P"' not in start[1]] == []

"""The bare processes, whose cost is the floor of the benchmarks."""

import subprocess
import sys

import pytest

LOADED = "\nimport sys\nprint(*sys.modules)"
BARE = "from benchmarks.bare import {0}, libraries\nlibraries.load(libraries.{1})"
REAL = {
    "hub": "import hub.cli.commands.run as run\nwith run.without_packages('yaml'):\n    import hub.supervisor.hub",
    "plugin": "import hub.plugin.__main__, hub.plugin.process, plugins.stub",
}


@pytest.mark.parametrize("name", REAL)
def test_a_bare_process_loads_no_more_than_the_real_one(name: str) -> None:
    """A library that the hub no longer loads must not raise the floor."""
    extra = _loaded(BARE.format(name, name.upper())) - _loaded(REAL[name])
    assert {module for module in extra if module not in {"benchmarks", "hub.kubelet"}} == {
        "benchmarks.bare",
        "benchmarks.bare.libraries",
        "benchmarks.bare.resource",
        f"benchmarks.bare.{name}",
    }


def _loaded(code: str) -> set[str]:
    run = subprocess.run([sys.executable, "-c", code + LOADED], check=True, capture_output=True, text=True)
    return set(run.stdout.split())

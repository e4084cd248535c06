"""The environment in which the hub runs a plugin."""

import os
import sys
from pathlib import Path

import psutil

from tests.harness.hub_process import (
    MakeHub,
    wait_until,
    watcher,
)
from tests.harness.preloaded.protocol import HUB


def test_environment_of_a_plugin(make_hub: MakeHub) -> None:
    """A plugin inherits the hub's environment unchanged, with the additions of circus.ini and the hub's paths."""
    hub = make_hub(watcher("a") + "[env:a]\nADDED = $HOME!\nDPHUB_RUN_DIR = /elsewhere\n")
    odd = " spaces and $DOLLARS "
    hub.start(env={"INHERITED": odd, "DPHUB_LOG_LEVEL": "debug"}).wait_plugins("a")
    env = wait_until(lambda: psutil.Process(hub.plugin_pid("a")).environ(), "its environment")
    assert env["INHERITED"] == odd
    assert env["ADDED"] == f"{os.environ['HOME']}!"
    assert env["DPHUB_PLUGIN"] == "a"
    assert env["DPHUB_PLUGIN_DIR"] == str(hub.plugin_dir)
    assert env["DPHUB_RUN_DIR"] == str(hub.run_dir)
    assert env["DPHUB_INSTANCE"] == "dphub"
    assert env["DPHUB_LOG_LEVEL"] == "debug"
    assert env["DPHUB_LOG_FORMAT"] == "auto"
    assert env["MALLOC_ARENA_MAX"] == "1"


def test_python_is_the_hubs_own(make_hub: MakeHub) -> None:
    """`python` in circus.ini is the interpreter with the hub in it, whatever PATH the hub was started with."""
    script = "import os, sys, hub; print(sys.prefix, os.environ['PATH']); input()"
    hub = make_hub(watcher("a", f'cmd = python -c "{script}"')).start(env={"PATH": "/bin:/usr/bin"})
    hub.wait_plugins("a")
    wait_until(lambda: f"{sys.prefix} {Path(sys.executable).parent}:/bin:/usr/bin" in hub.text(), "what it printed")


def test_python_by_another_name(make_hub: MakeHub, directory: Path) -> None:
    """`python` in circus.ini also works where the hub's interpreter has a different name, such as python3 on Debian."""
    interpreter = directory / "bin" / "python3"
    interpreter.parent.mkdir()
    interpreter.write_text(f'#!/bin/sh\necho "by another name"\nexec {sys.executable} "$@"\n')
    interpreter.chmod(0o755)
    hub = make_hub(watcher("a", "cmd = python -c 'input()'"))
    hub.start(code=f"import sys; sys.executable = {str(interpreter)!r}; {HUB}")
    wait_until(lambda: "by another name" in hub.text(), "the plugin ran by that interpreter")


def test_plugins_print_to_the_hubs_output(make_hub: MakeHub) -> None:
    """Lines of a plugin arrive whole, whatever their length, with nothing in between; its input is empty."""
    line = "x" * 5000
    hub = make_hub(watcher("a", f"cmd = sh -c 'echo {line}; cat; echo {line} >&2; exec sleep 1000'")).start()
    wait_until(lambda: hub.text().splitlines().count(line) == 2, "both lines")

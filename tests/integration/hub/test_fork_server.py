"""Plugins that start with the hub are forked: they are what their commands would have started, and take less memory."""

import os
import re
import sys
from pathlib import Path

import psutil
import pytest

from tests.harness.hub_process import HUB, HubProcess, MakeHub, is_alive, wait_until, watcher

STUB = "cmd = python -m hub.plugin plugins.stub:Stub"
COMMAND = [sys.executable, "-P", "-m", "hub.plugin", "plugins.stub:Stub"]

FAILING = {
    "a program that does not exist": ["/nonexistent"],
    "one that exits": ["/bin/false"],
    "one that never becomes ready": [sys.executable, "-c", "import time; time.sleep(1000)"],
    "one that does not fork": [
        sys.executable,
        "-c",
        "import socket, sys, time; socket.socket(fileno=int(sys.argv[1])).send(b'.'); time.sleep(1000)",
    ],
    "one that exits instead": [
        sys.executable,
        "-c",
        "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.send(b'.'); s.recv(1)",
    ],
}


def _process(hub: HubProcess, name: str) -> psutil.Process:
    hub.wait_event("process started", plugin=name)
    return psutil.Process(hub.plugin_pid(name))


def _private_memory(process: psutil.Process) -> int:
    """Return how many kB of memory no other process shares."""
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
    return int(re.findall(r"Private_Dirty: +(\d+)", rollup)[0])


def _is_forked(process: psutil.Process) -> bool:
    """Return whether the kernel still has the variables of another command for it."""
    return process.environ()["DPHUB_PLUGIN"] == ""


def test_a_forked_process_is_what_its_command_would_have_started(make_hub: MakeHub, directory: Path) -> None:
    """It has the command line, parent, session, directory, limits and input of a process started by the command."""
    (directory / "work").mkdir()
    options = f"{STUB}\nworking_dir = work\nrlimit_nofile = 512"
    hub = make_hub(watcher("a", options) + watcher("b", STUB)).start()
    forked, other = _process(hub, "a"), _process(hub, "b")
    assert _is_forked(forked)
    assert _is_forked(other)
    found = [_facts(forked)]
    hub.ask("restart", "a")
    hub.wait_event("process started", plugin="a", count=2)
    started = _process(hub, "a")
    assert not _is_forked(started)
    assert [*found, _facts(started)] == 2 * [
        (COMMAND, hub.pid, True, str(directory / "work"), (512, 512), "/dev/null", 0o077)
    ]


def _facts(process: psutil.Process) -> tuple[object, ...]:
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return (
        [word for word in process.cmdline() if word],
        process.ppid(),
        os.getsid(process.pid) == process.pid == os.getpgid(process.pid),
        process.cwd(),
        process.rlimit(psutil.RLIMIT_NOFILE),
        str(Path(f"/proc/{process.pid}/fd/0").readlink()),
        int(re.findall(r"Umask:\s+(\d+)", status)[0], 8),
    )


def test_forked_processes_take_less_memory(make_hub: MakeHub) -> None:
    """The plugins share what all of them have loaded. The process that has forked them is gone once the hub runs."""
    hub = make_hub("".join(watcher(name, STUB) for name in "abc")).start()
    forked = [_process(hub, name) for name in "abc"]
    wait_until(lambda: psutil.Process(hub.pid).children(recursive=True) == forked, "no other process")
    private = [_private_memory(process) for process in forked]
    hub.ask("restart", "a")
    hub.wait_event("process started", plugin="a", count=2)
    assert max(private) < 0.8 * _private_memory(_process(hub, "a"))


def test_a_forked_process_exits_with_the_hub(make_hub: MakeHub) -> None:
    """Even if the hub is killed: otherwise, it would keep the next hub's plugin from getting the resources."""
    hub = make_hub(watcher("a", STUB)).start()
    forked = _process(hub, "a")
    assert _is_forked(forked)
    assert hub.process
    hub.process.kill()
    wait_until(lambda: not is_alive(forked.pid), "the end of the plugin")


def test_variables_that_a_process_reads_when_it_starts(make_hub: MakeHub) -> None:
    """A plugin for which circus.ini sets such a variable is started by its command; others have their variables."""
    text = watcher("a", STUB) + watcher("b", STUB) + "[env:a]\nPYTHONHASHSEED = 7\n[env:b]\nDPHUB_LOG_LEVEL = debug\n"
    hub = make_hub(text).start()
    assert _process(hub, "a").environ()["PYTHONHASHSEED"] == "7"
    assert _is_forked(_process(hub, "b"))


@pytest.mark.parametrize("program", FAILING.values(), ids=FAILING)
def test_a_fork_server_that_fails(make_hub: MakeHub, program: list[str]) -> None:
    """The plugins are started by their commands; nothing remains of it."""
    code = (
        "from hub.supervisor import forkserver as module\n"
        "real = module.own_python\n"
        f"module.own_python = lambda name, *words: real(name) if not words else [*{program!r}, *words]\n"
        f"module.START_TIMEOUT = 0.5\n{HUB}"
    )
    hub = make_hub(watcher("a", STUB) + watcher("b", STUB)).start(code=code)
    plugins = [_process(hub, name) for name in "ab"]
    assert [[word for word in process.cmdline() if word] for process in plugins] == 2 * [COMMAND]
    wait_until(lambda: psutil.Process(hub.pid).children(recursive=True) == plugins, "no other process")


def test_a_process_that_cannot_be_prepared(make_hub: MakeHub) -> None:
    """The error is that of the command; other plugins start, and their processes are forked."""
    hub = make_hub(watcher("bad", f"{STUB}\nworking_dir = /nonexistent") + watcher("good", STUB)).start()
    assert "/nonexistent" in hub.wait_event("plugin start failed", plugin="bad")["reason"]
    assert _is_forked(_process(hub, "good"))
    assert hub.stop() == 0

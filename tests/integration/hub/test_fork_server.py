"""Plugins that start with the hub are forked: they are what their commands would have started, and take less memory."""

import json
import os
import re
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from hub.testing.waiting import WAIT_SECONDS
from tests.harness.hub_process import HubProcess, MakeHub, is_alive, wait_until, watcher
from tests.harness.node import random_source
from tests.harness.preloaded.protocol import HUB

KILLS = 20

_SEQPACKET = "0005"
"""The type of the sockets of the hub and its fork server, as /proc/net/unix shows it."""

STUB = "cmd = python -m hub.plugin plugins.stub:Stub"
COMMAND = [sys.executable, "-P", "-m", "hub.plugin", "plugins.stub:Stub"]

DUMP = """
import json, os, sys, threading
from pathlib import Path
from hub import *

class Dump(Plugin):
    resource = "example.com/dump"

    def devices(self):
        seen = {"environment": dict(os.environ), "words": sys.argv, "original words": sys.orig_argv[1:]}
        scratch = Path(f"../{os.getpid()}.new")
        scratch.write_text(json.dumps(seen))
        scratch.rename(f"../{os.getpid()}.json")
        return []
"""

_CONNECT = "import os, socket, sys, time; s = socket.socket(fileno=int(sys.argv[1])); "

FAILING = {
    "a program that does not exist": (["/nonexistent"], "fork server not started"),
    "one that exits": (["/bin/false"], "fork server not started"),
    "one that never becomes ready": (
        [sys.executable, "-c", "import time; time.sleep(1000)"],
        "fork server not started",
    ),
    "one that does not fork": (
        [sys.executable, "-c", _CONNECT + "s.send(b'.'); time.sleep(1000)"],
        "fork server failed",
    ),
    "one that exits instead": ([sys.executable, "-c", _CONNECT + "s.send(b'.'); s.recv(1)"], "fork server failed"),
    "one whose process is not a child of the hub": (
        [
            sys.executable,
            "-c",
            _CONNECT + "s.send(b'.'); _, (f,), _, _ = socket.recv_fds(s, 1 << 17, 1); "
            "socket.socket(fileno=f).send(b'{\"pid\": 1}'); s.send(b'.'); time.sleep(1000)",
        ],
        "fork server failed",
    ),
}


def _process(hub: HubProcess, name: str) -> psutil.Process:
    hub.wait_event("process started", plugin=name)
    return psutil.Process(hub.plugin_pid(name))


def _private_memory(process: psutil.Process) -> int:
    """Return how many kB of memory the process shares with no other."""
    rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
    return int(re.findall(r"Private_Dirty: +(\d+)", rollup)[0])


def _is_forked(process: psutil.Process) -> bool:
    """Return whether a process was forked: in that case, the kernel still shows the environment of the fork server."""
    return process.environ()["DPHUB_PLUGIN"] == ""


def test_a_forked_process_is_what_its_command_would_have_started(make_hub: MakeHub, directory: Path) -> None:
    """To itself, the kernel and other programs, it looks like a process that the command has started."""
    (directory / "work").mkdir()
    (directory / "dump.py").write_text(DUMP)
    options = f"cmd = python -m hub.plugin {directory / 'dump.py'}:Dump\nworking_dir = work\nrlimit_nofile = 512"
    hub = make_hub(watcher("a", options) + watcher("b", STUB)).start()
    forked = _process(hub, "a")
    assert _is_forked(forked)
    assert _is_forked(_process(hub, "b"))
    # By then, its signal handlers are set.
    hub.wait_event("waiting for kubelet", plugin="a")
    found = _facts(forked, directory)
    hub.ask("restart", "a")
    hub.wait_event("process started", plugin="a", count=2)
    started = _process(hub, "a")
    assert not _is_forked(started)
    hub.wait_event("waiting for kubelet", plugin="a", count=2)
    assert found == _facts(started, directory)
    assert found["command line"] == [*COMMAND[:-1], f"{directory / 'dump.py'}:Dump"]
    assert (found["parent"], found["leads its session"], found["open files"]) == (hub.pid, True, (512, 512))


def _facts(process: psutil.Process, directory: Path) -> dict[str, object]:
    dump = directory / f"{process.pid}.json"
    wait_until(dump.exists, "what the plugin sees")
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    signals = re.findall(r"(?:SigBlk|SigIgn|SigCgt|Umask|NoNewPrivs|CapEff):\s+(\w+)", status)
    files = [Path(f"/proc/{process.pid}/fd/{number}").readlink() for number in range(3)]
    return {
        "command line": [word for word in process.cmdline() if word],
        "parent": process.ppid(),
        "leads its session": os.getsid(process.pid) == process.pid == os.getpgid(process.pid),
        "directory": process.cwd(),
        "open files": process.rlimit(psutil.RLIMIT_NOFILE),
        "standard files": files,
        "inherited files": _inherited_files(process, directory),
        "signals": signals,
        "what the plugin sees": json.loads(dump.read_text()),
    }


def _inherited_files(process: psutil.Process, directory: Path) -> list[str]:
    """Return the open files that are not the process's own: it opens sockets of other types while starting."""
    sockets = [line.split() for line in Path("/proc/net/unix").read_text(encoding="utf-8").splitlines()[1:]]
    of_fork_server = tuple(f"socket:[{inode}]" for _, _, _, _, kind, _, inode, *_ in sockets if kind == _SEQPACKET)
    names = []
    for path in sorted(Path(f"/proc/{process.pid}/fd").iterdir()):
        with suppress(OSError):
            names.append(str(path.readlink()))
    return [name for name in names if name.startswith(("/dev/", str(directory / "log"), *of_fork_server))]


def test_forked_processes_take_less_memory(make_hub: MakeHub) -> None:
    """The plugins share what all of them have loaded. The process that has forked them is gone once the hub runs."""
    hub = make_hub("".join(watcher(name, STUB) for name in "abc")).start()
    forked = [_process(hub, name) for name in "abc"]
    wait_until(lambda: set(psutil.Process(hub.pid).children(recursive=True)) == set(forked), "no other process")
    private = [_private_memory(process) for process in forked]
    hub.ask("restart", "a")
    hub.wait_event("process started", plugin="a", count=2)
    assert max(private) < 0.8 * _private_memory(_process(hub, "a"))


def test_a_forked_process_exits_with_the_hub(make_hub: MakeHub) -> None:
    """It exits even if the hub is killed; otherwise, it would keep the next hub's plugin from getting the resources."""
    hub = make_hub(watcher("a", STUB)).start()
    forked = _process(hub, "a")
    assert _is_forked(forked)
    assert hub.process
    hub.process.kill()
    wait_until(lambda: not is_alive(forked.pid), "the end of the plugin")


def test_variables_that_a_process_reads_when_it_starts(make_hub: MakeHub) -> None:
    """A plugin for which circus.ini sets such a variable is started by its command; plugins with others are forked."""
    text = watcher("a", STUB) + watcher("b", STUB) + "[env:a]\nPYTHONHASHSEED = 7\n[env:b]\nDPHUB_LOG_LEVEL = debug\n"
    hub = make_hub(text).start()
    assert _process(hub, "a").environ()["PYTHONHASHSEED"] == "7"
    assert _is_forked(_process(hub, "b"))


@pytest.mark.parametrize(("program", "event"), FAILING.values(), ids=FAILING)
def test_a_fork_server_that_fails(make_hub: MakeHub, program: list[str], event: str) -> None:
    """The plugins are started by their commands; the log says so, and no fork server remains."""
    code = (
        "from hub.supervisor import forkserver as module\n"
        "real = module.own_python\n"
        f"module.own_python = lambda name, *words: real(name) if not words else [*{program!r}, *words]\n"
        f"module.START_TIMEOUT = 0.5\n{HUB}"
    )
    hub = make_hub(watcher("a", STUB) + watcher("b", STUB)).start(code=code)
    plugins = [_process(hub, name) for name in "ab"]
    assert [[word for word in process.cmdline() if word] for process in plugins] == 2 * [COMMAND]
    wait_until(lambda: set(psutil.Process(hub.pid).children(recursive=True)) == set(plugins), "no other process")
    assert hub.events(event)


def test_a_variable_that_is_not_text(make_hub: MakeHub) -> None:
    """The plugin is started by its command, each time: this variable cannot be sent."""
    hub = make_hub(watcher("a", STUB)).start(env={"ODD": os.fsdecode(b"\xff")})
    assert not _is_forked(_process(hub, "a"))
    hub.ask("restart", "a")
    hub.wait_event("process started", plugin="a", count=2)


def test_a_hub_that_is_killed_while_it_starts(make_hub: MakeHub) -> None:
    """Whenever it is killed, none of its processes survives it."""
    rng = random_source()
    for _ in range(KILLS):
        hub = make_hub(watcher("a", STUB) + watcher("b", STUB)).start()
        time.sleep(rng.uniform(0, 0.5))
        family = psutil.Process(hub.pid).children(recursive=True)
        assert hub.process
        hub.process.kill()
        hub.process.wait()
        _, alive = psutil.wait_procs(family, timeout=WAIT_SECONDS)
        assert alive == []
        left = [each for each in psutil.process_iter() if _runs_in(each, hub.run_dir)]
        _, alive = psutil.wait_procs(left, timeout=WAIT_SECONDS)
        assert alive == []


def _runs_in(process: psutil.Process, run_dir: Path) -> bool:
    try:
        return process.environ().get("DPHUB_RUN_DIR") == str(run_dir)
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return False


def test_a_process_that_cannot_be_prepared(make_hub: MakeHub) -> None:
    """The error is the one that the command would give; other plugins start, and their processes are forked."""
    hub = make_hub(watcher("bad", f"{STUB}\nworking_dir = /nonexistent") + watcher("good", STUB)).start()
    assert "/nonexistent" in hub.wait_event("plugin start failed", plugin="bad")["reason"]
    assert _is_forked(_process(hub, "good"))
    assert hub.stop() == 0

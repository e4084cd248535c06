"""What the hub does when a kubelet starts, or cannot be watched."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

from hub.base.exits import Exit
from hub.base.paths import RunDir
from hub.model.node import Severity
from hub.status.reader import Reader
from tests.harness.hub_process import HubProcess, is_alive, wait_until
from tests.harness.kubelet import KubeletSocket, mounted

RECORDER = """
import signal, sys, time
starting, go, heard = sys.argv[1:]
open(starting, "w").close()
while True:
    try:
        open(go)
        break
    except FileNotFoundError:
        time.sleep(0.01)
def hear(*_):
    with open(heard, "a") as file:
        file.write("hup\\n")
signal.signal(signal.SIGHUP, hear)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
while True:
    signal.pause()
"""
"""A plugin that counts the SIGHUPs it gets, and has no handler until the test lets it continue."""


def test_the_hub_stops_when_its_plugin_directory_was_removed(make_hub: Callable[[str], HubProcess]) -> None:
    """The hub stops its plugins, logs the reason, and exits with a code of its own, so its container is restarted."""
    hub = make_hub("[watcher:a]\ncmd = sleep 1000\n")
    real = hub.plugin_dir
    with mounted(real) as hub.plugin_dir:
        hub.start().wait_plugins("a")
        real.rmdir()
        assert hub.wait_for_exit() == Exit.PLUGIN_DIR_REPLACED
    assert "plugin directory removed" in hub.events("hub stopping")[0]["reason"]
    assert not is_alive(hub.plugin_pid("a"))


def test_every_plugin_is_signalled_once(make_hub: Callable[[str], HubProcess], directory: Path) -> None:
    """Each start of a kubelet is one SIGHUP for every plugin, which does not kill a plugin that is still starting."""
    script, go = directory / "recorder.py", directory / "go"
    script.write_text(RECORDER)
    hub = make_hub(
        "".join(
            f"[watcher:{name}]\ncmd = python {script} {directory}/{name}.up {go} {directory}/{name}\n" for name in "ab"
        )
    ).start()
    wait_until(lambda: all((directory / f"{name}.up").exists() for name in "ab"), "both are starting")
    pids = [hub.plugin_pid(name) for name in "ab"]
    kubelet = KubeletSocket(hub.plugin_dir)
    kubelet.start()
    assert set(hub.wait_event("kubelet started")["plugins_notified"]) == {"a", "b"}
    assert all(map(is_alive, pids))
    go.touch()
    heard = [directory / name for name in "ab"]
    wait_until(
        lambda: all(file.exists() and file.read_text() == "hup\n" for file in heard), "the first SIGHUP in each plugin"
    )
    kubelet.start()
    wait_until(lambda: all(file.read_text() == "hup\n" * 2 for file in heard), "the second SIGHUP in each plugin")
    # The hub logs the start after it has sent the signals.
    hub.wait_event("kubelet started", count=2)
    assert [hub.plugin_pid(name) for name in "ab"] == pids
    kubelet.close()
    assert hub.stop() == Exit.OK


def test_sighup_does_not_affect_the_hub(make_hub: Callable[[str], HubProcess]) -> None:
    """A SIGHUP to the hub changes nothing, whereas circusd restarts everything."""
    hub = make_hub("[watcher:a]\ncmd = sleep 1000\n").start()
    hub.wait_plugins("a")
    os.kill(hub.pid, signal.SIGHUP)
    assert hub.ask("status") == "a: active"
    assert hub.stop() == Exit.OK
    assert len(hub.events("plugin started")) == 1


def test_no_inotify_left(make_hub: Callable[[str], HubProcess], tmp_path: Path) -> None:
    """If the kernel has no inotify instance left, the plugins run, and the status names the setting to raise."""
    limit = tmp_path / "exhaust.py"
    limit.write_text(
        "import asyncinotify._ffi as ffi\n"
        "def refuse(*_): raise OSError(24, 'Too many open files')\n"
        "ffi.libc.inotify_init1 = refuse\n"
        "from hub.cli.commands.run import run; run()\n"
    )
    hub = make_hub("[watcher:a]\ncmd = sleep 1000\n").start(code=limit.read_text())
    hub.wait_plugins("a")
    hub.wait_event("task restarted", task="kubelet watch")
    status = Reader(RunDir(hub.run_dir)).status(running=True)
    (problem,) = (each for each in status.problems if "kubelet watch" in each.message)
    assert problem.severity is Severity.WARNING
    assert "raise fs.inotify.max_user_instances" in problem.message
    assert hub.stop() == Exit.OK

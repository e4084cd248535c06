"""A hub in a terminal exits when the terminal is closed."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import psutil
import pytest

from hub.base.exits import Exit
from tests.harness.hub_process import HubProcess, is_alive, wait_until, watcher
from tests.harness.preloaded.protocol import HUB

IN_TERMINAL = """
import fcntl, os, signal, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
signal.signal(signal.SIGHUP, getattr(signal, sys.argv[1]))
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""
"""A program that runs Python with standard input as its controlling terminal, and a given action for SIGHUP."""

StartHub = Callable[[str], HubProcess]


class Terminal:
    """A terminal, until it is closed."""

    def __init__(self) -> None:
        self._emulator, self._inside = pty.openpty()

    def run(self, hub: HubProcess, action: str) -> None:
        """Run a hub in the terminal."""
        with hub.log.open("ab") as log:
            hub.process = subprocess.Popen(
                [sys.executable, "-c", IN_TERMINAL, action, "-c", HUB, *hub.arguments(), "--http=off"],
                stdin=self._inside,
                stdout=log,
                stderr=log,
                cwd=hub.directory,
            )

    def close(self) -> None:
        """Close the terminal, as a terminal emulator does when its window is closed."""
        for end in (self._inside, self._emulator):
            if end >= 0:
                os.close(end)
        self._inside = self._emulator = -1


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    """Create a terminal."""
    terminal = Terminal()
    yield terminal
    terminal.close()


def test_a_hub_ends_with_its_terminal(make_hub: StartHub, terminal: Terminal) -> None:
    """When its terminal is closed, the hub stops as on SIGTERM, and its plugins with it."""
    hub = make_hub(watcher("a"))
    terminal.run(hub, "SIG_DFL")
    plugin = hub.plugin_pid("a")
    terminal.close()
    assert hub.wait_for_exit() == Exit.OK
    assert hub.wait_event("hub stopping")["reason"] == "terminal closed"
    assert not is_alive(plugin)


def test_sighup_in_a_terminal_that_stays(make_hub: StartHub, terminal: Terminal) -> None:
    """A SIGHUP alone changes nothing."""
    hub = make_hub(watcher("a"))
    terminal.run(hub, "SIG_DFL")
    hub.wait_plugins("a")
    os.kill(hub.pid, signal.SIGHUP)
    assert hub.ask("status") == "a: active"
    assert hub.stop() == Exit.OK


def test_nohup(make_hub: StartHub, terminal: Terminal) -> None:
    """A hub that was started with SIGHUP ignored outlives its terminal, as nohup promises."""
    hub = make_hub(watcher("a"))
    terminal.run(hub, "SIG_IGN")
    hub.wait_plugins("a")
    terminal.close()
    wait_until(lambda: psutil.Process(hub.pid).terminal() is None, "a hub without a terminal")
    assert hub.ask("status") == "a: active"
    assert hub.stop() == Exit.OK

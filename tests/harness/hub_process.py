"""A hub process for tests that do not run an event loop, with circusctl and the hub's log."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import psutil
from circus.client import CircusClient

from hub.testing.waiting import WAIT_SECONDS
from tests.harness.preloaded.protocol import HUB

IGNORING_SIGTERM = "trap '' TERM; echo up; while true; do sleep 1000 & wait; done"
"""A shell script that ignores SIGTERM."""

T = TypeVar("T")
Event = dict[str, Any]


def wait_until(condition: Callable[[], T], what: str, patience: float = WAIT_SECONDS) -> T:
    """Return the first true value of the condition; `hub.testing.wait_until` without an event loop."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.01)
    raise AssertionError(f"not seen in {patience} s: {what}")


class HubProcess:
    """`dphub run` in its own directory.

    Args:
        directory: The directory for circus.ini, the log, the plugin directory and the run directory.
        config: The text of circus.ini.
    """

    def __init__(self, directory: Path, config: str) -> None:
        self.directory = directory
        self.plugin_dir = directory / "plugins"
        self.run_dir = directory / "run"
        self.config = directory / "circus.ini"
        self.log = directory / "log"
        self.config.write_text(config)
        self.plugin_dir.mkdir(exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *, code: str = HUB, env: Mapping[str, str] | None = None) -> "HubProcess":
        """Start the hub; `code` is the Python code that runs the command."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code, *self.arguments()],
                stdout=log,
                stderr=log,
                cwd=self.directory,
                env={**_clean_environment(), **(env or {})},
            )
        return self

    def arguments(self) -> list[str]:
        """Return the flags for this hub's directories."""
        flags = {"--config": self.config, "--plugin-dir": self.plugin_dir, "--run-dir": self.run_dir}
        return [str(word) for flag in flags.items() for word in flag]

    @property
    def pid(self) -> int:
        """The process id of the hub."""
        assert self.process is not None
        return self.process.pid

    def ctl(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run circusctl against this hub."""
        circusctl = Path(sys.executable).with_name("circusctl")
        return subprocess.run(
            [circusctl, "--endpoint", f"ipc://{self.run_dir}/dphub.control", "--timeout", f"{WAIT_SECONDS:g}", *words],
            capture_output=True,
            text=True,
            check=False,
        )

    def ask(self, *words: str) -> str:
        """Run a circusctl command that must succeed, and return its response."""
        answer = self.ctl(*words)
        assert answer.returncode == 0, answer
        return answer.stdout.strip()

    def call(self, command: str, **properties: object) -> dict[str, Any]:
        """Send the hub a command that circusctl cannot express."""
        client = CircusClient(endpoint=f"ipc://{self.run_dir}/dphub.control", timeout=WAIT_SECONDS)
        try:
            answer: dict[str, Any] = client.send_message(command, **properties)
        finally:
            client.stop()
        return answer

    def events(self, event: str = "", **fields: object) -> list[Event]:
        """Return the log lines so far that have the given event and fields."""
        found = []
        for line in self.text().splitlines():
            if line.startswith("{"):
                said = json.loads(line)
                if event in {"", said.get("event")} and fields.items() <= said.items():
                    found.append(said)
        return found

    def text(self) -> str:
        """Return everything that the hub and its plugins have printed."""
        return self.log.read_text()

    def wait_event(self, event: str, *, count: int = 1, **fields: object) -> Event:
        """Wait for the given number of such events, and return the last of them."""
        wait_until(
            lambda: len(self.events(event, **fields)) >= count or self.has_exited(),
            f"{count} x {event} {fields} in\n{self.text()}",
        )
        found = self.events(event, **fields)
        assert len(found) >= count, self.text()
        return found[count - 1]

    def wait_plugins(self, *names: str) -> None:
        """Wait until each of these plugins has been started."""
        for name in names:
            self.wait_event("plugin started", plugin=name)

    def has_exited(self) -> bool:
        """Return whether the hub has stopped."""
        assert self.process is not None
        return self.process.poll() is not None

    def plugin_pid(self, name: str) -> int:
        """Return the process id of the plugin's latest start."""
        self.wait_plugins(name)
        pid: int = self.events("plugin started", plugin=name)[-1]["pid"]
        return pid

    def wait_for_exit(self) -> int:
        """Wait until the hub has stopped, and return its exit code."""
        assert self.process is not None
        try:
            return self.process.wait(WAIT_SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the hub did not exit\n{self.text()}") from None

    def stop(self, signum: int = signal.SIGTERM) -> int:
        """Stop the hub with a signal, and return its exit code."""
        os.kill(self.pid, signum)
        return self.wait_for_exit()

    def kill(self) -> None:
        """Kill the hub and its plugins."""
        if self.process is not None:
            family = [] if self.has_exited() else psutil.Process(self.pid).children(recursive=True)
            self.process.kill()
            self.process.wait()
            for child in family:
                with suppress(psutil.NoSuchProcess, ProcessLookupError):
                    # Kill the child's group, too, which includes processes that it has started in the meantime.
                    os.killpg(child.pid, signal.SIGKILL)
                with suppress(psutil.NoSuchProcess):
                    child.kill()


def run_hub_to_end(*arguments: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run a hub that is expected to exit on its own."""
    return subprocess.run(
        [sys.executable, "-c", HUB, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        timeout=WAIT_SECONDS,
        env={**_clean_environment(), **env},
    )


def seconds_between(first: Event, second: Event) -> float:
    """Return how many seconds later the second line was logged."""
    times = [datetime.fromisoformat(event["timestamp"]) for event in (first, second)]
    return (times[1] - times[0]).total_seconds()


def is_alive(pid: int) -> bool:
    """Return whether the process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _clean_environment() -> dict[str, str]:
    mine = {key: value for key, value in os.environ.items() if not key.startswith("DPHUB_")}
    # Many hubs run at the same time, so each takes a free port.
    return {**mine, "DPHUB_HTTP": "127.0.0.1:0"}


MakeHub = Callable[[str], HubProcess]
"""The fixture `make_hub`, which creates a hub with a given circus.ini but does not start it."""

QUIET = "cmd = sleep 1000\n"
"""The keys of a plugin that does nothing."""


def watcher(name: str, rest: str = QUIET) -> str:
    """Return one section of circus.ini."""
    return f"[watcher:{name}]\n{rest}\n"


def ignoring_sigterm(directory: Path, grace: float) -> str:
    """Return the keys of a plugin that ignores SIGTERM."""
    script = directory / "ignoring-sigterm.sh"
    script.write_text(IGNORING_SIGTERM)
    return f"cmd = sh {script}\ngraceful_timeout = {grace}\n"


def wait_ignoring_sigterm(hub: HubProcess, count: int = 1) -> None:
    """Wait until the plugin of `ignoring_sigterm` ignores SIGTERM."""
    wait_until(lambda: hub.text().count("up\n") >= count, "the plugin that ignores SIGTERM is up")

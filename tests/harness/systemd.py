"""A stand-in for systemd that starts and stops one service of `Type=notify` according to its unit."""

import os
import shlex
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

_CREDENTIALS = struct.Struct("3i")
_BYTES = 4096

_KILL_SECONDS = 60.0
"""A time limit in seconds, far longer than any process takes to exit after SIGKILL."""


def settings(unit: str) -> dict[str, list[str]]:
    """Return the values of each key of a unit file, without regard to sections."""
    found: dict[str, list[str]] = {}
    for line in unit.splitlines():
        key, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def words(command: str) -> list[str]:
    """Split a command line of a unit as systemd does."""
    return [word.replace("%%", "%").replace("$$", "$") for word in shlex.split(command)]


def _frozen(main: psutil.Process) -> list[psutil.Process]:
    """Stop a process and all its descendants, so that they cannot start new ones, and return them."""
    found: list[psutil.Process] = []
    with suppress(psutil.NoSuchProcess):
        while new := [each for each in (main, *main.children(recursive=True)) if each not in found]:
            for process in new:
                with suppress(psutil.NoSuchProcess):
                    process.suspend()
            found += new
    return found


class Service:
    """A service that is started, killed and started again.

    Args:
        unit: The text of the service's unit file.
        log: The file for its output.
        more: Arguments after those of the unit.
        environment: The service's environment; by default, that of this process.
        abstract: Whether the socket is in the abstract namespace, as in a container, or a file in the log's directory.

    Attributes:
        messages: The lines that the main process has sent, in order.
        rejected: The lines that other processes have sent, which systemd ignores (`NotifyAccess=main`).
    """

    def __init__(
        self,
        unit: str,
        log: Path,
        *,
        more: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        abstract: bool = True,
    ) -> None:
        self.messages: list[str] = []
        self.rejected: list[str] = []
        self.process: subprocess.Popen[bytes] | None = None
        self._settings = settings(unit)
        self._log = log
        self._more = more
        self._environment = dict(os.environ if environment is None else environment)
        name = f"@dphub-test/{os.getpid()}/{id(self)}" if abstract else os.fspath(log.with_suffix(".notify"))
        self._address = name
        self._changed = threading.Condition()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind(f"\0{name[1:]}" if abstract else name)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def start(self) -> float:
        """Start the service, and wait until it is ready; return the seconds that this took.

        Raises:
            TimeoutError: it was not ready within the time that its unit allows.
            AssertionError: it has exited.
        """
        (command,) = self._settings["ExecStart"]
        (limit,) = self._settings["TimeoutStartSec"]
        watchdog = float(self._settings["WatchdogSec"][0])
        began = time.monotonic()
        self.messages.clear()
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                [*words(command), *self._more],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={
                    **self._environment,
                    "NOTIFY_SOCKET": self._address,
                    "WATCHDOG_USEC": str(int(watchdog * 1e6)),
                },
            )
        self.wait_for("READY=1", float(limit))
        return time.monotonic() - began

    def wait_for(self, message: str, seconds: float) -> None:
        """Wait until the service's main process has sent a line.

        Raises:
            TimeoutError: it has not sent the line in time.
            AssertionError: it has exited.
        """
        self._wait(lambda: message in self.messages, seconds, message)

    @property
    def status(self) -> str:
        """The status that `systemctl status` shows."""
        return next((each.removeprefix("STATUS=") for each in reversed(self.messages) if "STATUS=" in each), "")

    def stop(self) -> int:
        """Stop the service, and return its exit code."""
        assert self.process
        self.process.terminate()
        return self.process.wait(float(self._settings["TimeoutStopSec"][0]))

    def kill(self) -> None:
        """Kill all processes of the service, as when the node loses power."""
        if self.process is None:
            return
        family = _frozen(psutil.Process(self.process.pid)) if self.process.poll() is None else []
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.wait()
        _, left = psutil.wait_procs(family, timeout=_KILL_SECONDS)
        assert not left, left

    def close(self) -> None:
        """Kill the service, and close its socket."""
        self.kill()
        # This wakes the thread.
        self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join()
        self._socket.close()

    def _wait(self, condition: Callable[[], bool], seconds: float, what: str) -> None:
        end = time.monotonic() + seconds
        with self._changed:
            while not condition():
                assert self.process
                assert self.process.poll() is None, f"the service has exited: {self._log.read_text()}"
                if time.monotonic() > end:
                    raise TimeoutError(f"no {what} within {seconds:g} s, but {self.messages}: {self._log.read_text()}")
                self._changed.wait(0.1)

    def _read(self) -> None:
        while True:
            data, ancillary, _, _ = self._socket.recvmsg(_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size))
            if not data:
                return
            pid, _, _ = _CREDENTIALS.unpack(ancillary[0][2])
            with self._changed:
                is_main = self.process is None or pid == self.process.pid
                (self.messages if is_main else self.rejected).extend(data.decode().splitlines())
                self._changed.notify_all()

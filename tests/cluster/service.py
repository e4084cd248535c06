"""A program of the cluster, with its log in a file."""

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.cluster.settings import LOGS


class Service:
    """A program that is started, killed and started again.

    Args:
        name: The name of the program and of its log.
        command: The program and its arguments.
    """

    def __init__(self, name: str, command: Sequence[str | Path]) -> None:
        self.name = name
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the program."""
        with (LOGS / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )

    def kill(self) -> None:
        """Kill the program without giving it a chance to clean up."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    def check(self) -> None:
        """Raise an error with the end of the log if the program has exited."""
        if self._process and self._process.poll() is not None:
            log = (LOGS / f"{self.name}.log").read_text(errors="replace").splitlines()
            raise AssertionError("\n".join([f"{self.name} exited with {self._process.returncode}:", *log[-30:]]))

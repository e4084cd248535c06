"""Calls to systemctl."""

import os
import shutil
import subprocess
from pathlib import Path

from hub.base.errors import HubError


class Systemctl:
    """systemctl for this node, or for the file system of an image.

    Args:
        root: That file system.

    Raises:
        HubError: there is no systemctl.
    """

    def __init__(self, root: Path) -> None:
        self._is_running = root == Path("/")
        program = shutil.which("systemctl")
        if program is None:
            raise HubError("there is no systemctl: the hub can only be a service where systemd is installed")
        self._command = [program] if self._is_running else [program, f"--root={os.fspath(root)}"]

    def reload(self) -> None:
        """Have systemd reload the unit files, if it is running."""
        if self._is_running:
            self.run("daemon-reload")

    def run(self, *words: str) -> None:
        """Run a command.

        Raises:
            HubError: it fails.
        """
        done = subprocess.run(  # noqa: S603 - systemd's own program
            [*self._command, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            said = " ".join(done.stdout.split()) or f"exit code {done.returncode}"
            raise HubError(f"systemctl {' '.join(words)} failed: {said}")

"""Runs the user's own kubectl, with the user's own permissions."""

import os
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from hub.base.errors import HubError
from hub.base.untrusted import MAX_TEXT

NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
"""The pattern for the name of a namespace, which becomes part of paths and of other patterns."""

_CHUNK = 1 << 16


class CommandOutput(NamedTuple):
    """How a command exited, and what it printed."""

    code: int
    output: bytes
    errors: str


class UnfinishedError(Exception):
    """A command did not finish, or its output is too large; the text says which."""


@dataclass(frozen=True)
class Kubectl:
    """The user's kubectl.

    Args:
        namespace: The namespace of the hubs.
        context: A context of the kubeconfig file; empty for the current one.
        kubeconfig: The kubeconfig file; empty for the one that kubectl chooses.

    Raises:
        HubError: no namespace can have this name.
    """

    namespace: str
    context: str = ""
    kubeconfig: str = ""

    def __post_init__(self) -> None:
        if not NAMESPACE.fullmatch(self.namespace):
            raise HubError(f"{self.namespace} is not the name of a namespace")

    def command(self, *words: str) -> list[str]:
        """Return a command line.

        Raises:
            HubError: kubectl is not installed.
        """
        program = shutil.which("kubectl")
        if program is None:
            raise HubError("kubectl is not installed, or its directory is not in PATH")
        options = [f"--namespace={self.namespace}"]
        options += [f"--context={self.context}"] if self.context else []
        options += [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        return [program, *options, *words]

    def exec_in(self, pod: str, command: Sequence[str], *, timeout: float, max_bytes: int = MAX_TEXT) -> CommandOutput:
        """Run a command in the hub's container of a pod.

        Raises:
            HubError: kubectl is not installed, or cannot be executed.
            UnfinishedError: it did not finish in time, or printed too much.
        """
        return _run(self.command("exec", pod, "--container=hub", "--", *command), timeout, max_bytes)


def _run(command: Sequence[str], timeout: float, max_bytes: int) -> CommandOutput:
    end = time.monotonic() + timeout
    try:
        process = subprocess.Popen(  # noqa: S603 - the user's kubectl, without a shell
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0
        )
    except OSError as error:
        raise HubError(f"{command[0]} cannot be executed: {error.strerror}") from None
    with process:
        try:
            output, errors = _read(process, end, max_bytes)
            code = process.wait(max(0.0, end - time.monotonic()))
        except subprocess.TimeoutExpired:
            raise UnfinishedError(f"did not answer within {timeout:g} s") from None
        finally:
            process.kill()
    return CommandOutput(code, output, errors.decode(errors="replace").strip())


def _read(process: "subprocess.Popen[bytes]", end: float, max_bytes: int) -> tuple[bytes, bytes]:
    """Read what a process prints until it closes its output; only the beginning of its standard error is kept."""
    if process.stdout is None or process.stderr is None:
        raise AssertionError("the process was started with pipes")
    output, errors = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ, output)
        selector.register(process.stderr, selectors.EVENT_READ, errors)
        while selector.get_map():
            ready = selector.select(max(0.0, end - time.monotonic()))
            if not ready:
                raise subprocess.TimeoutExpired(process.args, 0)
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                if key.data is output or len(errors) < MAX_TEXT:
                    key.data.extend(chunk)
            if len(output) > max_bytes:
                raise UnfinishedError(f"sent more than {max_bytes} bytes")
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(process.args, 0)
    return bytes(output), bytes(errors)

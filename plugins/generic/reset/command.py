"""Run a program that may hang, print without end or leave children behind."""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

_KEPT = 300
"""How many bytes of a program's last output a message can have."""

_CHUNK = 1 << 16
_KILLED = 1.0
"""Seconds to wait for a program that was killed; one in a driver may stay."""


def run_command(command: Sequence[str], timeout: float) -> str:
    """Run a program; return why it did not succeed, with its last output, or an empty string.

    Args:
        command: The program and its arguments.
        timeout: Seconds after which it is killed, together with its children.
    """
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    try:
        process = subprocess.Popen(  # noqa: S603 - the settings name the program
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            start_new_session=True,
        )
    except (OSError, ValueError) as error:
        return f"{command[0]} cannot be started: {error}"
    try:
        finished, output = _wait(process, time.monotonic() + timeout)
    finally:
        _kill(process)
    if not finished:
        return f"{command[0]} did not finish within {timeout:g} s"
    code = process.returncode
    if code == 0:
        return ""
    why = f"was killed by signal {-code}" if code < 0 else f"exited with code {code}"
    return ": ".join(filter(None, [f"{command[0]} {why}", _last_line(output)]))


def _wait(process: subprocess.Popen[bytes], end: float) -> tuple[bool, bytes]:
    """Wait until a program has exited; return whether it has, and the end of its output."""
    output = b""
    pipe = process.stdout
    if pipe is None:
        raise AssertionError("the program was started with a pipe")
    exited = os.pidfd_open(process.pid)
    os.set_blocking(pipe.fileno(), False)
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(exited, selectors.EVENT_READ)
            selector.register(pipe, selectors.EVENT_READ)
            while (left := end - time.monotonic()) > 0:
                ready = {key.fd for key, _ in selector.select(left)}
                if pipe.fileno() in ready:
                    chunk = os.read(pipe.fileno(), _CHUNK)
                    output = (output + chunk)[-_KEPT:]
                    if not chunk:
                        selector.unregister(pipe)
                elif exited in ready:
                    return True, output
    finally:
        os.close(exited)
        pipe.close()
    return False, output


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of a program and its children, before its number can belong to another one."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with suppress(subprocess.TimeoutExpired):
        process.wait(_KILLED)


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return "".join(letter if letter.isprintable() else "?" for letter in lines[-1]) if lines else ""

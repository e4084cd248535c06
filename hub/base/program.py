"""Runs a program that may hang, print endlessly, or leave children behind."""

import os
import selectors
import signal
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from hub.base.printable import printable

if TYPE_CHECKING:
    import subprocess

MAX_OUTPUT = 4096

_CHUNK = 1 << 16
_KILLED = 1.0
"""Seconds to wait for a program that was killed; one that is stuck in a driver may never exit."""


class ProgramFailed(Exception):
    """A program did not succeed; the text says why, with what it printed."""


def run_program(
    command: Sequence[str],
    *,
    timeout: float,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    max_output: int = MAX_OUTPUT,
    daemons: bool = False,
) -> str:
    """Run a program in its own session, and return what it printed.

    Args:
        command: The path of the program, and its arguments.
        timeout: Seconds after which it is killed, together with its children.
        stdin: A short string for its standard input.
        env: Its environment; by default only PATH.
        max_output: How many bytes of its output are kept, from the beginning.
        daemons: Whether the children that it leaves running stay; by default they are killed.

    Raises:
        ProgramFailed: it could not be started, failed, or did not finish in time.
    """
    name = Path(command[0]).name
    process = _start(command, env)
    output = None
    try:
        output = _output(process, stdin, time.monotonic() + timeout, max_output)
    finally:
        if output is None or not daemons:
            _kill_group(process)
        _reap(process)
    if output is None:
        raise ProgramFailed(f"{name} did not finish within {timeout:g} s")
    text = output.decode(errors="backslashreplace")
    if code := process.returncode:
        how = f"was killed by signal {-code}" if code < 0 else f"failed (exit code {code})"
        raise ProgramFailed(f"{name} {how}: {printable(' '.join(text.split())) or 'no output'}")
    return text


def _start(command: Sequence[str], env: Mapping[str, str] | None) -> "subprocess.Popen[bytes]":
    # Imported here: it takes 1 MB, which a plugin process needs only if it runs a program.
    import subprocess  # noqa: PLC0415 - see above

    try:
        return subprocess.Popen(  # noqa: S603 - the plugin decides which program
            command,
            env={"PATH": os.environ.get("PATH", os.defpath)} if env is None else env,
            cwd="/",
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramFailed(f"{Path(command[0]).name} cannot be executed: {error.strerror}") from None
    except ValueError as error:  # a zero byte, which no argument can have
        raise ProgramFailed(f"{Path(command[0]).name} cannot be executed: {error}") from None


def _output(process: "subprocess.Popen[bytes]", stdin: str, end: float, limit: int) -> bytes | None:
    """Wait until a program has exited, and return its output; None if it does not exit in time.

    Its children may keep its output open, so this does not wait for the end of the output.
    """
    if process.stdin is None or process.stdout is None:
        raise AssertionError("the program was started with pipes")
    kept = b""
    exited = os.pidfd_open(process.pid)
    try:
        with process.stdin, suppress(BrokenPipeError):
            # A few bytes, for which a pipe always has room.
            process.stdin.write(stdin.encode())
        with process.stdout as pipe, selectors.DefaultSelector() as selector:
            selector.register(exited, selectors.EVENT_READ)
            selector.register(pipe, selectors.EVENT_READ)
            while (left := end - time.monotonic()) > 0:
                ready = {key.fd for key, _ in selector.select(left)}
                if pipe.fileno() in ready:
                    chunk = os.read(pipe.fileno(), _CHUNK)
                    kept += chunk[: limit - len(kept)]
                    if not chunk:
                        selector.unregister(pipe)
                elif exited in ready:
                    return kept
    finally:
        os.close(exited)
    return None


def _kill_group(process: "subprocess.Popen[bytes]") -> None:
    """Kill a program and its children, before it is reaped and its process id can be reused."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _reap(process: "subprocess.Popen[bytes]") -> None:
    import subprocess  # noqa: PLC0415 - as above

    with suppress(subprocess.TimeoutExpired):
        process.wait(_KILLED)

"""The driver's own programs: nvidia-smi, nvidia-cuda-mps-control."""

import os
import select
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from plugins.gpu.discovery.driverpaths import LIBRARY_DIRECTORIES, DriverPaths

MAX_OUTPUT = 4096
"""Bytes of a program's output that are kept: it is the reason why a device is unhealthy if the program fails."""

_CHUNK = 1 << 16

_NOTHING: Mapping[str, str] = {}


class ProgramFailed(Exception):
    """A program failed; the text says how."""


class ProgramMissing(ProgramFailed):
    """The driver root has no such program."""


def run_program(
    paths: DriverPaths,
    name: str,
    args: Sequence[str],
    *,
    timeout: float,
    stdin: str = "",
    environment: Mapping[str, str] = _NOTHING,
) -> str:
    """Run one of the driver's programs and return its output, at most `MAX_OUTPUT` bytes.

    It runs in its own session: what it leaves running outlives this process and its group.

    Args:
        paths: Where the driver is.
        name: The program.
        args: Its arguments.
        timeout: Seconds that it may take.
        stdin: Its standard input.
        environment: Additional variables.

    Raises:
        ProgramFailed: it is missing, failed, or took too long.
    """
    program = paths.driver(f"/usr/bin/{name}")
    if not program.exists():
        raise ProgramMissing(f"{name} is missing on this node: there is no {paths.driver_on_node(f'/usr/bin/{name}')}")
    return " ".join(_run(program, args, _variables(paths, environment), timeout, stdin).split())


def run_tool(paths: DriverPaths, program: Path, args: Sequence[str], *, timeout: float, max_output: int) -> str:
    """Run a program that uses the driver, and return its output.

    Args:
        paths: Where the driver is.
        program: The program.
        args: Its arguments.
        timeout: Seconds that it may take.
        max_output: How many bytes of its output are kept.

    Raises:
        ProgramFailed: it failed, or took too long.
    """
    return _run(program, args, _variables(paths, _NOTHING), timeout, "", max_output)


def _run(  # noqa: PLR0917 - how to run a program
    program: Path,
    args: Sequence[str],
    variables: Mapping[str, str],
    timeout: float,
    stdin: str,
    max_output: int = MAX_OUTPUT,
) -> str:
    # Imported here: it takes 1 MB, which a plugin process needs only if it runs a program.
    import subprocess  # noqa: PLC0415 - see above

    end = time.monotonic() + timeout
    try:
        running = subprocess.Popen(  # noqa: S603 - a program of the driver
            [str(program), *args],
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            bufsize=0,
            start_new_session=True,
        )
    except OSError as error:
        raise ProgramFailed(f"{program.name} cannot be executed: {error.strerror}") from None
    with running:
        try:
            if running.stdin and running.stdout:
                # A few bytes, for which a pipe always has room.
                with suppress(BrokenPipeError):
                    running.stdin.write(stdin.encode())
                running.stdin.close()
                output = _read(running.stdout.fileno(), end, max_output)
            code = running.wait(max(0, end - time.monotonic()))
        except (TimeoutError, subprocess.TimeoutExpired):
            running.kill()
            raise ProgramFailed(f"{program.name} did not finish within {timeout:g} s") from None
    text = output.decode(errors="backslashreplace")
    if code:
        words = " ".join(text[:MAX_OUTPUT].split()) or "no output"
        raise ProgramFailed(f"{program.name} failed (exit code {code}): {words}")
    return text


def _read(pipe: int, end: float, max_output: int) -> bytes:
    """Read a program's output to its end, but keep only the beginning: it may be what a container made it say.

    Raises:
        TimeoutError: it does not end in time.
    """
    ready = select.poll()
    ready.register(pipe, select.POLLIN)
    kept = b""
    while ready.poll(max(0, end - time.monotonic()) * 1000):
        chunk = os.read(pipe, _CHUNK)
        if not chunk:
            return kept
        kept += chunk[: max_output - len(kept)]
        if time.monotonic() > end:
            break
    raise TimeoutError


def _variables(paths: DriverPaths, additional: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program: this process's, with the driver's libraries and additional variables."""
    libraries = [str(paths.driver(directory)) for directory in LIBRARY_DIRECTORIES]
    path = ":".join([*filter(None, [os.environ.get("LD_LIBRARY_PATH")]), *libraries])
    return {**os.environ, "LD_LIBRARY_PATH": path, **additional}

"""The driver's own programs: nvidia-smi, nvidia-cuda-mps-control."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.nvml.library import DIRECTORIES

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
    """Run one of the driver's programs and return its output.

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
    code, text = _run(program, args, _variables(paths, environment), timeout, stdin)
    output = " ".join(text.split())
    if code:
        raise ProgramFailed(f"{name} failed (exit code {code}): {output or 'no output'}")
    return output


def _run(
    program: Path, args: Sequence[str], variables: Mapping[str, str], timeout: float, stdin: str
) -> tuple[int, str]:
    # Imported here: it takes 1 MB, which a plugin process needs only if it runs a program.
    import subprocess  # noqa: PLC0415 - see above

    try:
        done = subprocess.run(  # noqa: S603 - a program of the driver
            [str(program), *args],
            input=stdin,
            env=variables,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="backslashreplace",
            timeout=timeout,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"{program.name} did not finish within {timeout:g} s") from None
    except OSError as error:
        raise ProgramFailed(f"{program.name} cannot be executed: {error.strerror}") from None
    return done.returncode, done.stdout


def _variables(paths: DriverPaths, additional: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a program: this process's, with the driver's libraries and additional variables."""
    libraries = [str(paths.driver(directory)) for directory in DIRECTORIES]
    path = ":".join([*filter(None, [os.environ.get("LD_LIBRARY_PATH")]), *libraries])
    return {**os.environ, "LD_LIBRARY_PATH": path, **additional}

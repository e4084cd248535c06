"""The driver's own programs: nvidia-smi, nvidia-cuda-mps-control."""

import os
from collections.abc import Mapping, Sequence

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
    """Run a program of the driver and return its output.

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
    # Imported here: it takes 1 MB, which a plugin process needs only if it runs a program.
    import subprocess  # noqa: PLC0415 - see above

    program = paths.driver(f"/usr/bin/{name}")
    if not program.exists():
        raise ProgramMissing(f"{name} is missing on this node: there is no {paths.driver_on_node(f'/usr/bin/{name}')}")
    libraries = [str(paths.driver(directory)) for directory in DIRECTORIES]
    path = ":".join([*filter(None, [os.environ.get("LD_LIBRARY_PATH")]), *libraries])
    try:
        done = subprocess.run(  # noqa: S603 - a program of the driver
            [str(program), *args],
            input=stdin,
            env={**os.environ, "LD_LIBRARY_PATH": path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"{name} did not finish within {timeout:g} s") from None
    except OSError as error:
        raise ProgramFailed(f"{name} cannot be executed: {error.strerror}") from None
    output = " ".join(done.stdout.split())
    if done.returncode:
        raise ProgramFailed(f"{name} failed (exit code {done.returncode}): {output or 'no output'}")
    return output

"""The driver's own programs: nvidia-smi, nvidia-cuda-mps-control."""

import os
from collections.abc import Mapping, Sequence

from hub import ProgramFailed, run_program
from plugins.gpu.discovery.driverpaths import LIBRARY_DIRECTORIES, DriverPaths

_NOTHING: Mapping[str, str] = {}


def run_driver_program(
    paths: DriverPaths,
    name: str,
    args: Sequence[str],
    *,
    timeout: float,
    stdin: str = "",
    environment: Mapping[str, str] = _NOTHING,
) -> str:
    """Run one of the driver's programs and return the beginning of its output, on one line.

    Processes that the program leaves running outlive this process and its group.

    Args:
        paths: Where the driver is.
        name: The program.
        args: Its arguments.
        timeout: Seconds that the program may take.
        stdin: Its standard input.
        environment: Additional variables.

    Raises:
        ProgramFailed: the program is missing, failed, or took too long.
    """
    program = paths.driver(f"/usr/bin/{name}")
    if not program.exists():
        raise ProgramFailed(f"{name} is missing on this node: there is no {paths.driver_on_node(f'/usr/bin/{name}')}")
    variables = {**driver_variables(paths), **environment}
    output = run_program([str(program), *args], timeout=timeout, stdin=stdin, env=variables, daemons=True)
    return " ".join(output.split())


def driver_variables(paths: DriverPaths) -> dict[str, str]:
    """Return the environment of a program that uses the driver: this process's, with the driver's libraries."""
    libraries = [str(paths.driver(directory)) for directory in LIBRARY_DIRECTORIES]
    path = ":".join([*filter(None, [os.environ.get("LD_LIBRARY_PATH")]), *libraries])
    return {**os.environ, "LD_LIBRARY_PATH": path}

"""The driver's own programs: nvidia-smi, nvidia-cuda-mps-control."""

import os
from collections.abc import Mapping, Sequence

from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.nvml.library import DIRECTORIES

_NOTHING: Mapping[str, str] = {}


class ProgramFailed(Exception):
    """A program did not do what it was called for; the text says what happened instead."""


class ProgramMissing(ProgramFailed):
    """The driver root has no such program."""


def run_program(
    places: DriverPaths,
    name: str,
    args: Sequence[str],
    *,
    limit: float,
    question: str = "",
    environment: Mapping[str, str] = _NOTHING,
) -> str:
    """Run a program of the driver's and return what it says.

    It runs in a session of its own, so that what it leaves running outlives this process and its group.

    Args:
        places: Where the driver is.
        name: The program.
        args: Its arguments.
        limit: Seconds that it may take.
        question: What it reads.
        environment: More variables.

    Raises:
        ProgramFailed: it is not there, failed, or was not done in time.
    """
    # Imported here: 1 MB that a plugin process needs only if it runs one.
    import subprocess  # noqa: PLC0415 - see above

    program = places.driver(f"/usr/bin/{name}")
    if not program.exists():
        raise ProgramMissing(f"there is no {name} on this node: {places.driver_on_node(f'/usr/bin/{name}')} is missing")
    libraries = [str(places.driver(directory)) for directory in DIRECTORIES]
    path = ":".join([*filter(None, [os.environ.get("LD_LIBRARY_PATH")]), *libraries])
    try:
        done = subprocess.run(  # noqa: S603 - the driver's own program
            [str(program), *args],
            input=question,
            env={**os.environ, "LD_LIBRARY_PATH": path, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=limit,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise ProgramFailed(f"{name} has not answered within {limit:g} s") from None
    except OSError as error:
        raise ProgramFailed(f"{name} cannot be run: {error.strerror}") from None
    said = " ".join(done.stdout.split())
    if done.returncode:
        raise ProgramFailed(f"{name} failed (exit code {done.returncode}): {said or 'without a word'}")
    return said

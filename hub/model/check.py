"""What a plugin process that only checks itself has found, and how to have that done.

The process is another one because a plugin's code may crash, hang, and print whatever it likes.
"""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from hub.base.errors import HubError
from hub.base.exits import signal_name


class OfferedDevice(msgspec.Struct, frozen=True):
    """A device that the plugin would offer."""

    resource: str
    id: str
    unhealthy: str = ""
    """Why it cannot be used; empty when it can."""
    numa: tuple[int, ...] = ()
    files: tuple[str, ...] = ()
    """Its device files, and the files and directories that come with it, as paths of the node."""


class LeftOut(msgspec.Struct, frozen=True):
    """Something that the plugin leaves out on purpose."""

    id: str
    reason: str


class CheckReport(msgspec.Struct, frozen=True):
    """What is wrong with a plugin, and what it would offer."""

    problems: tuple[str, ...] = ()
    """What will certainly fail."""
    warnings: tuple[str, ...] = ()
    """What is most likely a mistake, or will go wrong later."""
    devices: tuple[OfferedDevice, ...] | None = None
    """None where nobody asked for them."""
    excluded: tuple[LeftOut, ...] = ()
    reason: str = ""
    """Why there is no device, where that is no fault."""


def run_check(
    command: Sequence[str],
    *,
    directory: Path | None = None,
    environment: Mapping[str, str] | None = None,
    limit: float | None = None,
    quiet: bool = False,
) -> CheckReport:
    """Start a plugin process that checks itself and ends.

    Args:
        command: The process, with what it is to check.
        directory: Where it runs; by default here.
        environment: All of its variables; by default those of this process.
        limit: Seconds for it.
        quiet: Whether what the plugin's code prints is kept back.

    Raises:
        HubError: it could not be started, or came to no result.
    """
    try:
        done = subprocess.run(  # noqa: S603 - ourselves, or what the hub would start
            command,
            cwd=directory,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if quiet else None,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise HubError(f"it has not read its configuration within {limit:g} s") from None
    except OSError as error:
        raise HubError(f"it cannot be started: {error}") from None
    try:
        return msgspec.json.decode(done.stdout, type=CheckReport)
    except msgspec.DecodeError:
        lines = [line for line in (done.stderr or b"").decode(errors="replace").splitlines() if line.strip()]
        code = done.returncode
        how = f"it was killed by {signal_name(-code)}" if code < 0 else f"it ended with exit code {code}"
        raise HubError(lines[-1] if lines else how) from None

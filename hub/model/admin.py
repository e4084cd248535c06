"""What an operator asks of a running plugin process: one request and one answer, as JSON lines on a unix socket.

The socket is in the run directory, which only its owner enters.
"""

import msgspec

from hub.base.log import LogLevel

LINE_BYTES = 64 * 1024
"""The longest request and the longest answer."""


class Cordon(msgspec.Struct, tag="cordon", frozen=True, forbid_unknown_fields=True):
    """Take a device out of use. `device` is its `physical`, or "RESOURCE ID" where it has none."""

    device: str
    reason: str = ""


class Uncordon(msgspec.Struct, tag="uncordon", frozen=True, forbid_unknown_fields=True):
    """Let a device be used again: one that was cordoned, that is broken, or that recovered too often."""

    device: str


class Reset(msgspec.Struct, tag="reset", frozen=True, forbid_unknown_fields=True):
    """Reset a device now, if nobody holds it."""

    device: str


class SetLogLevel(msgspec.Struct, tag="log-level", frozen=True, forbid_unknown_fields=True):
    """Log from this level on, until the process ends."""

    level: LogLevel


class RefreshHolders(msgspec.Struct, tag="ask-holders", frozen=True, forbid_unknown_fields=True):
    """Ask the kubelet now who holds what, and write it into the state."""


Request = Cordon | Uncordon | Reset | SetLogLevel | RefreshHolders


class Response(msgspec.Struct, frozen=True):
    """What became of a request."""

    ok: bool
    message: str
    """What was done, or why it was not."""

"""What an administrator requests from a running plugin: one request and one response, as JSON lines on a unix socket.

The socket is in the run directory, which only its owner can enter.
"""

import msgspec

from hub.base.log import LogLevel

LINE_BYTES = 64 * 1024
"""The size limit of a request and of a response."""


class Cordon(msgspec.Struct, tag="cordon", frozen=True, forbid_unknown_fields=True):
    """Mark a device unschedulable. `device` is its `physical`, or "RESOURCE ID" if it has none."""

    device: str
    reason: str = ""
    by_annotation: bool = False
    """Whether the node's annotation requests it, through the agent. A device may be cordoned in both ways."""


class Uncordon(msgspec.Struct, tag="uncordon", frozen=True, forbid_unknown_fields=True):
    """Make a device schedulable again: it was cordoned, it was broken, or it recovered too often."""

    device: str
    by_annotation: bool = False
    """Whether to end only the cordon by the node's annotation."""


class Reset(msgspec.Struct, tag="reset", frozen=True, forbid_unknown_fields=True):
    """Reset a device now, if no container uses it."""

    device: str


class SetLogLevel(msgspec.Struct, tag="log-level", frozen=True, forbid_unknown_fields=True):
    """Set the log level until the process exits."""

    level: LogLevel


class RefreshHolders(msgspec.Struct, tag="refresh-holders", frozen=True, forbid_unknown_fields=True):
    """Query the kubelet now for the containers that use devices, and write the response into the report."""


Request = Cordon | Uncordon | Reset | SetLogLevel | RefreshHolders


class Response(msgspec.Struct, frozen=True):
    """The outcome of a request."""

    ok: bool
    message: str
    """What was done, or why not."""

"""What other programs on the node report about devices: in files, or on a socket that writes such files.

    {"device": "GPU-5ad2", "source": "memory-test", "reason": "row 7 is bad", "until": "2026-12-01T00:00:00Z"}

A report can only make a device unhealthy.
"""

from datetime import UTC, datetime
from typing import Annotated

import msgspec

MAX_BYTES = 4096
"""The size limit of a file, and of a request on the socket."""

MAX_FILES = 1024
"""Maximum number of files: all are looked at every five seconds. Those with a valid report come first, then the
others by name."""

MAX_ENTRIES = 4 * MAX_FILES
"""Maximum number of entries of the directory that are listed, whatever their names: there may be millions, and the
event loop waits for the listing."""

NO_SUCH_REPORT = "there was no such report"
"""The response to the withdrawal of a report that does not exist."""

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]

Until = Annotated[datetime, msgspec.Meta(tz=True)]


class ExternalReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The content of a file."""

    device: Text
    """The id of a device or of a physical device, a PCI address, a name such as "mlx5_0", or a resource, a space and an
    id."""
    reason: Text
    source: Text
    """The program that reports the device."""
    until: Until | None = None
    """When the report expires; None if only the removal of its file ends it."""

    def has_expired(self, now: float) -> bool:
        """Return whether it has expired."""
        return self.until is not None and self.until <= datetime.fromtimestamp(now, UTC)


class ReportRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request on the socket: a report, or the withdrawal of one."""

    device: Text
    """As in a report."""
    source: Text
    """The program; it withdraws its own reports only."""
    reason: Text | None = None
    """Why the device cannot be used."""
    until: Until | None = None
    """When the report expires; None if only its withdrawal ends it."""
    withdraw: bool = False
    """Whether this source's report on this device is withdrawn."""

"""The messages between a plugin process and the DRA process: one JSON object per line, on the component's socket.

A connection begins with a `ClaimQuery` or a `Publication`. A query has one response. A publication may be followed by
more, each of which replaces the one before; each change in its state is answered by a `PublicationState`.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

LINE_BYTES = 64 << 20
"""The longest line. 16,384 devices with a few attributes take about 8 MiB."""

Object = Mapping[str, Any]
"""A Kubernetes API object, or a part of one."""


class ClaimQuery(msgspec.Struct, frozen=True, tag="claim"):
    """A query about a claim that the kubelet has named."""

    namespace: str
    name: str
    uid: str
    driver: str


class ClaimResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """One device of a claim."""

    request: str
    """As in the claim: `NAME` or `NAME/SUBREQUEST`."""
    pool: str
    device: str
    share_id: str = ""
    admin: bool = False
    """Whether the claim has admin access: it gets the device even if another claim uses it."""
    tolerated: tuple[str, ...] = ()
    """The keys of the taints that the claim tolerates; `*` for all."""

    @property
    def main_request(self) -> str:
        """The request without the subrequest, as the kubelet names it."""
        return self.request.partition("/")[0]


class ClaimAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The devices of a driver in a claim, or why they are unknown."""

    results: tuple[ClaimResult, ...] = ()
    pod: str = ""
    """The pod that has the claim; the first if several have it."""
    problem: str = ""
    """Why they are unknown; empty if they are known."""
    gone: bool = False
    """Whether the API server has no claim with this uid."""


class Publication(msgspec.Struct, frozen=True, tag="publish"):
    """The devices of one driver on this node."""

    driver: str
    devices: tuple[Object, ...]
    """As in the specification of a ResourceSlice, in the order in which the scheduler should try them."""
    registered: bool
    """Whether the driver is registered with the kubelet. Until it is, slices are not written: the kubelet would delete
    them, and pods that are scheduled to them would wait."""
    withdrawn: bool = False
    """Whether the driver is no longer used: then all its slices are deleted."""


class PublicationState(msgspec.Struct, frozen=True, omit_defaults=True):
    """The state of a publication."""

    published: bool = False
    """Whether the slices on the API server match the last publication."""
    pool: str = ""
    """The name of the pool, which is the node's name."""
    problem: str = ""
    """Why the slices are not published, or what the API server has left out of them."""


Message = ClaimQuery | Publication

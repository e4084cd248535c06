"""A ListAndWatch stream that is read in the background."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import grpc.aio

from hub.kubelet.channel import is_message
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.conformance.calls import NO_MESSAGE

if TYPE_CHECKING:
    from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginAsyncStub

KEPT_BYTES = 64 * 1024 * 1024
"""Maximum memory for the lists of one stream: as much as ten of the longest lists that a kubelet accepts."""

_LIST_BYTES, _DEVICE_BYTES = 1024, 72
"""What a list and a device take in memory, apart from their contents; on the wire, they may have 0 and 2 bytes."""


_TOO_LONG = "message larger than max"
"""In the gRPC client's error for a message above its limit."""


class Listing:
    """What has arrived on a stream so far."""

    def __init__(self) -> None:
        self.opened = time.monotonic()
        self.first_after: float | None = None
        """Seconds until the first list."""
        self.lists: list[wire.ListAndWatchResponse] = []
        self.end = ""
        """How the stream ended; empty while it is open."""
        self.is_too_long = False
        """Whether it ended because of a list that is longer than even this client receives."""
        self._memory = 0

    async def read(self, responses: "grpc.aio.UnaryStreamCall[wire.Empty, wire.ListAndWatchResponse]") -> None:
        """Read until the stream ends, or its lists take too much memory."""
        try:
            async for response in responses:
                if not is_message(response):
                    self.end = f"the check ended it, because of a list: {NO_MESSAGE}"
                    return
                if self.first_after is None:
                    self.first_after = time.monotonic() - self.opened
                self.lists.append(response)
                self._memory += _LIST_BYTES + response.ByteSize() + _DEVICE_BYTES * len(response.devices)
                if self._memory > KEPT_BYTES:
                    received = f"{len(self.lists)} lists, which take more than {KEPT_BYTES >> 20} MiB of memory"
                    self.end = f"the check ended it, because it received {received}"
                    return
        except grpc.aio.AioRpcError as error:
            self.is_too_long = _TOO_LONG in (error.details() or "")
            self.end = f"{error.code().name}: {error.details() or 'no text'}"
        else:
            self.end = "it returned without an error"


@asynccontextmanager
async def opened_listing(stub: "DevicePluginAsyncStub") -> AsyncIterator[Listing]:
    """Open a stream, and close it at the end of the block."""
    listing = Listing()
    call = stub.ListAndWatch(wire.Empty())
    reading = asyncio.create_task(listing.read(call))
    try:
        yield listing
    finally:
        call.cancel()
        await asyncio.wait([reading])
        if not reading.cancelled():
            reading.result()


def same_devices(one: Iterable[wire.Device], other: Iterable[wire.Device]) -> bool:
    """Return whether two lists differ at most in their order."""
    return _sorted(one) == _sorted(other)


def _sorted(devices: Iterable[wire.Device]) -> Sequence[bytes]:
    return sorted(device.SerializeToString(deterministic=True) for device in devices)

"""Reports to NVSentinel's platform connector which devices can be used.

All devices are reported after each connection is established, and then each change: the next connection makes up for
whatever the connector or this process has missed.
"""

import asyncio
from pathlib import Path
from typing import Any

import grpc

from hub.base.changecount import ChangeCounter
from hub.base.failures import one_line
from hub.base.log import get_logger
from hub.kubelet.channel import CHANNEL_OPTIONS, unix_target
from hub.nvsentinel.outgoing import device_events
from hub.nvsentinel.wire import METHODS, SERVICE, encode_events
from hub.status.view import View

RETRY_SECONDS = 5.0
"""Seconds until the next attempt after a connector has refused events, and between attempts to connect."""

TIMEOUT = 10.0
"""The time limit of a call, in seconds."""

BATCH = 100
"""Maximum number of events in a call."""

MAX_REMEMBERED = 1 << 14
"""Maximum number of devices that are remembered while they are absent, such as those of a plugin that is restarting."""

_OPTIONS = (
    *CHANNEL_OPTIONS,
    ("grpc.max_reconnect_backoff_ms", int(1000 * RETRY_SECONDS)),
    # The largest number: gRPC otherwise ends the connection after half an hour without a call.
    ("grpc.client_idle_timeout_ms", (1 << 31) - 1),
)


class Sender:
    """Sends events while this process is the active one.

    Args:
        socket: The connector's socket.
        node: The node's name.
        view: The status of the node.
        changes: Counts the changes to the view.
        retry: Seconds until the next attempt.
    """

    def __init__(
        self, socket: Path, node: str, view: View, changes: ChangeCounter, *, retry: float = RETRY_SECONDS
    ) -> None:
        self._socket = socket
        self._node = node
        self._view = view
        self._changes = changes
        self._retry = retry
        self._methods = list(METHODS)
        self._problem = ""
        self._log = get_logger()

    async def run(self) -> None:
        """Send until cancelled."""
        async with grpc.aio.insecure_channel(unix_target(self._socket), options=_OPTIONS) as channel:
            while True:
                await channel.channel_ready()
                sending = asyncio.create_task(self._send_changes(channel))
                lost = asyncio.create_task(channel.wait_for_state_change(grpc.ChannelConnectivity.READY))
                try:
                    await asyncio.wait([sending, lost], return_when=asyncio.FIRST_COMPLETED)
                    if sending.done():
                        sending.result()
                    self._failed("it has closed the connection")
                except grpc.aio.AioRpcError as error:
                    self._failed(one_line(f"{error.code().name}: {error.details()}"))
                    await asyncio.sleep(self._retry)
                finally:
                    sending.cancel()
                    lost.cancel()
                    await asyncio.gather(sending, lost, return_exceptions=True)

    def _failed(self, problem: str) -> None:
        """Log why events cannot be sent, once for each reason."""
        if problem != self._problem:
            self._log.warning("NVSentinel unavailable", socket=str(self._socket), reason=problem)
            self._problem = problem

    async def _send_changes(self, channel: grpc.aio.Channel) -> None:
        """Send the state of all devices, then each change.

        Raises:
            grpc.aio.AioRpcError: the connector does not accept an event.
        """
        sent: dict[tuple[str, str], bool] = {}
        while True:
            seen = self._changes.number
            # While another process is active, it sends what this one would.
            current = device_events(self._view.status, self._node) if self._view.status else {}
            new = [event for key, event in current.items() if sent.get(key) != event.is_healthy]
            for first in range(0, len(new), BATCH):
                await self._call(channel, encode_events(new[first : first + BATCH]))
            if new:
                self._problem = ""
                unhealthy = sum(not event.is_healthy for event in new)
                self._log.info("NVSentinel informed", healthy=len(new) - unhealthy, unhealthy=unhealthy)
            states = {key: event.is_healthy for key, event in current.items()}
            sent = states if len(sent) > MAX_REMEMBERED or not current else sent | states
            await self._changes.wait_beyond(seen)

    async def _call(self, channel: grpc.aio.Channel, request: bytes) -> None:
        """Call the method by the name that the connector knows.

        Raises:
            grpc.aio.AioRpcError: it does not accept the call.
        """
        for method in list(self._methods):
            call: Any = channel.unary_unary(f"/{SERVICE}/{method}", None, None)
            try:
                await call(request, timeout=TIMEOUT)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNIMPLEMENTED or method == self._methods[-1]:
                    raise
                continue
            # The next call tries this name first.
            self._methods.sort(key=lambda each: each != method)
            return

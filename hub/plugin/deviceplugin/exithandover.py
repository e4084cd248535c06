"""How an exiting plugin leaves a resource to another hub, so that the kubelet notices and no admission fails.

A kubelet (1.37 and later) that has several streams may call the plugin on the connection of any of them, and an
admission fails if that stream ends during the call. So the plugin ends its streams one after another, each under the
lock of the resource, and only if the kubelet then calls another hub.
"""

import asyncio

from hub.base.log import get_logger
from hub.base.notifier import Notifier
from hub.model.heartbeat import HANDOVER_TIMEOUT
from hub.model.plugin import RegistrationStatus
from hub.plugin.deviceplugin.connection import KubeletConnection
from hub.plugin.deviceplugin.handover import Handover
from hub.plugin.deviceplugin.kubeletcalls import KubeletCalls
from hub.plugin.deviceplugin.server import DevicePluginServer
from hub.plugin.metrics.process import ProcessMetrics

FINAL_TIMEOUT = 3.0
"""Maximum seconds for ensuring that the kubelet notices the end of a process that has handed over to no other hub."""

SWITCHED = 1.0
"""Seconds without a call after which the kubelet calls another hub only. It may have chosen this one just before the
other hub registered, and on a busy node it then makes the call late."""

ANSWER_TIMEOUT = 1.0
"""Maximum seconds for a call that arrived just as the last stream ended; a call usually takes milliseconds."""

EXIT_POLL = 0.2
"""Seconds between checks of whether a process that is about to exit has handed over."""


class ExitHandover:
    """The end of a registration, for one resource.

    Args:
        resource: The resource's name.
        server: Serves the resource.
        connection: The kubelet's streams.
        handover: How the other hubs affect the registration.
        calls: The kubelet's calls.
        notifier: Notified when something that is awaited here may have changed.
        metrics: Counts the calls in progress.
    """

    def __init__(
        self,
        resource: str,
        server: DevicePluginServer,
        connection: KubeletConnection,
        handover: Handover,
        *,
        calls: KubeletCalls,
        notifier: Notifier,
        metrics: ProcessMetrics,
    ) -> None:
        self._server = server
        self._connection = connection
        self._handover = handover
        self._calls = calls
        self._notifier = notifier
        self._metrics = metrics
        self._log = get_logger(resource=resource)

    async def hand_over(self) -> None:
        """Keep serving until another hub has the resource, or none can take it over; for a limited time."""
        self._calls.expect_call()
        if not self._handover.is_alone():
            await self._end_streams()
        self._handover.close()
        try:
            async with asyncio.timeout(FINAL_TIMEOUT):
                await self._ensure_end_is_noticed()
        except TimeoutError:
            if self._connection.any_open:
                reason = f"the kubelet did not answer within {FINAL_TIMEOUT:g} s"
                self._log.warning("not registered again", reason=reason)

    async def _end_streams(self) -> None:
        """End the kubelet's streams once another hub has the resource; give up after a time limit."""
        try:
            async with asyncio.timeout(HANDOVER_TIMEOUT):
                # When one stream ends, kubelet 1.37 and later may use another: they must not end at the same time.
                while await self._end_one_stream():
                    pass
                await self._end_last_stream()
        except TimeoutError:
            self._log.warning("handover timed out")

    async def _end_one_stream(self) -> bool:
        """End one stream, but not the last, and have the owner register again; return whether there may be another.

        Everything is checked under the lock: if another hub has just ended a stream, the kubelet may call this one.
        """
        await self._until_may_end()
        async with self._handover.locked():
            if not self._may_end():
                return True
            if not self._handover.is_handed_over():
                return False
            if not await self._connection.end_old_streams(self._connection.kubelet(), limit=1):
                return False
            self._handover.request()
            return True

    async def _end_last_stream(self) -> None:
        """End the last stream if another hub has the resource, which is checked under the lock.

        Other hubs may be exiting, too: when one has stopped, the kubelet may call this one until the owner registers.
        """
        while True:
            async with self._handover.locked():
                if self._may_end():
                    if self._handover.is_handed_over():
                        await self._server.close(ANSWER_TIMEOUT)
                    return
            await self._until_may_end()

    async def _until_may_end(self) -> None:
        while not self._may_end():
            await self._notifier.wait_for(self._may_end, EXIT_POLL)

    def _may_end(self) -> bool:
        if self._handover.is_alone():
            return True
        if self._connection.is_registering or self._metrics.pending:
            return False
        if not self._connection.is_open:
            return True
        if self._handover.is_handed_over():
            # The kubelet may call this process again, because a third process has crashed.
            return self._calls.are_over(SWITCHED)
        return self._handover.may_end()

    async def _ensure_end_is_noticed(self) -> None:
        """Make sure that the kubelet will notice the exit of this process.

        Complete a registration in progress: a kubelet that calls back a process that has exited forgets which socket
        has the name, and then does not notice the end of any stream. Register once more if it has already forgotten.
        """
        await self._notifier.wait_for(lambda: not self._connection.is_registering)
        if not self._connection.any_open:
            return
        if self._handover.would_end_unnoticed():
            await self._register_last_time()
        await self._connection.settle()
        while self._connection.is_disconnected and await self._register_last_time():
            await self._connection.settle()

    async def _register_last_time(self) -> bool:
        """Register once more, unless another hub serves the resource; return whether that succeeded."""
        async with self._handover.locked():
            kubelet = self._connection.kubelet()
            # Under the lock: another hub may just have registered, and must not lose the resource again.
            if not (kubelet and self._handover.is_last()):
                return False
            # Before the registration: a hub that serves unnoticed, because its lock was removed, then registers again.
            self._handover.request()
            try:
                error = await self._connection.open(kubelet)
            except OSError as failure:
                error = RegistrationStatus.WAITING, str(failure)
            if error:
                self._log.warning("not registered again", reason=error[1])
            return error is None

"""The DRAPlugin service: claims are prepared before the kubelet starts a pod, and released after its termination."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

import grpc.aio

from hub.base.log import get_logger
from hub.base.statusfile import StatusFile
from hub.kubelet.wire import dra_pb2 as wire
from hub.model.plugin import Rejection
from hub.plugin.dra.allocating import ClaimRejected
from hub.plugin.dra.claimrecord import PreparedDevice
from hub.plugin.dra.preparation import Preparation
from hub.plugin.metrics.process import ProcessMetrics

SERVICES = ("k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin", "k8s.io.kubelet.pkg.apis.dra.v1beta1.DRAPlugin")
"""The names of the service in both versions of the API."""

VERSIONS = ("v1.DRAPlugin", "v1beta1.DRAPlugin")
"""The names of these versions in the registration. The kubelet uses the first version that it can call."""

_UID = re.compile("[0-9A-Za-z-]{1,64}")
"""The uid of a claim, which becomes part of file names."""

_ERROR_CHARACTERS = 4096

T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]


class DraServicer:
    """Answers the kubelet's calls about claims, with an entry for each claim.

    Args:
        preparation: Prepares and releases claims.
        metrics: Measures the calls.
        status: Written after a rejection.

    Attributes:
        rejection: The last claim that was not prepared or not released.
    """

    def __init__(self, preparation: Preparation, metrics: ProcessMetrics, status: StatusFile) -> None:
        self.rejection: Rejection | None = None
        self._preparation = preparation
        self._metrics = metrics
        self._status = status
        self._running: set[asyncio.Task[Any]] = set()
        self._log = get_logger()

    def attach(self, server: grpc.aio.Server) -> None:
        """Add the service to a server, in all versions of the API."""
        methods = {
            "NodePrepareResources": grpc.unary_unary_rpc_method_handler(
                self.prepare,
                request_deserializer=wire.NodePrepareResourcesRequest.FromString,
                response_serializer=wire.NodePrepareResourcesResponse.SerializeToString,
            ),
            "NodeUnprepareResources": grpc.unary_unary_rpc_method_handler(
                self.unprepare,
                request_deserializer=wire.NodeUnprepareResourcesRequest.FromString,
                response_serializer=wire.NodeUnprepareResourcesResponse.SerializeToString,
            ),
        }
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(name, methods) for name in SERVICES])

    async def prepare(
        self, request: wire.NodePrepareResourcesRequest, context: Context
    ) -> wire.NodePrepareResourcesResponse:
        """Prepare each claim of a pod."""
        with self._metrics.call("NodePrepareResources"):
            entries = await self._each(request.claims, context, self._prepare)
        return wire.NodePrepareResourcesResponse(claims=entries)

    async def unprepare(
        self, request: wire.NodeUnprepareResourcesRequest, context: Context
    ) -> wire.NodeUnprepareResourcesResponse:
        """Release each claim of a pod that has terminated."""
        with self._metrics.call("NodeUnprepareResources"):
            entries = await self._each(request.claims, context, self._unprepare)
        return wire.NodeUnprepareResourcesResponse(claims=entries)

    async def finish(self) -> None:
        """Wait for the calls in progress."""
        if self._running:
            await asyncio.wait(self._running)

    async def _each(
        self, claims: Sequence[wire.Claim], context: Context, work: Callable[[wire.Claim], Coroutine[Any, Any, T]]
    ) -> dict[str, T]:
        if not all(_UID.fullmatch(claim.uid) for claim in claims):
            problem = "expected claims with a uid of letters, digits and -"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, problem)
        tasks = {claim.uid: self._begin(work(claim)) for claim in claims}
        # Shielded: a call that the kubelet has given up on is still finished, and its retry finds the result.
        answers = await asyncio.gather(*map(asyncio.shield, tasks.values()))
        return dict(zip(tasks, answers, strict=True))

    def _begin(self, work: Coroutine[Any, Any, T]) -> Awaitable[T]:
        task = asyncio.ensure_future(work)
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _prepare(self, claim: wire.Claim) -> wire.NodePrepareResourceResponse:
        try:
            devices = await self._preparation.prepare(claim.namespace, claim.name, claim.uid)
        except ClaimRejected as error:
            return wire.NodePrepareResourceResponse(error=self._rejected(claim, str(error)))
        except Exception as error:  # noqa: BLE001 - one claim must not fail all claims of a pod
            self._log.exception("claim preparation failed")
            return wire.NodePrepareResourceResponse(error=self._rejected(claim, f"preparation failed: {error!r}"))
        return wire.NodePrepareResourceResponse(devices=[_device(each) for each in devices])

    async def _unprepare(self, claim: wire.Claim) -> wire.NodeUnprepareResourceResponse:
        try:
            await self._preparation.release(claim.uid)
        except OSError as error:
            reason = self._rejected(claim, f"it cannot be released: {error}")
            return wire.NodeUnprepareResourceResponse(error=reason)
        return wire.NodeUnprepareResourceResponse()

    def _rejected(self, claim: wire.Claim, reason: str) -> str:
        text = f"claim {claim.namespace}/{claim.name}: {reason}"[:_ERROR_CHARACTERS]
        count = 1 + (self.rejection.count if self.rejection else 0)
        if not self.rejection or self.rejection.reason != text:
            self._log.warning("claim rejected", reason=text)
        self.rejection = Rejection(text, time.time(), count)
        self._metrics.claim_rejected()
        self._status.mark_changed()
        return text


def _device(device: PreparedDevice) -> wire.Device:
    result = device.result
    return wire.Device(
        request_names=[result.main_request],
        pool_name=result.pool,
        device_name=result.device,
        cdi_device_ids=device.cdi,
        share_id=result.share_id or None,
    )

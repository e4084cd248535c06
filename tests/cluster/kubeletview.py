"""What the kubelet knows about the stub's devices, available sooner than in the node's status."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

import grpc

from hub.kubelet.channel import CHANNEL_OPTIONS
from hub.kubelet.podresources import pod_resources_socket
from hub.kubelet.wire import podresources_pb2 as wire
from tests.cluster.hub import DEVICES, RESOURCE
from tests.cluster.settings import PLUGIN_DIR

_POLL_SECONDS = 0.02
"""The kubelet answers up to a hundred requests a second; this causes fewer."""


def healthy_devices() -> int | None:
    """Return how many of the stub's devices the kubelet can allocate; None if it does not answer."""
    with grpc.insecure_channel(f"unix:{pod_resources_socket(PLUGIN_DIR)}", options=CHANNEL_OPTIONS) as channel:
        call = channel.unary_unary(
            "/v1.PodResourcesLister/GetAllocatableResources",
            request_serializer=wire.AllocatableResourcesRequest.SerializeToString,
            response_deserializer=wire.AllocatableResourcesResponse.FromString,
        )
        try:
            answer = call(wire.AllocatableResourcesRequest(), timeout=1)
        except grpc.RpcError:
            return None
    return sum(len(each.device_ids) for each in answer.devices if each.resource_name == RESOURCE)


class Gap:
    """How long the kubelet lacked devices while the block ran."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._over = threading.Event()
        self._executor = ThreadPoolExecutor()

    def __enter__(self) -> Self:
        self._loop = self._executor.submit(self._watch)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._loop.result()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._over.is_set():
            time.sleep(_POLL_SECONDS)
            count, now = healthy_devices(), time.monotonic()
            if count not in (None, DEVICES):
                self.seconds += now - last
            last = now

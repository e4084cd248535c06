"""Call Allocate N times and print the seconds of each call as JSON: `allocate_client SOCKET DEVICE N`."""

import sys
import time

import grpc
import msgspec

from hub.kubelet.wire.v1beta1_pb2 import AllocateRequest, ContainerAllocateRequest
from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginStub

WARM_UP = 100


def main(socket: str, device: str, count: int) -> list[float]:
    """Return the seconds of each call."""
    request = AllocateRequest(container_requests=[ContainerAllocateRequest(devices_ids=[device])])
    took = []
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        plugin = DevicePluginStub(channel)
        for _ in range(WARM_UP):
            plugin.Allocate(request)
        for _ in range(count):
            begin = time.perf_counter()
            plugin.Allocate(request)
            took.append(time.perf_counter() - begin)
    return took


if __name__ == "__main__":
    sys.stdout.buffer.write(msgspec.json.encode(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))))

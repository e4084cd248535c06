"""Call a plugin as a kubelet does for N containers, and print how many seconds each admission took, as JSON.

    admission_client SOCKET N SIZE DEVICE...

If there is a choice of devices and the plugin has a preference, GetPreferredAllocation is called before Allocate.
"""

import sys
import time
from collections.abc import Sequence

import grpc
import msgspec

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.kubelet.wire.v1beta1_pb2_grpc import DevicePluginStub

WARM_UP = 100


def main(socket: str, count: int, size: int, devices: Sequence[str]) -> list[float]:
    """Return how many seconds each admission took."""
    container = wire.ContainerPreferredAllocationRequest(available_deviceIDs=devices, allocation_size=size)
    preference = wire.PreferredAllocationRequest(container_requests=[container])
    took = []
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        plugin = DevicePluginStub(channel)
        options = plugin.GetDevicePluginOptions(wire.Empty())
        has_choice = options.get_preferred_allocation_available and size < len(devices)
        for _ in range(WARM_UP + count):
            begin = time.perf_counter()
            chosen: Sequence[str] = devices[:size]
            if has_choice:
                chosen = plugin.GetPreferredAllocation(preference).container_responses[0].deviceIDs
            request = wire.ContainerAllocateRequest(devices_ids=chosen)
            plugin.Allocate(wire.AllocateRequest(container_requests=[request]))
            took.append(time.perf_counter() - begin)
    return took[WARM_UP:]


if __name__ == "__main__":
    _, socket, count, size, *devices = sys.argv
    sys.stdout.buffer.write(msgspec.json.encode(main(socket, int(count), int(size), devices)))

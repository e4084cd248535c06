"""A kubelet without a cluster: its side of the device plugin API, for tests and demos.

It listens on a real socket, connects to real plugins, and behaves like the kubelet's device manager
(kubernetes, pkg/kubelet/cm/devicemanager, version 1.36, optionally 1.37), including its pitfalls. Random scripts in
tests/differential compare it with real ones. What differs on purpose:

- Among devices that are equally good, and among the resources of a container, it takes the first; a real kubelet takes
  any of them.
- It rejects a pod that requests an unknown resource. A real kubelet ignores the resource: a scheduler would not have
  chosen the node.
- It rejects a plugin whose endpoint is not the name of a file, or is a link. A real kubelet dials any endpoint.
- A pod is known by its namespace and name, and has no UID.
- Its checkpoint has no checksum, and does not contain pods that were removed.
- A container that was admitted before its plugin had sent a list starts without devices, each time. A real kubelet
  allocates them when the container starts again, or fails if the plugin requires a call beforehand.
- A device that leaves the list while its Allocate is running is allocated. A real kubelet, 1.34 to 1.37, crashes: a nil
  pointer in allocateContainerResources.
- If a plugin dies while the kubelet waits for it, the next call fails: its endpoint has been stopped. A real kubelet
  may also report that the connection was lost.
- Pods are not admitted again after a restart. A real kubelet does that, and 1.34 to 1.37 crash if a device that a pod
  holds is not in the list: a nil pointer in generateDeviceTopologyHints.
- A registration fails if the plugin gives up before it is answered, as from 1.35 on; 1.34 completes it.

    async with FakeKubelet(plugin_dir) as kubelet:
        await kubelet.wait_for("example.com/stub", allocatable=4)
        pod = await kubelet.admit("trainer", {"example.com/stub": 2})
        pod.containers["main"].response.envs
"""

from hub.testing.kubelet.kubelet import FakeKubelet
from hub.testing.kubelet.model import (
    AdmissionError,
    AdvertisedDevice,
    Capacity,
    Container,
    ContainerDevice,
    ContainerMount,
    ContainerResponse,
    ContainerStartError,
    ListUpdate,
    Pod,
    Registered,
)

__all__ = [
    "AdmissionError",
    "AdvertisedDevice",
    "Capacity",
    "Container",
    "ContainerDevice",
    "ContainerMount",
    "ContainerResponse",
    "ContainerStartError",
    "FakeKubelet",
    "ListUpdate",
    "Pod",
    "Registered",
]

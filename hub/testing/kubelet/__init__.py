"""A kubelet without a cluster: the device manager's side of the device plugin API, for tests and trials.

It listens on a real socket, dials real plugins, and does what the kubelet's device manager does
(kubernetes, pkg/kubelet/cm/devicemanager, version 1.36), the traps included.

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

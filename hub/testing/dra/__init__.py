"""The DRA side of a fake kubelet: dynamic resource allocation, for tests and demos.

It finds drivers by their sockets in plugins_registry, connects to them, prepares and unprepares the claims of pods,
reads health streams, keeps its checkpoint, and deletes ResourceSlices as a kubelet does (kubernetes, pkg/kubelet/cm/dra
and pkg/kubelet/pluginmanager, versions 1.36 and 1.37), including its pitfalls. Random scripts in tests/differential/dra
compare it with real ones. What differs on purpose:

- Where a kubelet has no fixed order, for the sockets that it finds when it starts and for a pod's drivers, they are
  sorted by name (or in reverse, with `registers_in_reverse`).
- It can call any API server, but it always has permission to delete slices.
- The test chooses the UID and the claims of a pod; pods are not read from the API.
- The file of its health cache has a different format.

    kubelet = DraKubelet(root / "device-plugins", DraOptions("node-1", server.url, server.kubelet_token("node-1")))
    async with kubelet:
        await kubelet.wait_for_driver("gpu.example.com")
        cdi = await kubelet.run(ClaimPod("trainer", uid, {"gpu": "trainer-gpu"}, {"main": [ClaimUse("gpu")]}))
"""

from hub.testing.dra.kubelet import DraKubelet
from hub.testing.dra.model import (
    ClaimPod,
    ClaimUse,
    DeviceHealth,
    DraError,
    DraOptions,
    DriverRegistration,
    ExtendedUse,
    PodEvent,
)

__all__ = [
    "ClaimPod",
    "ClaimUse",
    "DeviceHealth",
    "DraError",
    "DraKubelet",
    "DraOptions",
    "DriverRegistration",
    "ExtendedUse",
    "PodEvent",
]

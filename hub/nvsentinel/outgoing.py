"""What is reported to NVSentinel: for each physical device, whether it can be used.

NVSentinel keeps these events and never acts on them: a fault in one device must not drain a node.
"""

import time

from hub.model.node import NodeStatus
from hub.model.plugin import NO_FAULT_SOURCES, DeviceStatus
from hub.nvsentinel.wire import STORE_ONLY, Entity, HealthEvent
from hub.status.lookup import Key, known_devices

AGENT = "device-plugin-hub"

CHECK = "DphubDeviceHealth"

NVSENTINEL = "nvsentinel"
"""The program that reports what NVSentinel has found, see `hub.nvsentinel.incoming`."""

_COMPONENTS = {"gpu": "GPU", "amd": "GPU", "intel": "GPU", "ib": "NIC"}
"""The kinds of hardware, by plugin, in NVSentinel's words."""


def device_events(status: NodeStatus, node: str) -> dict[Key, HealthEvent]:
    """Return an event for each physical device that is certainly healthy, or unhealthy by the hub's own judgement.

    Args:
        status: The status of the node.
        node: The node's name.
    """
    shares: dict[Key, list[DeviceStatus]] = {}
    for known in known_devices(status):
        shares.setdefault(known.key, []).append(known.device)
    found = {key: _event(key, devices, node) for key, devices in shares.items()}
    return {key: event for key, event in found.items() if event}


def _event(key: Key, shares: list[DeviceStatus], node: str) -> HealthEvent | None:
    """Return the event about a device; None if it is recovering, or only NVSentinel itself considers it unhealthy."""
    faulty = [each for each in shares if not each.healthy and each.source not in NO_FAULT_SOURCES]
    own = next((each for each in faulty if each.health == "unhealthy" and not _is_from_nvsentinel(each)), None)
    if faulty and own is None:
        return None
    plugin, name = key
    return HealthEvent(
        check=CHECK,
        is_healthy=own is None,
        message=own.reason if own else "the device can be used",
        entities=_entities(name, shares[0]),
        strategy=STORE_ONLY,
        node=node,
        agent=AGENT,
        component=_COMPONENTS.get(plugin, plugin),
        time=own.since if own else time.time(),
    )


def _is_from_nvsentinel(device: DeviceStatus) -> bool:
    return device.source == "external" and device.reporters == (NVSENTINEL,)


def _entities(name: str, device: DeviceStatus) -> list[Entity]:
    uuid = [Entity("GPU_UUID", name)] if name.startswith("GPU-") else []
    return [*uuid, *(Entity("PCI", address) for address in device.pci)] or [Entity("DEVICE", name)]

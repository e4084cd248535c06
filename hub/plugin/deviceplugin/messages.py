"""From what a plugin offers to what a kubelet can be sent."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self

import msgspec

from hub.api.device import Device
from hub.kubelet.wire.v1beta1_pb2 import Device as WireDevice
from hub.kubelet.wire.v1beta1_pb2 import ListAndWatchResponse
from hub.plugin.devices.validation import validate_device

MESSAGE_BYTES = 4 * 1024 * 1024
"""The longest message that the kubelet's gRPC client receives (grpc-go's default)."""

HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"
"""What `Device.health` says on the wire."""

PROBLEMS = 16
"""The most problems that are told one by one; what many devices have wrong is wrong with all of them."""

# Each device is one field of the list: a tag of one byte, and a length of at most three below 4 MiB. And a list that
# fits has to fit when all devices in it are unhealthy.
_FRAME_BYTES = 4 + len(UNHEALTHY) - len(HEALTHY)


class Snapshot(msgspec.Struct, frozen=True):
    """What one resource advertises at one moment."""

    devices: Mapping[str, Device] = {}
    message: ListAndWatchResponse = ListAndWatchResponse()
    reason: str = ""
    """Why there is no device, or none that can be trusted."""
    problems: tuple[str, ...] = ()
    """What was left out because no kubelet would take it."""
    warnings: tuple[str, ...] = ()
    """What will go wrong with devices that are advertised."""

    @classmethod
    def of(cls, offered: Iterable[Device], where: str = "") -> Self:
        """Check what a plugin offers and keep what a kubelet can be sent.

        Args:
            offered: The devices.
            where: The code that offers them, for the problems.
        """
        devices: dict[str, Device] = {}
        message = ListAndWatchResponse()
        problems: list[str] = []
        room = MESSAGE_BYTES
        crowded_out = 0
        for device in offered:
            if problem := validate_device(device, devices):
                problems.append(f"{problem}; see devices() at {where}" if where else problem)
                continue
            encoded = _encode(device)
            room -= encoded.ByteSize() + _FRAME_BYTES
            if room < 0:
                crowded_out += 1
                continue
            devices[device.id] = device
            message.devices.append(encoded)
        told = _summary(problems, "devices have such problems")
        if crowded_out:
            told.append(f"{crowded_out} devices left out: the list would pass the kubelet's {MESSAGE_BYTES} bytes")
        return cls(devices, message, problems=tuple(told))

    def all_unhealthy(self, reason: str) -> Self:
        """The same devices, none of them healthy: those that were are not for this reason."""
        devices = {
            name: device if device.unhealthy else msgspec.structs.replace(device, unhealthy=reason)
            for name, device in self.devices.items()
        }
        message = ListAndWatchResponse()
        message.CopyFrom(self.message)
        for device in message.devices:
            device.health = UNHEALTHY
        return msgspec.structs.replace(self, devices=devices, message=message, reason=reason)

    def noting(self, warnings: Sequence[str]) -> Self:
        """The same devices, with what will go wrong with them."""
        return msgspec.structs.replace(self, warnings=tuple(_summary(warnings, "files are missing")))

    def judged(self, fault_of: Callable[[Device], str]) -> Self:
        """The same devices, each as healthy as a judge says."""
        faults = {name: fault_of(device) for name, device in self.devices.items()}
        if all(faults[name] == device.unhealthy for name, device in self.devices.items()):
            return self
        devices = {
            name: msgspec.structs.replace(device, unhealthy=faults[name]) for name, device in self.devices.items()
        }
        message = ListAndWatchResponse(devices=[_encode(device) for device in devices.values()])
        return msgspec.structs.replace(self, devices=devices, message=message)

    def same_for_kubelet(self, other: "Snapshot") -> bool:
        """Whether a kubelet would see no difference, for which the order of the devices does not count."""
        return self.message == other.message or _unordered(self.message) == _unordered(other.message)


def _encode(device: Device) -> WireDevice:
    encoded = WireDevice(ID=device.id, health=UNHEALTHY if device.unhealthy else HEALTHY)
    for node in device.numa:
        encoded.topology.nodes.add(ID=node)
    return encoded


def _unordered(message: ListAndWatchResponse) -> set[bytes]:
    return {device.SerializeToString() for device in message.devices}


def _summary(problems: Sequence[str], of_many: str) -> list[str]:
    more = len(problems) - PROBLEMS
    return [*problems[:PROBLEMS], *([f"{more} more {of_many}"] if more > 0 else [])]

"""From what a plugin offers to what a kubelet can be sent: checks before the wire, and the message itself."""

import re
from collections.abc import Collection, Container, Iterable, Mapping
from typing import Self

import msgspec

from hub.kubelet.v1beta1_pb2 import Device as WireDevice
from hub.kubelet.v1beta1_pb2 import ListAndWatchResponse
from hub.plugin.contract import Device

MESSAGE_BYTES = 4 * 1024 * 1024
"""The longest message that the kubelet's gRPC client receives (grpc-go's default)."""

ID_CHARACTERS = 63
"""The longest device id (the comment on `Device.ID` in the kubelet's API)."""

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DOMAIN = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")
# Each device is one field of the list: a tag of one byte, and a length of at most three below 4 MiB.
_FRAME_BYTES = 4


class Snapshot(msgspec.Struct, frozen=True):
    """What one resource advertises at one moment."""

    devices: Mapping[str, Device] = {}
    message: ListAndWatchResponse = ListAndWatchResponse()
    reason: str = ""
    """Why there is no device."""
    problems: tuple[str, ...] = ()
    """What was left out because no kubelet would take it."""

    @classmethod
    def of(cls, offered: Iterable[Device], reason: str = "") -> Self:
        """Check what a plugin offers and keep what a kubelet can be sent."""
        devices: dict[str, Device] = {}
        wire: list[WireDevice] = []
        problems: list[str] = []
        room = MESSAGE_BYTES
        crowded_out = 0
        for device in offered:
            if problem := _problem(device, devices):
                problems.append(problem)
                continue
            encoded = _encode(device)
            room -= encoded.ByteSize() + _FRAME_BYTES
            if room < 0:
                crowded_out += 1
                continue
            devices[device.id] = device
            wire.append(encoded)
        if crowded_out:
            problems.append(f"{crowded_out} devices left out: the list would pass the kubelet's {MESSAGE_BYTES} bytes")
        return cls(devices, ListAndWatchResponse(devices=wire), reason, tuple(problems))

    def distrusted(self, reason: str) -> Self:
        """The same devices, none of them healthy, for one reason."""
        devices = (
            device if device.unhealthy else msgspec.structs.replace(device, unhealthy=reason)
            for device in self.devices.values()
        )
        return msgspec.structs.replace(type(self).of(devices), reason=reason, problems=self.problems)


def resource_problem(name: str) -> str:
    """Why a kubelet would refuse a resource name, or nothing.

    The rules are those of extended resource names in Kubernetes (`IsExtendedResourceName`): a domain that is not
    kubernetes.io, a slash, a name of at most 63 characters; with "requests." before it the whole is still a qualified
    name, whose domain may have 253 characters.
    """
    domain, slash, short = name.partition("/")
    if not slash:
        return f'resource "{name}" needs a domain before a slash, like example.com/{name or "name"}'
    if domain.endswith("kubernetes.io"):
        return f'resource "{name}": the domain kubernetes.io is reserved'
    if not _DOMAIN.fullmatch(domain) or len(f"requests.{domain}") > 253:  # noqa: PLR2004 - said in the docstring
        return f'resource "{name}": "{domain}" is no domain name in lower case'
    if not _NAME.fullmatch(short) or len(short) > 63:  # noqa: PLR2004 - said in the docstring
        return (
            f'resource "{name}": "{short}" is not 1 to 63 letters, digits, "-", "_" or ".", beginning and ending plain'
        )
    if name.startswith("requests."):
        return f'resource "{name}": the prefix "requests." belongs to quotas'
    return ""


def _problem(device: object, known: Container[str]) -> str:
    """Why a device cannot be advertised, or nothing. A plugin is foreign code: even types are not taken for granted."""
    if not isinstance(device, Device):
        return f"{device!r} is no hub.Device"
    if problem := _id_problem(device.id):
        return f"device {device.id!r}: {problem}"
    if device.id in known:
        return f"device {device.id!r} is offered twice"
    reason: object = device.unhealthy
    if not isinstance(reason, str):
        return f"device {device.id!r}: unhealthy is {reason!r}, expected the reason as a text"
    numa: object = device.numa
    if not isinstance(numa, Collection) or not all(_is_numa_node(node) for node in numa):
        return f"device {device.id!r}: numa is {numa!r}, expected nodes from 0 on (none when it is unknown)"
    return ""


def _id_problem(name: object) -> str:
    if not isinstance(name, str) or not name:
        return "the id is no text or is empty"
    if len(name) > ID_CHARACTERS:
        return f"the id has {len(name)} characters, at most {ID_CHARACTERS} are allowed"
    return "" if name.isprintable() else "the id has characters that cannot be printed"


def _is_numa_node(node: object) -> bool:
    return isinstance(node, int) and 0 <= node < 2**63


def _encode(device: Device) -> WireDevice:
    encoded = WireDevice(ID=device.id, health="Unhealthy" if device.unhealthy else "Healthy")
    for node in device.numa:
        encoded.topology.nodes.add(ID=node)
    return encoded

"""Query xpumd, the daemon of Intel's XPU Manager, for the health of GPUs.

Its API is in xpumd/exporter/intelxpuinfo/api/deviceinfo/v1alpha1 of https://github.com/intel/xpumanager.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from enum import IntEnum
from pathlib import Path
from typing import NamedTuple

from hub import ServiceError, call_service, message_fields

METHOD = "/deviceinfo.DeviceInfo/WatchDeviceHealth"
"""The method; its first message contains what xpumd knows now."""

_DEVICES, _INFO, _HEALTH, _PCI, _BDF = 1, 1, 2, 3, 1
_NAME, _SEVERITY, _REASON = 1, 2, 3
"""The numbers of fields."""

_WORDS = re.compile("[A-Za-z0-9_.: -]{1,60}")

Fields = dict[int, list[int | bytes]]


class Severity(IntEnum):
    """How bad the state of a part is."""

    UNKNOWN = 0
    OK = 1
    WARNING = 2
    CRITICAL = 3
    FAILED = 4


class Part(NamedTuple):
    """The state of a part of a GPU, such as its memory."""

    name: str
    severity: Severity
    reason: str
    """One word such as "HighTemperature"."""


def read_health(socket: Path) -> dict[str, list[Part]]:
    """Return the states of the parts of all GPUs that xpumd knows, by PCI address.

    Raises:
        ServiceError: xpumd does not respond, or the response is invalid.
    """
    return parse_health(call_service(socket, METHOD))


def parse_health(response: bytes) -> dict[str, list[Part]]:
    """Return the states in a response. An error in the data of one GPU affects only that GPU.

    Raises:
        ServiceError: the response is not a message.
    """
    found = {}
    for device in _messages(message_fields(response), _DEVICES):
        # A device without a PCI address is not a GPU in this node.
        if pci := _address(device):
            found[pci] = [_read_part(part) for part in _messages(device, _HEALTH)]
    return found


def _address(device: Fields) -> str:
    addresses = (_text(pci, _BDF) for info in _messages(device, _INFO) for pci in _messages(info, _PCI))
    return next(addresses, "").lower()


def _read_part(part: Fields) -> Part:
    severity = part.get(_SEVERITY, [0])[-1]
    known = Severity(severity) if severity in list(Severity) else Severity.UNKNOWN
    return Part(_text(part, _NAME) or "a part", known, _text(part, _REASON))


def _messages(fields: Fields, number: int) -> Iterator[Fields]:
    for content in fields.get(number, ()):
        with suppress(ServiceError):
            if isinstance(content, bytes):
                yield message_fields(content)


def _text(fields: Fields, number: int) -> str:
    """Return a field as text; empty if it is missing, or does not consist of plain words."""
    content = fields.get(number, [b""])[-1]
    text = content.decode(errors="replace") if isinstance(content, bytes) else ""
    return text if _WORDS.fullmatch(text) else ""

"""What plugins report as wrong with devices that can be used."""

from collections.abc import Iterable

from hub.api.device import Device
from hub.base.failures import one_line
from hub.base.wording import first_of

_MAX_NAMES = 4


def device_warnings(devices: Iterable[Device]) -> list[str]:
    """Return one warning for all devices whose warnings are the same; the shares of a physical device count as one.

    Args:
        devices: Valid devices.
    """
    names: dict[str, dict[str, None]] = {}
    for device in devices:
        if device.warning:
            names.setdefault(one_line(device.warning), {})[device.physical or device.id] = None
    return [f"{first_of(list(found), _MAX_NAMES)}: {warning}" for warning, found in names.items()]

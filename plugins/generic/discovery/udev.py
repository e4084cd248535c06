"""What udev has recorded about devices: its files below /run, which a pod must mount."""

from collections.abc import Mapping

from hub import Host, UnreadableError, read_text
from plugins.generic.discovery.sysfs import SysDevice

DATABASE = "/run/udev/data"


def udev_properties(host: Host, device: SysDevice) -> Mapping[str, str]:
    """Return what the kernel announces about a device, and what udev has added, such as ID_SERIAL."""
    try:
        lines = read_text(host.path(DATABASE) / _file_name(device), errors="replace").splitlines()
    except UnreadableError:
        return device.properties
    added = (line.removeprefix("E:").partition("=") for line in lines if line.startswith("E:"))
    return {**device.properties, **{name: value for name, found, value in added if found}}


def _file_name(device: SysDevice) -> str:
    """Return the name of a device's file: its number, that of its network interface, or its subsystem and name."""
    if device.text("dev"):
        return ("b" if device.subsystem == "block" else "c") + device.text("dev")
    if device.subsystem == "net" and device.text("ifindex"):
        return f"n{device.text('ifindex')}"
    return f"+{device.subsystem}:{device.name}"

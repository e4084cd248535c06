"""Keys that identify devices in health records, across all resources of a plugin."""

from hub.api.device import Device


def share_key(resource: str, device: Device) -> str:
    """Return the key of one advertised device: an id is unique only within its resource."""
    return f"{resource} {device.id}"


def physical_key(resource: str, device: Device) -> str:
    """Return the key of the physical device, which may have shares in several resources."""
    return device.physical or share_key(resource, device)

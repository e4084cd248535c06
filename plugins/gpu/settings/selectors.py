"""Selectors of GPUs and MIG devices in a configuration: index, UUID or PCI address."""

import re

from plugins.gpu.discovery.facts import Gpu, MigDevice

_HEX = "[0-9a-fA-F]"
_UUID = f"{_HEX}{{8}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{4}}-{_HEX}{{12}}"
_FORMS = {
    "index": r"[0-9]+",
    "MIG index": r"[0-9]+:[0-9]+",
    "UUID": rf"GPU-{_UUID}|MIG-{_UUID}|MIG-GPU-{_UUID}/[0-9]+/[0-9]+",
    "PCI address": rf"({_HEX}{{4,8}}:)?{_HEX}{{2}}:{_HEX}{{2}}\.[0-7]",
}


def check_selector(selector: str | int, *, pci: bool) -> None:
    """Check that a selector has a valid form.

    Args:
        selector: The selector in a file.
        pci: Whether PCI addresses are allowed; NVIDIA's keys do not accept them.

    Raises:
        ValueError: it has no valid form.
    """
    forms = {kind: form for kind, form in _FORMS.items() if pci or kind != "PCI address"}
    if not any(re.fullmatch(form, str(selector)) for form in forms.values()):
        raise ValueError(f'"{selector}" cannot name a device, expected one of: {", ".join(forms)}')


def selects(selector: str | int, gpu: Gpu, mig: MigDevice | None = None) -> bool:
    """Return whether a selector names a MIG device, or a GPU if no MIG device is given."""
    name = str(selector)
    if mig is not None:
        return name in {
            mig.uuid,
            f"{gpu.index}:{mig.index}",
            f"MIG-{gpu.uuid}/{mig.gpu_instance}/{mig.compute_instance}",
        }
    return name in {gpu.uuid, str(gpu.index)} or _pci(name) == gpu.pci


def _pci(address: str) -> str:
    """Convert a PCI address to sysfs's form; NVIDIA's tools write eight domain digits in upper case, or none."""
    domain, _, rest = address.lower().rpartition(":")[0].rpartition(":")
    bus, _, slot = address.lower().rpartition(":")
    return f"{domain[-4:].rjust(4, '0')}:{rest or bus}:{slot}"

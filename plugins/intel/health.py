"""Decide from the temperatures of a GPU whether it can be used."""

from collections.abc import Iterable

from hub import Host
from plugins.intel.discovery.gpus import Gpu, read_temperatures
from plugins.intel.settings import IntelSettings

PACKAGE, MEMORY = "pkg", "vram"
"""The beginnings of the names of a GPU's own temperature, and of those of its memory."""

Temperatures = Iterable[tuple[str, float]]


class Thermometers:
    """Compares the temperatures of GPUs with the limits of the settings.

    Args:
        host: The node's file system.
        settings: The settings; without `health-management`, nothing is read, since that would wake up idle GPUs.
    """

    def __init__(self, host: Host, settings: IntelSettings) -> None:
        self._host = host
        self._settings = settings
        self._silent: list[str] = []

    def faults(self, gpus: Iterable[Gpu]) -> dict[str, str]:
        """Return why GPUs are too hot, by PCI address; others are not in it."""
        if not self._settings.health_management:
            return {}
        found = {gpu.pci: read_temperatures(self._host, gpu) for gpu in gpus}
        self._silent = [pci for pci, temperatures in found.items() if not temperatures]
        faults = {pci: excess(temperatures, self._settings) for pci, temperatures in found.items()}
        return {pci: fault for pci, fault in faults.items() if fault}

    def notes(self) -> Iterable[str]:
        """Name the GPUs whose health is not known, as of the last call of `faults`."""
        if self._silent:
            yield f"health-management: the kernel shows no temperature of {', '.join(self._silent)}"


def excess(temperatures: Temperatures, settings: IntelSettings) -> str:
    """Return which temperatures exceed which limits; empty if none does."""
    limits = (
        ("", "temp-limit", settings.temp_limit),
        (PACKAGE, "gpu-temp-limit", settings.gpu_temp_limit),
        (MEMORY, "memory-temp-limit", settings.memory_temp_limit),
    )
    exceeded = {}
    for name, celsius in temperatures:
        for beginning, key, limit in limits:
            if name.startswith(beginning) and celsius > limit:
                # Without the temperature itself: a reason that changes with each scan would be logged each time.
                exceeded[name] = f"the temperature of {name} is above {key} ({limit} °C)"
    return "; ".join(exceeded.values())

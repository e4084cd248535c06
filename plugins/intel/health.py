"""Decide from the temperatures of a GPU, or from what xpumd says about it, whether it can be used."""

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

from hub import Host, ServiceError
from plugins.intel.discovery.gpus import Gpu, read_temperatures
from plugins.intel.discovery.xpumd import Part, Severity, read_health
from plugins.intel.settings import IntelSettings, XpumdSeverity

PACKAGE, MEMORY = "pkg", "vram"
"""The name prefixes of a GPU's own temperatures and of its memory's."""

VALID_FOR = 60.0
"""Seconds for which a report by xpumd stays in effect: xpumd may be restarted, and a response may omit GPUs."""

_LEAST = {
    XpumdSeverity.WARNING: Severity.WARNING,
    XpumdSeverity.CRITICAL: Severity.CRITICAL,
    XpumdSeverity.FAILED: Severity.FAILED,
}

Temperatures = Iterable[tuple[str, float]]


class Health(NamedTuple):
    """The health of a GPU."""

    fault: str = ""
    """Why it cannot be used; empty if it can."""
    warning: str = ""
    """What is wrong with it although it can be used."""


class HealthSource(Protocol):
    """A source of information about the health of GPUs."""

    def read(self, gpus: Sequence[Gpu]) -> Mapping[str, Health]:
        """Return the health of GPUs, by PCI address; GPUs without an entry are healthy."""

    def notes(self) -> Iterable[str]:
        """Name the GPUs whose health is not known, as of the last call of `read`."""


def health_source(host: Host, settings: IntelSettings) -> HealthSource:
    """Return the source that the settings choose.

    Args:
        host: The node's file system.
        settings: The settings.
    """
    if settings.xpumd_endpoint:
        return Xpumd(host, settings)
    return Thermometers(host, settings)


class Thermometers:
    """A health source that compares the temperatures of GPUs with the limits in the settings.

    Args:
        host: The node's file system.
        settings: The settings; without `health-management`, nothing is read, since that would wake up idle GPUs.
    """

    def __init__(self, host: Host, settings: IntelSettings) -> None:
        self._host = host
        self._settings = settings
        self._unreported: list[str] = []

    def read(self, gpus: Sequence[Gpu]) -> Mapping[str, Health]:
        """Return the health of GPUs: those that are too hot cannot be used."""
        if not self._settings.health_management:
            return {}
        found = {gpu.pci: read_temperatures(self._host, gpu) for gpu in gpus}
        self._unreported = [pci for pci, temperatures in found.items() if not temperatures]
        return {pci: Health(excess(temperatures, self._settings)) for pci, temperatures in found.items()}

    def notes(self) -> Iterable[str]:
        """Name the GPUs whose temperatures are not known."""
        if self._unreported:
            yield f"health-management: the kernel does not report a temperature for {', '.join(self._unreported)}"


class Xpumd:
    """A health source that queries xpumd.

    Args:
        host: The node's file system.
        settings: The settings.
    """

    def __init__(self, host: Host, settings: IntelSettings) -> None:
        self._socket = host.path(settings.xpumd_endpoint)
        self._least = _LEAST[settings.xpumd_severity]
        self._known: dict[str, tuple[float, Sequence[Part]]] = {}
        self._problem = ""
        self._unreported: list[str] = []

    def read(self, gpus: Sequence[Gpu]) -> Mapping[str, Health]:
        """Return what xpumd says about these GPUs, or said within the last minute."""
        now = time.monotonic()
        said = self._ask()
        known = {gpu.pci: (now, said[gpu.pci]) if gpu.pci in said else self._known.get(gpu.pci) for gpu in gpus}
        self._known = {pci: each for pci, each in known.items() if each and now - each[0] <= VALID_FOR}
        self._unreported = [pci for pci in known if pci not in self._known]
        return {pci: judge(parts, self._least) for pci, (_, parts) in self._known.items()}

    def notes(self) -> Iterable[str]:
        """Name the GPUs whose health is not known, and say why."""
        if self._unreported:
            why = self._problem or "xpumd does not report the health of these GPUs"
            yield f"xpumd-endpoint: assumed to be healthy: {', '.join(self._unreported)}: {why}"

    def _ask(self) -> Mapping[str, Sequence[Part]]:
        self._problem = ""
        try:
            return read_health(self._socket)
        except ServiceError as error:
            self._problem = str(error)
            return {}


def judge(parts: Iterable[Part], min_severity: Severity) -> Health:
    """Return the health of a GPU with parts in these states; from this severity on, it cannot be used."""
    bad = [part for part in parts if part.severity >= Severity.WARNING]
    return Health(
        _described(part for part in bad if part.severity >= min_severity),
        _described(part for part in bad if part.severity < min_severity),
    )


def _described(parts: Iterable[Part]) -> str:
    """Return the states of parts as text, each once: those of the same part of several tiles are often the same."""
    reasons = ((part, f" ({part.reason})" if part.reason else "") for part in parts)
    texts = (f"xpumd reports {part.name}: {part.severity.name.lower()}{reason}" for part, reason in reasons)
    return "; ".join(dict.fromkeys(texts))


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

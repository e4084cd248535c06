"""The agent's configuration file."""

from enum import StrEnum
from typing import Annotated

import msgspec

from hub.api.plugin import Settings

AGENT = "agent"
"""The name of the agent's lock, and of its file on the node."""

ConditionType = Annotated[
    str,
    msgspec.Meta(
        # Kubernetes acts on its own conditions, which the agent must not replace.
        pattern=r"^(?!(Ready|MemoryPressure|DiskPressure|PIDPressure|NetworkUnavailable)$)"
        r"([A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$|^$",
        extra={"expected": "the type of a condition, such as GPUDevicesHealthy, and not one of the kubelet's"},
    ),
]
TaintKey = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?$|^$",
        extra={"expected": "the key of a taint, such as dphub.dev/devices"},
    ),
]

_NAMES = {"gpu": "GPU", "ib": "RDMA", "amd": "AMDGPU", "intel": "IntelGPU"}
"""How the types of conditions name the plugins that come with the hub."""


class Meaning(StrEnum):
    """What the status True of a condition means."""

    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class AgentSettings(Settings, frozen=True):
    """The whole file."""

    events: bool = True
    """Whether each change in a device's health is reported as an event, on the node and on the pod that uses the
    device."""
    conditions: bool = True
    """Whether the node has a condition for each plugin."""
    condition_types: dict[str, ConditionType] = {}  # noqa: RUF012 - msgspec copies it
    """The types of the conditions, by plugin; empty for no condition. By default `GPUDevicesHealthy` for `gpu`, and so
    on; `GPUDevicesUnhealthy` if `condition_true_means` is `unhealthy`."""
    condition_true_means: Meaning = Meaning.HEALTHY
    """What the status `True` means: `healthy`, as for the node readiness controller, or `unhealthy`, as for
    node-problem-detector."""
    cordons: bool = True
    """Whether the node's annotation `dphub.dev/cordon` cordons devices, and `dphub.dev/cordoned` lists all cordoned
    devices."""
    startup_taint: TaintKey = ""
    """The key of the taint that is removed once the devices can be allocated; empty if there is none."""
    startup_resources: tuple[str, ...] = ()
    """The resources that the removal of the startup taint waits for; by default those of all plugins that start with
    the hub."""

    def condition_type(self, plugin: str) -> str:
        """Return the type of a plugin's condition; empty if it has none."""
        known = self.condition_types.get(plugin)
        if known is not None:
            return known
        words = "".join(part[:1].upper() + part[1:] for part in plugin.replace("_", "-").replace(".", "-").split("-"))
        return f"{_NAMES.get(plugin, words)}Devices{self.condition_true_means.capitalize()}"

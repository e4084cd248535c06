"""The AMD plugin's configuration: the options of ROCm's device plugin, and additional ones."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated

import msgspec

from hub import ConfigError, Settings

DEVICE_COUNT = "AMD_GPU_DEVICE_COUNT"
"""The environment variable that overrides `gpu.device_count`."""

MAX_SHARES = 1000

Hex = Annotated[str, msgspec.Meta(pattern="^(0x)?[0-9a-fA-F]{4}$", extra={"expected": "four hexadecimal digits"})]
Gibibytes = Annotated[float, msgspec.Meta(ge=0)]
Resource = Annotated[
    str,
    msgspec.Meta(
        pattern="^[a-z0-9.-]+/[A-Za-z0-9][A-Za-z0-9_.-]*$", extra={"expected": "a resource name such as amd.com/gpu"}
    ),
]
Shares = Annotated[int, msgspec.Meta(ge=1, le=MAX_SHARES)]


class NamingStrategy(StrEnum):
    """How the resources of GPUs are named."""

    SINGLE = "single"
    """All of them as amd.com/gpu."""
    MIXED = "mixed"
    """By the partition modes, such as amd.com/cpx_nps4; as amd.com/gpu if a GPU cannot be partitioned."""


class Selector(Settings, frozen=True):
    """A selector of GPUs: one entry of each list must match, and what is not set is ignored."""

    products: tuple[str, ...] = ()
    """Product names as in the label `amd.com/gpu.product-name`; `*` stands for any characters."""
    device_ids: tuple[Hex, ...] = ()
    """PCI device IDs, such as "74a1"."""
    pci_addresses: tuple[str, ...] = ()
    """PCI addresses of cards, such as "0000:05:00.0"."""
    modes: tuple[str, ...] = ()
    """Partition modes, such as "cpx_nps4"."""
    min_vram: Gibibytes | None = None
    """Minimum memory of a GPU or partition, in GiB."""
    max_vram: Gibibytes | None = None
    """Maximum memory, in GiB: integrated GPUs have little."""

    @property
    def empty(self) -> bool:
        """Whether the selector would select all GPUs."""
        return self == type(self)()


class NamedResource(Settings, frozen=True):
    """GPUs with a resource of their own."""

    name: Resource
    """The full name of the resource, such as "example.com/mi300x"."""
    select: Selector
    """The GPUs; each belongs to the first resource that selects it."""
    shares: Shares | None = None
    """How many containers can share one GPU; defaults to the top-level key `shares`."""


class GpuCount(Settings, frozen=True):
    """`gpu`."""

    device_count: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """How many cards are served, in PCI address order; by default all."""


class HealthRules(Settings, frozen=True):
    """When a GPU counts as unhealthy."""

    exporter: Annotated[str, msgspec.Meta(pattern="^(/.*)?$", extra={"expected": "an absolute path"})] = (
        "/var/lib/amd-metrics-exporter/amdgpu_device_metrics_exporter_grpc.socket"
    )
    """The socket on which AMD's metrics exporter reports the health of GPUs. If it does not exist, or this is empty, no
    report counts."""
    interval: Annotated[float, msgspec.Meta(ge=1, le=86_400)] = 10
    """Seconds between requests to the exporter."""
    unhealthy_after: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 30
    """Seconds for which the exporter must report a GPU as unhealthy before it counts as unhealthy."""
    stable_for: Annotated[float, msgspec.Meta(ge=0, le=86_400)] = 60
    """Seconds without a fault before a GPU is healthy again."""


class ResetCheck(Settings, frozen=True):
    """Whether a container has to wait until no other process holds memory on its GPU."""

    check: bool = True
    """Whether GPUs are checked; shared ones never are."""
    timeout: Annotated[float, msgspec.Meta(ge=0, le=20)] = 10
    """Seconds to wait for processes to exit before the container is refused."""
    memory_slack: Annotated[int, msgspec.Meta(ge=0, le=1 << 20)] = 0
    """MiB that a process may hold without keeping the container from starting."""


class AMDSettings(Settings, frozen=True):
    """The whole file."""

    resource_naming_strategy: NamingStrategy = NamingStrategy.SINGLE
    """How the resources of GPUs are named, as with the flag of ROCm's plugin."""
    pulse: Annotated[int, msgspec.Meta(ge=0, le=86_400)] = 0
    """Seconds between scans, as with the flag of ROCm's plugin; 0: 60 seconds. Partition changes always trigger a scan
    within seconds."""
    gpu: GpuCount = GpuCount()
    shares: Shares = 1
    """How many containers can share one GPU or partition, without any limit on memory or time."""
    exclude: tuple[Selector, ...] = ()
    """GPUs that are not served."""
    resources: tuple[NamedResource, ...] = ()
    """GPUs with a resource of their own, whatever the naming strategy is."""
    health: HealthRules = HealthRules()
    reset: ResetCheck = ResetCheck()

    def __post_init__(self) -> None:
        for place, selector in self.selectors.items():
            if selector.empty:
                missing = "has no keys, so it would select every GPU; expected at least one, such as products"
                raise ValueError(f"{place} {missing}")

    @property
    def selectors(self) -> Mapping[str, Selector]:
        """All selectors, by their location in the file."""
        excluding = {f"exclude[{place}]": selector for place, selector in enumerate(self.exclude)}
        return excluding | {f"resources[{place}].select": each.select for place, each in enumerate(self.resources)}


def apply_environment(settings: AMDSettings, environment: Mapping[str, str]) -> AMDSettings:
    """Apply the environment variable that ROCm's plugin documents to the settings; an empty one has no effect.

    Raises:
        ConfigError: the variable is not a number.
    """
    text = environment.get(DEVICE_COUNT, "")
    if not text:
        return settings
    if not re.fullmatch("[0-9]{1,9}", text):
        raise ConfigError(DEVICE_COUNT, f"is {text!r:.40}, expected a number of GPUs, 0 or more")
    return msgspec.structs.replace(settings, gpu=GpuCount(device_count=int(text)))

"""The configuration file: the flags of Intel's GPU device plugin, and additional keys."""

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum
from typing import Annotated

import msgspec

from hub import Settings

DEFAULT_LIMIT = 100
"""Degrees Celsius."""

Degrees = Annotated[int, msgspec.Meta(ge=1, le=1000)]
Ids = str | int | tuple[str | int, ...]
PciAddress = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]$",
        extra={"expected": "a PCI address such as 0000:3b:00.0"},
    ),
]


class AllocationPolicy(StrEnum):
    """Which shares of GPUs a container gets."""

    NONE = "none"
    """Those from different GPUs, in PCI address order."""
    BALANCED = "balanced"
    """Those from different GPUs, beginning with the GPU with the most free shares."""
    PACKED = "packed"
    """Those from one GPU if possible, beginning with the GPU with the fewest free shares."""


class MonitoringMode(StrEnum):
    """The resources for monitoring."""

    SINGLE = "single"
    """gpu.intel.com/monitoring, for all GPUs."""
    SPLIT = "split"
    """One for each driver: gpu.intel.com/i915_monitoring and gpu.intel.com/xe_monitoring."""


class ByPath(StrEnum):
    """Which links in /dev/dri/by-path are given to containers."""

    SINGLE = "single"
    """Those of their own GPUs. They appear as device files, because a container runtime follows a link that it
    mounts."""
    NONE = "none"
    """None."""
    ALL = "all"
    """The whole directory, with the links of all GPUs. They appear as links."""


class XpumdSeverity(StrEnum):
    """How bad the state of a part of a GPU must be for the GPU to be unhealthy. A milder state is a warning."""

    WARNING = "warning"
    """A warning is enough, for example that memory has no error correction."""
    CRITICAL = "critical"
    """A critical state."""
    FAILED = "failed"
    """Only a part that has failed."""


class IntelSettings(Settings, frozen=True, rename="kebab"):
    """The whole file."""

    shared_dev_num: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 1
    """How many containers can share one GPU."""
    allocation_policy: AllocationPolicy = AllocationPolicy.NONE
    """Which shares of GPUs a container gets, if several containers can share one."""
    enable_monitoring: bool = False
    """Whether a resource with one device, for programs that monitor all GPUs, is served as well."""
    monitoring_mode: MonitoringMode = MonitoringMode.SINGLE
    """The resources for monitoring."""
    bypath: ByPath = ByPath.SINGLE
    """Which links in /dev/dri/by-path are given to containers."""
    allow_ids: Ids = ()
    """The device ids of the GPUs to serve, such as "0x56c0": a list, or a comma-separated string, as in the flag. In
    YAML, put them in quotes: 0x56c0 would be a number. Empty: all."""
    deny_ids: Ids = ()
    """The device ids of GPUs not to serve; only one of allow-ids and deny-ids can be set."""
    exclude: tuple[PciAddress, ...] = ()
    """The PCI addresses of GPUs not to serve, such as "0000:00:02.0" for an integrated one."""
    health_management: bool = False
    """Whether a GPU that is too hot is unhealthy. Intel's plugin queries its Level-Zero sidecar, which also reports the
    state of memory and bus; here, only the temperatures that the kernel reports are checked."""
    xpumd_endpoint: Annotated[str, msgspec.Meta(pattern="^(/.*)?$", extra={"expected": "an absolute path"})] = ""
    """The socket of xpumd, the daemon of Intel's XPU Manager, such as /run/xpumd/intelxpuinfo.sock: a GPU is unhealthy
    while xpumd says so. Cannot be combined with health-management or temperature limits: xpumd has its own. Empty:
    xpumd is not queried."""
    xpumd_severity: XpumdSeverity = XpumdSeverity.CRITICAL
    """How bad the state of a part of a GPU must be for the GPU to be unhealthy, if xpumd is queried."""
    temp_limit: Degrees = DEFAULT_LIMIT
    """The highest temperature of any part of a healthy GPU, in degrees Celsius."""
    gpu_temp_limit: Degrees = DEFAULT_LIMIT
    """The highest temperature of the GPU itself."""
    memory_temp_limit: Degrees = DEFAULT_LIMIT
    """The highest temperature of its memory."""
    render_env: Annotated[
        str, msgspec.Meta(pattern="^([A-Za-z_][A-Za-z0-9_]*)?$", extra={"expected": "the name of a variable"})
    ] = ""
    """The environment variable that gives a container the paths of its render nodes, joined by commas. Programs that
    use VA-API or QSV open /dev/dri/renderD128 unless they are given a path. Empty: none."""

    def __post_init__(self) -> None:
        if self.allow_ids and self.deny_ids:
            raise ValueError("allow-ids and deny-ids are both set, expected one of them")
        _ = self.allowed, self.denied
        if self.xpumd_endpoint and self.health_management:
            raise ValueError("health-management and xpumd-endpoint are both set, expected one of them")
        if self.xpumd_endpoint and (limits := self.changed_limits):
            raise ValueError(f"{limits[0]} is set together with xpumd-endpoint, expected a limit in xpumd's own file")

    @property
    def changed_limits(self) -> Sequence[str]:
        """The keys of the limits that are not the defaults."""
        limits = ("temp_limit", "gpu_temp_limit", "memory_temp_limit")
        return [name.replace("_", "-") for name in limits if getattr(self, name) != DEFAULT_LIMIT]

    @property
    def allowed(self) -> Sequence[str]:
        """The device ids in allow-ids."""
        return _device_ids("allow-ids", self.allow_ids)

    @property
    def denied(self) -> Sequence[str]:
        """The device ids in deny-ids."""
        return _device_ids("deny-ids", self.deny_ids)


def ineffective(settings: IntelSettings) -> Iterator[str]:
    """Name the settings that have no effect because of another one."""
    defaults = IntelSettings()
    if settings.allocation_policy is not defaults.allocation_policy and settings.shared_dev_num == 1:
        yield "allocation-policy has no effect: shared-dev-num is 1"
    if settings.monitoring_mode is not defaults.monitoring_mode and not settings.enable_monitoring:
        yield "monitoring-mode has no effect: enable-monitoring is false"
    if settings.xpumd_severity is not defaults.xpumd_severity and not settings.xpumd_endpoint:
        yield "xpumd-severity has no effect: xpumd-endpoint is not set"
    if not settings.health_management:
        yield from (f"{key} has no effect: health-management is false" for key in settings.changed_limits)


def _device_ids(key: str, value: Ids) -> Sequence[str]:
    """Return the device ids in a key.

    Raises:
        ValueError: one of them is not a device id.
    """
    if isinstance(value, str):
        value = tuple(part.strip() for part in value.split(",")) if value else ()
    return [_device_id(key, each) for each in (value if isinstance(value, tuple) else (value,))]


def _device_id(key: str, value: str | int) -> str:
    expected = 'expected four hexadecimal digits as text, such as "0x56c0"'
    if isinstance(value, int):
        # YAML reads 0x56c0 as a number, and then does not show how it was written.
        problem = f"{value} is a number, {expected}; in YAML, put it in quotes"
        raise ValueError(f"{key}: {problem}")  # noqa: TRY004 - as msgspec expects
    if not re.fullmatch("0[xX][0-9a-fA-F]{4}", value):
        raise ValueError(f'{key}: "{value}" is not a device id, {expected}')
    return value.lower()

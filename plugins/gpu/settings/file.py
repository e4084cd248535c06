"""The types of NVIDIA's configuration file (`version: v1`), with its names, defaults and meaning.

NVIDIA writes camelCase; the attributes here are snake_case, renamed by msgspec.
"""

import os
from collections import Counter
from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
from msgspec.structs import force_setattr

from hub import Settings
from plugins.gpu.discovery.facts import FindingKind
from plugins.gpu.settings.levels import ResetLevel
from plugins.gpu.settings.selectors import check_selector
from plugins.gpu.settings.sharing import GPU_RESOURCE, ResourcePatterns, SharingSection, resource_name

Seconds = Annotated[float, msgspec.Meta(gt=0)]
AbsolutePath = Annotated[str, msgspec.Meta(pattern="^/|^$", extra={"expected": "an absolute path"})]
"""An absolute path; empty for the default, as in NVIDIA's plugin."""

MPS_ROOT = "/run/nvidia/mps"
CTK_PATH = "/usr/bin/nvidia-ctk"


class MigStrategy(StrEnum):
    """How MIG devices are advertised."""

    NONE = "none"
    """Not at all: each GPU is one device, even if it is partitioned."""
    SINGLE = "single"
    """As nvidia.com/gpu, if all GPUs are partitioned into devices of one size."""
    MIXED = "mixed"
    """As one resource per size, such as nvidia.com/mig-1g.5gb; unpartitioned GPUs are nvidia.com/gpu."""


class DeviceListStrategy(StrEnum):
    """How the container runtime learns which devices a container gets."""

    ENVVAR = "envvar"
    """By the environment variable NVIDIA_VISIBLE_DEVICES, which NVIDIA's container runtime reads."""
    VOLUME_MOUNTS = "volume-mounts"
    """By mounts of /dev/null under /var/run/nvidia-container-devices, which NVIDIA's runtime also reads."""
    CDI_ANNOTATIONS = "cdi-annotations"
    """By CDI names in an annotation of the container."""
    CDI_CRI = "cdi-cri"
    """By CDI names that the kubelet passes to the runtime."""


class DeviceIDStrategy(StrEnum):
    """How devices are identified to the container runtime."""

    UUID = "uuid"
    """By UUID."""
    INDEX = "index"
    """By index, which may change when GPUs are added or removed."""


class AllocationPolicy(StrEnum):
    """Which shared devices are preferred."""

    DISTRIBUTED = "distributed"
    """Those of the GPU with the fewest in use."""
    PACKED = "packed"
    """Those of the GPU with the most in use, so that a container gets the shares of one GPU if possible."""


class PluginFlags(Settings, frozen=True, rename="camel"):
    """`flags.plugin`."""

    pass_device_specs: bool = False
    """Whether a container also gets the device files from the kubelet, which the CPU manager requires."""
    device_list_strategy: DeviceListStrategy | tuple[DeviceListStrategy, ...] = DeviceListStrategy.ENVVAR
    """How the container runtime learns which devices a container gets: in one way, or in several."""
    device_id_strategy: DeviceIDStrategy = msgspec.field(default=DeviceIDStrategy.UUID, name="deviceIDStrategy")
    """How devices are identified to the container runtime."""
    cdi_annotation_prefix: str = "cdi.k8s.io/"
    """The prefix of the annotation with CDI names."""
    nvidia_ctk_path: str = msgspec.field(default=CTK_PATH, name="nvidiaCTKPath")
    """The tool of NVIDIA's container toolkit on the node, which the CDI files call."""
    container_driver_root: str = "/driver-root"
    """Where the plugin sees the driver root; if this is not a directory, the path on the node is used."""
    shared_devices_allocation_policy: AllocationPolicy = AllocationPolicy.DISTRIBUTED
    """Which shared devices are preferred."""

    def __post_init__(self) -> None:
        if not self.device_lists:
            raise ValueError("deviceListStrategy is an empty list, expected at least one strategy")
        force_setattr(self, "nvidia_ctk_path", self.nvidia_ctk_path or CTK_PATH)

    @property
    def device_lists(self) -> tuple[DeviceListStrategy, ...]:
        """The strategies as a tuple."""
        value = self.device_list_strategy
        return (value,) if isinstance(value, str) else value


class Flags(Settings, frozen=True, rename="camel"):
    """`flags`."""

    mig_strategy: MigStrategy = MigStrategy.NONE
    """How MIG devices are advertised."""
    fail_on_init_error: bool | None = None
    """Whether the process exits if there is no driver. By default it does not, unlike NVIDIA's plugin, so that one
    configuration suits nodes with and without GPUs."""
    nvidia_driver_root: AbsolutePath = "/"
    """The directory on the node under which the driver's libraries and programs are installed."""
    nvidia_dev_root: str = ""
    """The directory on the node whose dev directory contains the device files ("/" for /dev/nvidia0). Empty: the
    driver root."""
    gdrcopy_enabled: bool = False
    """Whether containers get GDRCopy's device file."""
    gds_enabled: bool = False
    """Whether containers get the device files of GPUDirect Storage."""
    mofed_enabled: bool = False
    """Whether containers get the device files of Mellanox OFED (/dev/infiniband)."""
    device_discovery_strategy: Literal["auto", "nvml"] = "auto"
    """How GPUs are found. Both values mean NVML, the driver's library; Tegra is not supported."""
    mps_root: AbsolutePath = MPS_ROOT
    """The directory on the node that the MPS control daemons share with their clients."""
    use_node_feature_api: bool | None = msgspec.field(default=None, name="useNodeFeatureAPI")
    """For GPU feature discovery, another program that reads the same file; accepted, but has no effect."""
    plugin: PluginFlags = PluginFlags()
    gfd: dict[str, Any] | None = None
    """For GPU feature discovery; accepted, but has no effect."""

    def __post_init__(self) -> None:
        force_setattr(self, "nvidia_driver_root", self.nvidia_driver_root or "/")
        force_setattr(self, "mps_root", self.mps_root or MPS_ROOT)


class Imex(Settings, frozen=True, rename="camel"):
    """`imex`."""

    channel_ids: tuple[int, ...] = msgspec.field(default=(), name="channelIDs")
    """The IMEX channels that containers get: none, or channel 0."""
    required: bool = False
    """Whether GPUs are unhealthy while such a channel is missing."""

    def __post_init__(self) -> None:
        if self.channel_ids not in {(), (0,)}:
            raise ValueError(f"channelIDs is {list(self.channel_ids)}, expected [] or [0]")


class XidTable(Settings, frozen=True):
    """`dphub.health.xids`: the effect of XIDs on a GPU's health."""

    ignore: tuple[int, ...] = ()
    """XIDs that have no effect on health."""
    recover: tuple[int, ...] = ()
    """XIDs after which a GPU is unhealthy until a probe finds no fault and the recovery time has passed."""
    fatal: tuple[int, ...] = ()
    """XIDs after which a GPU is unhealthy until it is reset, or an administrator uncordons it."""

    def __post_init__(self) -> None:
        for code, times in Counter((*self.ignore, *self.recover, *self.fatal)).items():
            if times > 1:
                raise ValueError(f"XID {code} occurs {times} times, expected once in one of the lists")


class Effect(StrEnum):
    """What follows from a finding about a GPU."""

    IGNORE = "ignore"
    """Nothing."""
    WARN = "warn"
    """`dphub status` shows a warning."""
    UNHEALTHY = "unhealthy"
    """The GPU is unhealthy once the finding has lasted `unhealthy_after` seconds; before that, there is a warning."""


class FindingTable(Settings, frozen=True):
    """`dphub.health.findings`: how problems on a GPU that still works affect its health."""

    unhealthy_after: Annotated[float, msgspec.Meta(ge=0)] = 60
    """Seconds that a finding must last before it makes a GPU unhealthy."""
    fabric: Effect = Effect.UNHEALTHY
    """The registration with the NVLink fabric is not complete, or has failed, so CUDA does not start."""
    fabric_health: Effect = Effect.WARN
    """The driver reports that the connection to the NVLink fabric is impaired."""
    nvlink: Effect = Effect.WARN
    """Some NVLinks that are active on all other GPUs of the same model are inactive."""
    pcie: Effect = Effect.WARN
    """The PCIe link has fewer lanes than the GPU and the slot support."""
    remap: Effect = Effect.WARN
    """Faulty memory is replaced by spare memory at the next reset."""
    temperature: Effect = Effect.WARN
    """The GPU is so hot that it slows down."""

    def effect(self, kind: FindingKind) -> Effect:
        """Return the effect of a kind of finding."""
        return Effect(getattr(self, kind.value))


class HealthSettings(Settings, frozen=True):
    """`dphub.health`."""

    interval: Seconds = 5
    """Seconds between probes."""
    stable_for: Annotated[float, msgspec.Meta(ge=0)] = 60
    """Seconds without a fault before a GPU is healthy again."""
    driver_timeout: Seconds = 10
    """Seconds that the driver may take to answer; then the process restarts."""
    xids: XidTable = XidTable()
    findings: FindingTable = FindingTable()


class CdiSettings(Settings, frozen=True):
    """`dphub.cdi`: what CDI files contain, see `deviceListStrategy`."""

    disable_hooks: tuple[str, ...] = ()
    """Hooks of NVIDIA's container toolkit to leave out of the files, such as `enable-cuda-compat`; or `all`."""
    feature_flags: tuple[str, ...] = ()
    """Passed on to NVIDIA's container toolkit, if it writes the files."""


class HubSection(Settings, frozen=True):
    """`dphub`: the only key that NVIDIA's file does not have."""

    health: HealthSettings = HealthSettings()
    cdi: CdiSettings = CdiSettings()
    reset: dict[str, ResetLevel | bool] = msgspec.field(default_factory=dict)
    """What is done to a GPU before a container that uses it starts, by resource; other resources are not reset. YAML
    reads `off` as `false`, so `false` means the same."""
    exclude: tuple[str, ...] = ()
    """GPUs or MIG devices that are not advertised, by index ("0", "0:1"), UUID or PCI address."""

    def __post_init__(self) -> None:
        for resource, level in self.reset.items():
            if level is True:
                raise ValueError(f"reset: {resource} is true, expected one of {', '.join(ResetLevel)}")
            if resource_name(resource) != resource:
                raise ValueError(f'reset: "{resource}" is not a full resource name, expected one like nvidia.com/gpu')
        for number, selector in enumerate(self.exclude):
            try:
                check_selector(selector, pci=True)
            except ValueError as error:
                raise ValueError(f"exclude[{number}]: {error}") from None

    @property
    def reset_levels(self) -> dict[str, ResetLevel]:
        """The reset levels by resource."""
        return {name: ResetLevel.OFF if isinstance(level, bool) else level for name, level in self.reset.items()}


class GPUSettings(Settings, frozen=True, rename="camel"):
    """The whole file."""

    version: Literal["v1", ""] = "v1"
    """The version of the file's format. Empty: `v1`."""
    flags: Flags = Flags()
    resources: ResourcePatterns = ResourcePatterns()
    sharing: SharingSection = SharingSection()
    imex: Imex = Imex()
    dphub: HubSection = HubSection()

    def __post_init__(self) -> None:
        if self.sharing.mps and self.flags.mig_strategy is MigStrategy.MIXED:
            raise ValueError(
                "sharing.mps cannot be combined with flags.migStrategy mixed: MPS cannot share MIG devices"
            )
        known = self._resource_names()
        for name in self.dphub.reset:
            if known and name not in known:
                raise ValueError(f"dphub.reset: no GPU is advertised as {name}, expected {', '.join(known)}")

    def _resource_names(self) -> Collection[str]:
        """Return all resources that this file can advertise; none if they depend on the MIG devices on the node."""
        if self.flags.mig_strategy is not MigStrategy.NONE or os.environ.get("MIG_STRATEGY"):
            return ()
        mode = self.sharing.mode
        shared = [mode.name_of(entry) for entry in mode.entries] if mode else []
        return dict.fromkeys((*(pattern.name for pattern in self.resources.gpus), GPU_RESOURCE, *shared))

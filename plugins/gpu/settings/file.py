"""The types of NVIDIA's configuration file (`version: v1`), with its names, defaults and meaning.

NVIDIA writes camelCase; the attributes here are snake_case, renamed by msgspec.
"""

import os
from collections import Counter
from collections.abc import Collection
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec

from hub import Settings
from plugins.gpu.settings.levels import ResetLevel
from plugins.gpu.settings.selectors import check_selector
from plugins.gpu.settings.sharing import GPU_RESOURCE, ResourcePatterns, SharingSection, resource_name

Seconds = Annotated[float, msgspec.Meta(gt=0)]
AbsolutePath = Annotated[str, msgspec.Meta(pattern="^/")]


class MigStrategy(StrEnum):
    """How MIG devices are advertised."""

    NONE = "none"
    """Not at all: a GPU is one device, whatever it is divided into."""
    SINGLE = "single"
    """As nvidia.com/gpu, where all GPUs are divided into devices of one size."""
    MIXED = "mixed"
    """As a resource for each size, such as nvidia.com/mig-1g.5gb; GPUs that are not divided are nvidia.com/gpu."""


class DeviceListStrategy(StrEnum):
    """How the container runtime is told which devices a container gets."""

    ENVVAR = "envvar"
    """By the variable NVIDIA_VISIBLE_DEVICES, which NVIDIA's container runtime reads."""
    VOLUME_MOUNTS = "volume-mounts"
    """By mounts of /dev/null below /var/run/nvidia-container-devices, which that runtime reads too."""
    CDI_ANNOTATIONS = "cdi-annotations"
    """By CDI names in an annotation of the container."""
    CDI_CRI = "cdi-cri"
    """By CDI names that the kubelet passes on."""


class DeviceIDStrategy(StrEnum):
    """What it is told of each."""

    UUID = "uuid"
    """Its UUID."""
    INDEX = "index"
    """Its index, which changes when GPUs come or go."""


class AllocationPolicy(StrEnum):
    """Which shared devices are preferred."""

    DISTRIBUTED = "distributed"
    """Those of the GPU of which the fewest are in use."""
    PACKED = "packed"
    """Those of the GPU of which the most are."""


class PluginFlags(Settings, frozen=True, rename="camel"):
    """`flags.plugin`."""

    pass_device_specs: bool = False
    """Whether a container also gets the device files from the kubelet, as the CPU manager wants it."""
    device_list_strategy: DeviceListStrategy | tuple[DeviceListStrategy, ...] = DeviceListStrategy.ENVVAR
    """How the container runtime is told which devices a container gets: in one way, or in several."""
    device_id_strategy: DeviceIDStrategy = msgspec.field(default=DeviceIDStrategy.UUID, name="deviceIDStrategy")
    """What it is told of each device."""
    cdi_annotation_prefix: str = "cdi.k8s.io/"
    """What the annotation with CDI names begins with."""
    nvidia_ctk_path: str = msgspec.field(default="/usr/bin/nvidia-ctk", name="nvidiaCTKPath")
    """The tool of NVIDIA's container toolkit on the node, which CDI files name."""
    container_driver_root: str = "/driver-root"
    """Where the plugin finds the driver root; where there is no such directory, at its place on the node."""
    shared_devices_allocation_policy: AllocationPolicy = AllocationPolicy.DISTRIBUTED
    """Which of several shared devices is preferred."""

    def __post_init__(self) -> None:
        if not self.device_lists:
            raise ValueError("deviceListStrategy is an empty list, expected at least one strategy")

    @property
    def device_lists(self) -> tuple[DeviceListStrategy, ...]:
        """The strategies, however many there are."""
        said = self.device_list_strategy
        return (said,) if isinstance(said, str) else said


class Flags(Settings, frozen=True, rename="camel"):
    """`flags`."""

    mig_strategy: MigStrategy = MigStrategy.NONE
    """How MIG devices are advertised."""
    fail_on_init_error: bool | None = None
    """Whether the process ends where there is no driver. Not so where nothing is said, other than with NVIDIA's plugin:
    one configuration then suits nodes with and without GPUs."""
    nvidia_driver_root: AbsolutePath = "/"
    """The directory on the node below which the driver's libraries and programs are."""
    nvidia_dev_root: str = ""
    """The directory on the node below which the device files are ("/" for /dev/nvidia0). Empty: the driver root."""
    gdrcopy_enabled: bool = False
    """Whether containers get GDRCopy's device file."""
    gds_enabled: bool = False
    """Whether containers get the device files of GPUDirect Storage."""
    mofed_enabled: bool = False
    """Whether containers get the device files of Mellanox OFED (/dev/infiniband)."""
    device_discovery_strategy: Literal["auto", "nvml"] = "auto"
    """How GPUs are found. Both mean NVML, the driver's library; Tegra is not served."""
    mps_root: AbsolutePath = "/run/nvidia/mps"
    """The directory on the node where the control daemons of MPS and their clients meet."""
    use_node_feature_api: bool | None = msgspec.field(default=None, name="useNodeFeatureAPI")
    """Of another program (GPU feature discovery), which reads the same file; accepted, and without effect."""
    plugin: PluginFlags = PluginFlags()
    gfd: dict[str, Any] | None = None
    """Settings of that program; accepted, and without effect."""


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
    """`dphub.health.xids`: what an XID means for a GPU's health."""

    ignore: tuple[int, ...] = ()
    """XIDs that mean nothing."""
    recover: tuple[int, ...] = ()
    """XIDs after which a GPU is unhealthy until a probe finds nothing wrong and the quiet time is over."""
    fatal: tuple[int, ...] = ()
    """XIDs after which it is unhealthy until it is reset, or an operator says otherwise."""

    def __post_init__(self) -> None:
        for code, times in Counter((*self.ignore, *self.recover, *self.fatal)).items():
            if times > 1:
                raise ValueError(f"XID {code} is there {times} times, expected once in one of the lists")


class HealthSettings(Settings, frozen=True):
    """`dphub.health`."""

    interval: Seconds = 5
    """Seconds between two probes."""
    quiet: Annotated[float, msgspec.Meta(ge=0)] = 60
    """Seconds without a fault before a GPU counts as healthy again."""
    driver_timeout: Seconds = 10
    """Seconds after which a driver that has not answered is given up."""
    xids: XidTable = XidTable()


class HubSection(Settings, frozen=True):
    """`dphub`: the one key that NVIDIA's file does not know."""

    health: HealthSettings = HealthSettings()
    reset: dict[str, ResetLevel | bool] = msgspec.field(default_factory=dict)
    """By resource, what is done to a GPU before a container starts with it; resources that are not named are not reset.
    What YAML makes of `off` means the same."""
    exclude: tuple[str, ...] = ()
    """GPUs or MIG devices that are not advertised, by index ("0", "0:1"), UUID or PCI address."""

    def __post_init__(self) -> None:
        for resource, level in self.reset.items():
            if level is True:
                raise ValueError(f"reset: {resource} is true, expected one of {', '.join(ResetLevel)}")
            if resource_name(resource) != resource:
                raise ValueError(f'reset: "{resource}" is no full resource name, expected one like nvidia.com/gpu')
        for number, selector in enumerate(self.exclude):
            try:
                check_selector(selector, pci=True)
            except ValueError as error:
                raise ValueError(f"exclude[{number}]: {error}") from None

    @property
    def reset_levels(self) -> dict[str, ResetLevel]:
        """How far resets go, by resource."""
        return {name: ResetLevel.OFF if isinstance(level, bool) else level for name, level in self.reset.items()}


class GPUSettings(Settings, frozen=True, rename="camel"):
    """The whole file."""

    version: Literal["v1"] = "v1"
    """The version of the file's format."""
    flags: Flags = Flags()
    resources: ResourcePatterns = ResourcePatterns()
    sharing: SharingSection = SharingSection()
    imex: Imex = Imex()
    dphub: HubSection = HubSection()

    def __post_init__(self) -> None:
        if self.sharing.mps and self.flags.mig_strategy is MigStrategy.MIXED:
            raise ValueError(
                "sharing.mps does not go with flags.migStrategy mixed: MIG devices cannot be shared by MPS"
            )
        known = self._resource_names()
        for name in self.dphub.reset:
            if known and name not in known:
                raise ValueError(f"dphub.reset: no GPU becomes {name} by this file, expected {', '.join(known)}")

    def _resource_names(self) -> Collection[str]:
        """What there may be resources of; none where that depends on the node, whose MIG devices name them."""
        if self.flags.mig_strategy is not MigStrategy.NONE or os.environ.get("MIG_STRATEGY"):
            return ()
        mode = self.sharing.mode
        shared = [mode.name_of(entry) for entry in mode.resources] if mode else []
        return dict.fromkeys((*(pattern.name for pattern in self.resources.gpus), GPU_RESOURCE, *shared))

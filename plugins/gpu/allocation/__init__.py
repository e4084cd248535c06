"""The Allocate responses: identical to those of NVIDIA's device plugin 0.20."""

import uuid
from collections.abc import Sequence

from hub import Allocation, DeviceNode, Mount, RequestRejected
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.mps.paths import IN_CONTAINER, pipe_directory, shm_directory
from plugins.gpu.resources import Share, Sharing
from plugins.gpu.settings.file import DeviceIDStrategy, DeviceListStrategy, GPUSettings

VOLUMES = "/var/run/nvidia-container-devices"
"""Where NVIDIA's container runtime looks for devices that are requested by mounts."""

CDI_VENDOR = "k8s.device-plugin.nvidia.com"

_CDI_STRATEGIES = {DeviceListStrategy.CDI_ANNOTATIONS, DeviceListStrategy.CDI_CRI}


class ContainerEdits:
    """A builder of Allocate responses, from what is in memory.

    Args:
        settings: The plugin's settings.
        paths: Where the device files are.
        files: Which device files exist.
    """

    def __init__(self, settings: GPUSettings, paths: DriverPaths, files: DeviceFiles) -> None:
        self._settings = settings
        self._paths = paths
        self._files = files
        self._strategies = frozenset(settings.flags.plugin.device_lists)

    def allocation(self, shares: Sequence[Share]) -> Allocation:
        """Return what a container gets for these devices.

        Raises:
            ValueError: the request is larger than allowed.
        """
        self._check_size(shares)
        ids = list(dict.fromkeys(self._id(share) for share in shares))
        cdi = self._cdi_names(ids) if self._strategies & _CDI_STRATEGIES else []
        # If only CDI is used, it provides the devices and everything else that the other strategies would provide.
        plain = not self._strategies <= _CDI_STRATEGIES
        mps = shares[0].resource if any(share.sharing is Sharing.MPS for share in shares) else ""
        return Allocation(
            nodes=self._nodes(shares) if plain and self._settings.flags.plugin.pass_device_specs else (),
            mounts=[*(self._volumes(ids) if plain else ()), *(self._mps_mounts(mps) if mps else ())],
            env={**(self._env(ids) if plain else {}), **self._extras(), **(_mps_env(mps) if mps else {})},
            cdi=cdi if DeviceListStrategy.CDI_CRI in self._strategies else (),
            annotations=self._annotations(cdi) if DeviceListStrategy.CDI_ANNOTATIONS in self._strategies else {},
        )

    def problem(self, share: Share) -> str:
        """Return why a container cannot get what the settings require; empty if it can."""
        files = bool(self._strategies & _CDI_STRATEGIES) or self._settings.flags.plugin.pass_device_specs
        if not files:
            return ""
        if not next(self._files.of(share.gpu), None):
            what = "the driver does not report its minor number"
            return f"{what}, so its device file is unknown; deviceListStrategy envvar works without passDeviceSpecs"
        return self._files.capability_problem(share.gpu, share.mig) if share.mig else ""

    def _check_size(self, shares: Sequence[Share]) -> None:
        shared = any(share.sharing is not Sharing.NONE for share in shares)
        if shared and len(shares) > 1 and self._settings.sharing.single_requests:
            what = f"request for '{shares[0].resource}: {len(shares)}' is too large"
            raise RequestRejected(f"{what}: the maximum request size for shared resources is 1, found {len(shares)}")

    def _id(self, share: Share) -> str:
        by_index = self._settings.flags.plugin.device_id_strategy is DeviceIDStrategy.INDEX
        return share.index if by_index else share.uuid

    def _env(self, ids: Sequence[str]) -> dict[str, str]:
        env = {}
        if DeviceListStrategy.ENVVAR in self._strategies:
            env["NVIDIA_VISIBLE_DEVICES"] = ",".join(ids)
            if self._files.channels:
                env["NVIDIA_IMEX_CHANNELS"] = ",".join(self._files.channels)
        if DeviceListStrategy.VOLUME_MOUNTS in self._strategies:
            env["NVIDIA_VISIBLE_DEVICES"] = VOLUMES
        return env

    def _extras(self) -> dict[str, str]:
        flags = self._settings.flags
        extras = {"GDRCOPY": flags.gdrcopy_enabled, "GDS": flags.gds_enabled, "MOFED": flags.mofed_enabled}
        return {f"NVIDIA_{name}": "enabled" for name, wanted in extras.items() if wanted}

    def _volumes(self, ids: Sequence[str]) -> list[Mount]:
        if DeviceListStrategy.VOLUME_MOUNTS not in self._strategies:
            return []
        names = [*ids, *(f"imex/{channel}" for channel in self._files.channels)]
        return [Mount("/dev/null", f"{VOLUMES}/{name}", read_only=False) for name in names]

    def _nodes(self, shares: Sequence[Share]) -> list[DeviceNode]:
        files = [*self._files.control]
        for share in shares:
            files += self._files.of(share.gpu, share.mig)
        files += self._files.channels.values()
        return [DeviceNode(self._paths.device_on_node(path), path, "rw") for path in dict.fromkeys(files)]

    def _cdi_names(self, ids: Sequence[str]) -> list[str]:
        flags = self._settings.flags
        extras = {"gdrcopy": flags.gdrcopy_enabled, "gds": flags.gds_enabled, "mofed": flags.mofed_enabled}
        return [
            *(f"{CDI_VENDOR}/gpu={name}" for name in ids),
            *(f"{CDI_VENDOR}/imex-channel={channel}" for channel in self._files.channels),
            *(f"{CDI_VENDOR}/{name}=all" for name, wanted in extras.items() if wanted),
        ]

    def _annotations(self, names: Sequence[str]) -> dict[str, str]:
        prefix = self._settings.flags.plugin.cdi_annotation_prefix
        # A unique name for each container: all containers of a pod share its annotations.
        return {f"{prefix}nvidia-device-plugin_{uuid.uuid4()}": ",".join(names)}

    def _mps_mounts(self, resource: str) -> list[Mount]:
        root = self._settings.flags.mps_root
        return [
            Mount(pipe_directory(root, resource), pipe_directory(IN_CONTAINER, resource), read_only=False),
            Mount(shm_directory(root), "/dev/shm", read_only=False),  # noqa: S108 - where CUDA looks
        ]


def _mps_env(resource: str) -> dict[str, str]:
    return {"CUDA_MPS_PIPE_DIRECTORY": pipe_directory(IN_CONTAINER, resource)}

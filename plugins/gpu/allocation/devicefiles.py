"""The device files of GPUs and MIG devices."""

import re
from collections.abc import Iterator, Mapping, Sequence

from hub import UnreadableError, read_text
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu, MigDevice
from plugins.gpu.settings.file import Imex

CONTROL_NODES = ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset")
"""Device files that every container with a GPU gets, if they exist on the node."""

MIG_MINORS = "/proc/driver/nvidia-caps/mig-minors"
"""Lines such as "gpu0/gi1/ci0/access 21": the numbers of the capability files of all MIG instances."""

WSL_DEVICE = "/dev/dxg"
"""The device file of all GPUs in the Windows Subsystem for Linux, whose driver has no minor numbers."""

IMEX_CHANNELS = "/dev/nvidia-caps-imex-channels"
"""Contains a file for each channel through which GPUs of several nodes share memory."""

CAPABILITIES = "/proc/driver/nvidia/capabilities"
"""The same numbers as in MIG_MINORS, as a tree of files with lines such as "DeviceFileMinor: 21"."""

_MINOR = "[0-9]{1,7}"


class DeviceFiles:
    """The device files that existed at the last `refresh`.

    Args:
        paths: Where they are.
        imex: The IMEX channels for containers.
    """

    def __init__(self, paths: DriverPaths, imex: Imex) -> None:
        self._paths = paths
        self._imex = imex
        self._channels: tuple[int, ...] = ()
        self._control: tuple[str, ...] = ()
        self._wsl = False
        self._capabilities: Mapping[str, int] = {}

    def refresh(self, gpus: Sequence[Gpu]) -> None:
        """Search for the device files again."""
        self._control = tuple(node for node in CONTROL_NODES if self._paths.device(node).exists())
        self._wsl = self._paths.device(WSL_DEVICE).exists()
        self._channels = tuple(n for n in self._imex.channel_ids if self._paths.device(_channel(n)).exists())
        wanted = {key for gpu in gpus for mig in gpu.migs for key in _capability_keys(gpu, mig)}
        self._capabilities = self._read_capabilities(wanted) if wanted else {}

    @property
    def control(self) -> tuple[str, ...]:
        """The files that do not belong to a single GPU."""
        return self._control

    @property
    def channels(self) -> dict[str, str]:
        """The existing IMEX channels, and their files."""
        return {str(number): _channel(number) for number in self._channels}

    @property
    def problem(self) -> str:
        """Why no GPU can be used; empty if they can."""
        missing = set(self._imex.channel_ids) - set(self._channels)
        if not missing or not self._imex.required:
            return ""
        return f"imex.required is true, but {_channel(min(missing))} is missing"

    def of(self, gpu: Gpu, mig: MigDevice | None = None) -> Iterator[str]:
        """Return the device files of a GPU, or of a MIG device on it; none if they are unknown."""
        if gpu.device_file:
            yield gpu.device_file
        elif self._wsl:
            yield WSL_DEVICE
        if mig:
            for key in _capability_keys(gpu, mig):
                if key in self._capabilities:
                    yield _capability(self._capabilities[key])

    def capability_problem(self, gpu: Gpu, mig: MigDevice) -> str:
        """Return why a MIG device's files would not give a container access to it; empty if they would."""
        for key in _capability_keys(gpu, mig):
            number = self._capabilities.get(key)
            if number is None:
                return f"the driver lists no capability {key}, which containers with this MIG device need"
            if not self._paths.device(_capability(number)).exists():
                return f"{_capability(number)}, which containers with this MIG device need, is missing"
        return ""

    def _read_capabilities(self, wanted: set[str]) -> Mapping[str, int]:
        if listed := self._text(MIG_MINORS):
            return {name: int(minor) for name, minor in re.findall(rf"^(\S+) ({_MINOR})$", listed, re.MULTILINE)}
        found = {}
        for key in wanted:
            gpu, rest = key.split("/", 1)
            text = self._text(f"{CAPABILITIES}/{gpu}/mig/{rest}")
            if number := re.search(rf"DeviceFileMinor:\s*({_MINOR})\b", text):
                found[key] = int(number[1])
        return found

    def _text(self, path: str) -> str:
        """Read a file of the driver; empty if it does not exist, or cannot be read."""
        try:
            return read_text(self._paths.host.path(path))
        except UnreadableError:
            return ""


def _capability(number: int) -> str:
    return f"/dev/nvidia-caps/nvidia-cap{number}"


def _channel(number: int) -> str:
    return f"{IMEX_CHANNELS}/channel{number}"


def _capability_keys(gpu: Gpu, mig: MigDevice) -> tuple[str, str]:
    instance = f"gpu{gpu.minor}/gi{mig.gpu_instance}"
    return f"{instance}/access", f"{instance}/ci{mig.compute_instance}/access"

"""What a container gets for its GPUs, byte for byte."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hub import Allocation, DeviceNode, Host, Mount, RequestRejected
from plugins.gpu.allocation import ContainerEdits
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.resources import Share, plan
from plugins.gpu.settings.file import GPUSettings, Imex
from tests.harness.gpu_support import facts
from tests.simulators.nvml import SimulatedNode

CDI = "k8s.device-plugin.nvidia.com"
VOLUMES = "/var/run/nvidia-container-devices"


class Allocator:
    """Answers for a simulated node.

    Args:
        root: The node's directory.
        profile: Its GPUs.
        mig: Their MIG layouts.
        sections: The configuration.
    """

    def __init__(self, root: Path, profile: str = "pair", mig: Any = None, **sections: object) -> None:  # noqa: ANN401 - the node's
        self.driver = SimulatedNode(root, profile, mig)
        channel = root / "dev/nvidia-caps-imex-channels/channel0"
        channel.parent.mkdir()
        channel.touch()
        settings = msgspec.convert(sections, GPUSettings)
        flags = settings.flags
        paths = DriverPaths(Host(root), flags.nvidia_driver_root, flags.nvidia_dev_root or flags.nvidia_driver_root)
        self._files = files = DeviceFiles(paths, settings.imex)
        gpus = facts(self.driver)
        files.refresh(gpus)
        self.shares = plan(settings, gpus).shares
        self._answers = ContainerEdits(settings, paths, files)

    def give(self, *numbers: int) -> Allocation:
        """Return what a container gets for shares by their position in the list."""
        return self._answers.allocation([self.shares[number] for number in numbers])

    def problem(self, share: Share) -> str:
        """Return why a container cannot get a share, with the files that exist now."""
        self._files.refresh(facts(self.driver))
        return self._answers.problem(share)

    def uuids(self) -> list[str]:
        """Return the UUIDs of all shares."""
        return [share.uuid for share in self.shares]


def _plugin(**flags: object) -> dict[str, object]:
    return {"plugin": flags}


def test_a_variable(tmp_path: Path) -> None:
    """By default a container gets one variable with the UUIDs, and nothing else."""
    allocator = Allocator(tmp_path)
    assert allocator.give(0, 1) == Allocation(
        nodes=(), mounts=[], env={"NVIDIA_VISIBLE_DEVICES": ",".join(allocator.uuids())}, cdi=(), annotations={}
    )


def test_indices(tmp_path: Path) -> None:
    """GPUs are named by their index, and MIG devices by their GPU's index and their own."""
    allocator = Allocator(
        tmp_path, "a100x2", {1: "1g"}, flags={"migStrategy": "mixed", **_plugin(deviceIDStrategy="index")}
    )
    assert allocator.give(0).env == {"NVIDIA_VISIBLE_DEVICES": "0"}
    assert allocator.give(1, 3).env == {"NVIDIA_VISIBLE_DEVICES": "1:0,1:2"}


def test_mounts(tmp_path: Path) -> None:
    """With the `volume-mounts` strategy, /dev/null is mounted under each id, and the variable says where."""
    allocator = Allocator(tmp_path, flags=_plugin(deviceListStrategy="volume-mounts"), imex={"channelIDs": [0]})
    got = allocator.give(0, 1)
    assert got.env == {"NVIDIA_VISIBLE_DEVICES": VOLUMES}
    assert got.mounts == [
        Mount("/dev/null", f"{VOLUMES}/{name}", read_only=False) for name in (*allocator.uuids(), "imex/0")
    ]


def test_cdi_names(tmp_path: Path) -> None:
    """The `cdi-cri` strategy alone gives the names and, apart from them, only the variables, as in NVIDIA's plugin."""
    flags = {"gdsEnabled": True, "mofedEnabled": True, "gdrcopyEnabled": True}
    flags |= _plugin(deviceListStrategy="cdi-cri", passDeviceSpecs=True)
    allocator = Allocator(tmp_path, flags=flags, imex={"channelIDs": [0]})
    got = allocator.give(1)
    assert got.cdi == [
        f"{CDI}/gpu={allocator.uuids()[1]}",
        f"{CDI}/imex-channel=0",
        f"{CDI}/gdrcopy=all",
        f"{CDI}/gds=all",
        f"{CDI}/mofed=all",
    ]
    assert got.env == {"NVIDIA_GDRCOPY": "enabled", "NVIDIA_GDS": "enabled", "NVIDIA_MOFED": "enabled"}
    assert (got.nodes, got.mounts, got.annotations) == ((), [], {})


@pytest.mark.parametrize("prefix", ["cdi.k8s.io/", "example.com/"])
def test_cdi_annotations(tmp_path: Path, prefix: str) -> None:
    """Each container gets one annotation with all names, under a key that is new each time."""
    allocator = Allocator(tmp_path, flags=_plugin(deviceListStrategy=["cdi-annotations"], cdiAnnotationPrefix=prefix))
    (first,), (second,) = allocator.give(0, 1).annotations.items(), allocator.give(0, 1).annotations.items()
    assert re.fullmatch(rf"{re.escape(prefix)}nvidia-device-plugin_[0-9a-f-]{{36}}", first[0])
    assert first[0] != second[0]
    assert first[1] == second[1] == ",".join(f"{CDI}/gpu={uuid}" for uuid in allocator.uuids())


def test_cdi_names_by_index(tmp_path: Path) -> None:
    """The names in the specification follow the same strategy."""
    allocator = Allocator(tmp_path, flags=_plugin(deviceListStrategy="cdi-cri", deviceIDStrategy="index"))
    assert allocator.give(1).cdi == [f"{CDI}/gpu=1"]


def test_all_strategies_at_once(tmp_path: Path) -> None:
    """Each does its part; the variable has the meaning that the mounts need, as in NVIDIA's plugin."""
    strategies = ["envvar", "volume-mounts", "cdi-annotations", "cdi-cri"]
    allocator = Allocator(tmp_path, flags={"gdsEnabled": True, **_plugin(deviceListStrategy=strategies)})
    got = allocator.give(0)
    (uuid,) = allocator.uuids()[:1]
    assert got.env == {"NVIDIA_VISIBLE_DEVICES": VOLUMES, "NVIDIA_GDS": "enabled"}
    assert got.mounts == [Mount("/dev/null", f"{VOLUMES}/{uuid}", read_only=False)]
    assert got.cdi == [f"{CDI}/gpu={uuid}", f"{CDI}/gds=all"]
    assert list(got.annotations.values()) == [f"{CDI}/gpu={uuid},{CDI}/gds=all"]


def test_switches(tmp_path: Path) -> None:
    """GDRCopy, GDS, MOFED and IMEX channels are switched on by variables."""
    flags = {"gdsEnabled": True, "mofedEnabled": True, "gdrcopyEnabled": True}
    env = dict(Allocator(tmp_path, flags=flags, imex={"channelIDs": [0]}).give(0).env)
    del env["NVIDIA_VISIBLE_DEVICES"]
    assert env == {
        "NVIDIA_GDRCOPY": "enabled",
        "NVIDIA_GDS": "enabled",
        "NVIDIA_MOFED": "enabled",
        "NVIDIA_IMEX_CHANNELS": "0",
    }


def test_device_files(tmp_path: Path) -> None:
    """A container gets the existing control files, and each GPU's file by its minor number, which is not its index."""
    allocator = Allocator(tmp_path, flags=_plugin(passDeviceSpecs=True), imex={"channelIDs": [0]})
    control = ["/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools", "/dev/nvidia-modeset"]
    channel = "/dev/nvidia-caps-imex-channels/channel0"
    assert allocator.shares[0].gpu.minor == 1
    assert allocator.give(0).nodes == [DeviceNode(path, path, "rw") for path in (*control, "/dev/nvidia1", channel)]
    assert [str(node.host_path) for node in allocator.give(0, 1).nodes][-3:] == [
        "/dev/nvidia1",
        "/dev/nvidia0",
        channel,
    ]


@pytest.mark.parametrize("required", [True, False])
def test_imex_channels_that_are_missing(tmp_path: Path, *, required: bool) -> None:
    """They are left out unless required; if required, no container can be served, and the reason says so."""
    SimulatedNode(tmp_path, "single")
    files = DeviceFiles(DriverPaths(Host(tmp_path)), Imex(channel_ids=(0,), required=required))
    files.refresh([])
    assert files.channels == {}
    missing = "/dev/nvidia-caps-imex-channels/channel0 is missing"
    assert files.problem == (f"imex.required is true, but {missing}" if required else "")


def test_control_files_that_are_missing(tmp_path: Path) -> None:
    """A container cannot start with a file that is not there."""
    driver = SimulatedNode(tmp_path, "single")
    (tmp_path / "dev/nvidia-modeset").unlink()
    files = DeviceFiles(DriverPaths(Host(tmp_path)), Imex())
    files.refresh(facts(driver))
    assert files.control == ("/dev/nvidiactl", "/dev/nvidia-uvm", "/dev/nvidia-uvm-tools")


def test_device_files_below_a_root(tmp_path: Path) -> None:
    """The path on the node includes the root, the container's does not; by default the root is the driver's."""
    for flags, root in (
        ({"nvidiaDriverRoot": "/run/nvidia/driver"}, "/run/nvidia/driver"),
        ({"nvidiaDriverRoot": "/run/nvidia/driver", "nvidiaDevRoot": "/"}, ""),
    ):
        allocator = Allocator(
            tmp_path / (root or "x").strip("/"), "single", flags=flags | _plugin(passDeviceSpecs=True)
        )
        node = allocator.give(0).nodes[-1]
        assert (node.host_path, node.container_path) == (f"{root}/dev/nvidia0", "/dev/nvidia0")


@pytest.mark.parametrize("listed", [True, False])
def test_capability_files_of_mig_devices(tmp_path: Path, *, listed: bool) -> None:
    """They are the GPU instance's and the compute instance's, from the driver's list or its tree of files."""
    flags = {"migStrategy": "mixed", **_plugin(passDeviceSpecs=True)}
    if not listed:
        SimulatedNode(tmp_path, "a100x2", {1: "mixed"})
        minors = tmp_path / "proc/driver/nvidia-caps/mig-minors"
        for line in minors.read_text().splitlines():
            key, number = line.split()
            if "/" in key:
                gpu, rest = key.split("/", 1)
                path = tmp_path / "proc/driver/nvidia/capabilities" / gpu / "mig" / rest
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(f"DeviceFileMinor: {number}\nDeviceFileMode: 438\nDeviceFileModify: 1\n")
        (tmp_path / "simulator").rename(tmp_path / "simulated")
    allocator = Allocator(tmp_path if listed else tmp_path / "sub", "a100x2", {1: "mixed"}, flags=flags)
    files = DeviceFiles(DriverPaths(Host(tmp_path)), Imex())
    if not listed:
        (tmp_path / "proc/driver/nvidia-caps/mig-minors").unlink()
    gpus = facts(allocator.driver)
    files.refresh(gpus)
    mixed = gpus[1]
    assert [list(files.of(mixed, mig)) for mig in mixed.migs[:2]] == [
        ["/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap3", "/dev/nvidia-caps/nvidia-cap4"],
        ["/dev/nvidia0", "/dev/nvidia-caps/nvidia-cap5", "/dev/nvidia-caps/nvidia-cap6"],
    ]
    if listed:
        assert [str(node.host_path) for node in allocator.give(2).nodes][-3:] == list(files.of(mixed, mixed.migs[1]))


@pytest.mark.parametrize("flags", [_plugin(passDeviceSpecs=True), _plugin(deviceListStrategy="cdi-cri")])
def test_a_capability_file_that_is_missing(tmp_path: Path, flags: dict[str, object]) -> None:
    """A container could not use the MIG device, so that is reported; without files it does not matter."""
    allocator = Allocator(tmp_path, "a100x2", {1: "mixed"}, flags={"migStrategy": "mixed", **flags})
    whole, mig = allocator.shares[:2]
    assert [allocator.problem(share) for share in (whole, mig)] == ["", ""]
    (tmp_path / "dev/nvidia-caps/nvidia-cap3").unlink()
    assert (
        allocator.problem(mig) == "/dev/nvidia-caps/nvidia-cap3, which containers with this MIG device need, is missing"
    )
    (tmp_path / "proc/driver/nvidia-caps/mig-minors").write_text("")
    assert allocator.problem(mig) == (
        "the driver lists no capability gpu0/gi1/access, which containers with this MIG device need"
    )
    assert allocator.problem(whole) == ""
    plain = Allocator(tmp_path / "plain", "a100x2", {1: "mixed"}, flags={"migStrategy": "mixed"})
    (tmp_path / "plain/proc/driver/nvidia-caps/mig-minors").unlink()
    assert [plain.problem(share) for share in plain.shares] == [""] * len(plain.shares)


def _sharing(mode: str = "timeSlicing", **more: object) -> dict[str, object]:
    return {mode: {"resources": [{"name": "nvidia.com/gpu", "replicas": 2}], **more}}


def test_replicas_of_one_gpu(tmp_path: Path) -> None:
    """A GPU is named once, however many of its replicas a container has."""
    allocator = Allocator(tmp_path, sharing=_sharing())
    assert allocator.give(0, 1, 2).env == {"NVIDIA_VISIBLE_DEVICES": ",".join(dict.fromkeys(allocator.uuids()))}


@pytest.mark.parametrize("mode", ["timeSlicing", "mps"])
def test_one_share_only(tmp_path: Path, mode: str) -> None:
    """A request for more is refused with the allowed and the requested number."""
    allocator = Allocator(tmp_path, sharing=_sharing(mode, failRequestsGreaterThanOne=True))
    allocator.give(0)
    with pytest.raises(
        RequestRejected, match=r"'nvidia.com/gpu: 2'.* maximum request size for shared resources is 1, found 2"
    ):
        allocator.give(0, 2)


def test_mps(tmp_path: Path) -> None:
    """A container gets the daemon's sockets and the shared memory, where CUDA looks for them."""
    allocator = Allocator(tmp_path, sharing=_sharing("mps", renameByDefault=True))
    got = allocator.give(0)
    assert got.env == {
        "NVIDIA_VISIBLE_DEVICES": allocator.uuids()[0],
        "CUDA_MPS_PIPE_DIRECTORY": "/mps/nvidia.com/gpu.shared/pipe",
    }
    assert got.mounts == [
        Mount("/run/nvidia/mps/nvidia.com/gpu.shared/pipe", "/mps/nvidia.com/gpu.shared/pipe", read_only=False),
        Mount("/run/nvidia/mps/shm", "/dev/shm", read_only=False),  # noqa: S108 - in the container
    ]

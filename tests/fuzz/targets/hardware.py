"""What the kernel, the driver and other programs write: sysfs, /proc, the driver's files and CDI files."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import msgspec

from hub import CdiSpecFiles, Device, Host, NoDevices, ResetFailed, Runtime, cdi_spec
from hub.plugin.devices.pci import PciTree
from hub.plugin.devices.validation import validate_device
from plugins.generic import Generic
from plugins.generic.discovery.devwatch import watched_directories
from plugins.generic.settings import GenericSettings
from plugins.gpu.allocation.devicefiles import DeviceFiles
from plugins.gpu.cdi import CdiFiles
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.discovery.facts import Gpu, MigDevice
from plugins.gpu.settings.file import GPUSettings
from plugins.ib import IB
from plugins.ib.discovery.sysfs import read_states
from plugins.ib.reset.function import Function
from plugins.ib.settings import IBSettings
from tests.fuzz.choices import Choices
from tests.fuzz.pieces import Directory, Input, Kind, Piece, edited_files
from tests.fuzz.target import Fault, Target
from tests.harness.scanned import scanned
from tests.simulators.generictree import GenericTree
from tests.simulators.rdma.tree import RdmaTree

ODD_NAMES = ("\xff", "mlx5_\u00b2", "mlx5_\xd9\xa1", "a\x1bb", "x" * 200, "0", "-1", "1e3", ".hidden", "a b\n")
"""Names of files, one character for each byte; some have digits that are not ASCII."""

PF, VF, OTHER = "0000:07:00.0", "0000:07:00.1", "0000:87:00.0"

POOLS = [
    {"resourceName": "hca", "selectors": {"drivers": ["mlx5_core"]}, "mode": "hca"},
    {"resourceName": "vf", "selectors": {"pfNames": ["mlx5_0"]}, "mode": "vf"},
]


def read_pieces(root: Path) -> list[Piece]:
    """Read a directory tree into pieces."""
    pieces = []
    for path in sorted(root.rglob("*")):
        name = str(path.relative_to(root))
        if path.is_symlink():
            pieces.append(Piece(os.readlink(path), name, Kind.LINK))  # noqa: PTH115 - as it is written
        elif path.is_file():
            pieces.append(Piece.of(path.read_bytes(), name))
        elif not any(path.iterdir()):
            pieces.append(Piece(name=name, kind=Kind.DIRECTORY))
    return pieces


class RdmaTreeTarget(Target):
    """The RDMA devices in sysfs, the routes and the processes that hold device files."""

    inputs = 500

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        tree = RdmaTree(directory / "first")
        tree.add("mlx5_0", PF, netdevs=("ib0",))
        tree.add_vf("mlx5_1", VF, "mlx5_0", 0, netdevs=("ib0v0",))
        tree.add("mlx5_2", OTHER, numa=1)
        root = directory / "first"
        self._put(root / "proc/net/route", "Iface Dest\nib0 00000000 0 3 0 0 0 00000000\n")
        self._put(root / "proc/net/ipv6_route", "00 00 00 00 00 00 00 00 00000001 eth0\n")
        self._put(root / "proc/7/comm", "trainer\n")
        (root / "proc/7/fd").mkdir()
        (root / "proc/7/fd/3").symlink_to("/dev/infiniband/uverbs1")
        self._put(root / f"sys/devices/pci0000:00/{VF}/reset_method", "flr\n")
        self._put(root / "sys/module/ib_core/parameters/netns_mode", "Y\n")
        pieces = read_pieces(root)
        self._valid = {piece.name: piece.content for piece in pieces}
        directories = sorted({name.rpartition("/")[0] for name in self._valid})
        self._more = [f"{name}/{odd}" for name in directories for odd in ODD_NAMES]
        self._files = Directory(directory / "node", pieces)
        self._settings = msgspec.convert({"configList": POOLS, "cdi": ["cri"]}, IBSettings)

    @staticmethod
    def _put(path: Path, text: str) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def make(self, choices: Choices) -> Input:
        """Change the files."""
        return edited_files(choices, self._valid, self._more if choices.below(3) == 2 else ())

    def consume(self, pieces: Input) -> None:
        """Scan: a fault in one device must not affect another, let alone the whole scan."""
        self._files.change(pieces)
        host = Host(self._files.root)
        plugin = IB(self._settings, host, Runtime())
        found = {device.id for device in scanned(plugin) if isinstance(device, Device)}
        if OTHER not in found and all(f"/{VF}/" in piece.name for piece in pieces):
            raise Fault("a fault in one device affects another")
        plugin.metrics()
        read_states(host)
        with suppress(ResetFailed):
            # If the code cannot determine which processes use a device, a reset fails with the reason.
            list(Function(host, VF).holders())
        PciTree(host).upstream(VF)


GENERIC_RESOURCES = [
    {"name": "e.com/tty", "files": ["/dev/ttyUSB*", "/dev/serial/by-id/*"], "env": {"A": "{path} {serial} {pci}"}},
    {"name": "e.com/usb", "usb": [{"vendor": "1a86"}], "nodes": ["*"]},
    {"name": "e.com/cards", "groups": [{"files": [{"path": "/dev/snd/controlC*"}, {"path": "/dev/snd/pcmC*D0c"}]}]},
    {"name": "e.com/all", "sysfs": [{"parents": {"idVendor": "*"}}], "env": {"A": "{name}"}},
    {"name": "e.com/vfio", "pci": [{"vendor": "10ee"}], "vfio": True},
    {"name": "e.com/other", "files": ["/dev/other"]},
]


class GenericTreeTarget(Target):
    """Files in /dev, and devices in sysfs."""

    inputs = 500

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        tree = GenericTree(directory / "first")
        tree.part(tree.usb("1-1.4", serial="0001"), "ttyUSB0", "tty")
        tree.link("serial/by-id/modem", "../../ttyUSB0")
        card = tree.pci("0000:00:1f.3", kind="040300")
        for name in ("controlC0", "pcmC0D0c"):
            tree.part(card, f"snd/{name}", "sound")
        tree.pci("0000:3b:00.0", driver="vfio-pci", group=12, numa=1)
        tree.file("other")
        pieces = read_pieces(directory / "first")
        self._valid = {piece.name: piece.content for piece in pieces}
        directories = sorted({name.rpartition("/")[0] for name in self._valid})
        self._more = [f"{name}/{odd}" for name in directories for odd in ODD_NAMES]
        self._files = Directory(directory / "node", pieces)
        self._settings = msgspec.convert({"resources": GENERIC_RESOURCES}, GenericSettings)

    def make(self, choices: Choices) -> Input:
        """Change the files."""
        return edited_files(choices, self._valid, self._more if choices.below(3) == 2 else ())

    def consume(self, pieces: Input) -> None:
        """Scan: a fault in one device must not affect another, let alone the whole scan."""
        self._files.change(pieces)
        host = Host(self._files.root)
        plugin = Generic(self._settings, host, Runtime())
        found: list[Device] = []
        with suppress(NoDevices):
            found = [device for device in scanned(plugin) if isinstance(device, Device)]
        if not any(device.id == "other" for device in found) and all(piece.name.startswith("sys/") for piece in pieces):
            raise Fault("a fault in one device affects another")
        if faults := [problem for device in found if (problem := validate_device(device, ()))]:
            raise Fault(faults[0])
        watched_directories(host, ["/dev/ttyUSB*", "/run/*/x"])


class GpuTreeTarget(Target):
    """The PCI bus, the driver's capability files and its libraries."""

    inputs = 500
    FILES: ClassVar[Mapping[str, bytes]] = {
        "sys/bus/pci/devices/0000:07:00.0/vendor": b"0x10de\n",
        "sys/bus/pci/devices/0000:07:00.0/class": b"0x030200\n",
        "sys/bus/pci/devices/0000:07:00.0/driver/x": b"",
        "proc/driver/nvidia-caps/mig-minors": b"gpu0/gi1/access 20\ngpu0/gi1/ci0/access 21\n",
        "proc/driver/nvidia/capabilities/gpu0/mig/gi1/access": b"DeviceFileMinor: 20\nDeviceFileMode: 292\n",
        "proc/driver/nvidia/capabilities/gpu0/mig/gi1/ci0/access": b"DeviceFileMinor: 21\n",
        "dev/nvidia0": b"",
        "dev/nvidiactl": b"",
        "usr/bin/nvidia-smi": b"#!/bin/sh\n",
        "usr/lib64/libcuda.so.1.2.3": b"",
        "lib64/libcuda.so.1.2.3": b"",
        "lib/firmware/nvidia/1.2.3/gsp_x.bin": b"",
    }
    MIG: ClassVar[MigDevice] = MigDevice("MIG-1", 0, "1g.5gb", 1, 0, 1, 1, 1 << 30)
    GPU: ClassVar[Gpu] = Gpu("GPU-1", 0, 0, "A100", "0000:07:00.0", 1 << 34, 0, (8, 0), mig=True, migs=(MIG,))

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        pieces = [Piece.of(content, name) for name, content in self.FILES.items()]
        self._files = Directory(directory / "node", pieces)
        flags = {"plugin": {"deviceListStrategy": "cdi-cri"}, "gdsEnabled": True, "mofedEnabled": True}
        self._settings = msgspec.convert({"flags": flags}, GPUSettings)

    def make(self, choices: Choices) -> Input:
        """Change the files."""
        more = [f"{name.rpartition('/')[0]}/{odd}" for name in self.FILES for odd in ODD_NAMES]
        return edited_files(choices, self.FILES, more if choices.below(3) == 2 else ())

    def consume(self, pieces: Input) -> None:
        """Look for GPUs, and write the CDI files."""
        self._files.change(pieces)
        paths = DriverPaths(Host(self._files.root))
        paths.has_gpus()
        files = DeviceFiles(paths, self._settings.imex)
        files.refresh([self.GPU])
        cdi = CdiFiles(self._settings, paths, files)
        cdi.build([self.GPU], "1.2.3")
        cdi.write()


class CdiDirectory(Target):
    """Existing CDI files in the directory that all vendors share."""

    inputs = 350
    FILES: ClassVar[Mapping[str, bytes]] = {
        "example.com-gpu.json": msgspec.json.encode(cdi_spec("example.com", "gpu", {"0": {"env": ["A=b"]}})),
        "example.com-old.json": b"{}",
        "other.com-gpu.json": b"{}",
    }
    NAMES: ClassVar[Sequence[str]] = ("example.com-\xff.json", "example.com-.json", "example.com-x\n.json")

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        pieces = [Piece.of(content, name) for name, content in self.FILES.items()]
        self._files = Directory(directory / "cdi", pieces)

    def make(self, choices: Choices) -> Input:
        """Change the files."""
        return edited_files(choices, self.FILES, self.NAMES)

    def consume(self, pieces: Input) -> None:
        """Bring the directory up to date; the only errors come from the operating system."""
        self._files.reset()
        self._files.change(pieces)
        specs = {"gpu": cdi_spec("example.com", "gpu", {"0": {"env": ["A=b"]}, "1": {}})}
        try:
            CdiSpecFiles(self._files.root, "example.com").keep(specs)
        except OSError:
            # Plugins report this error as the reason why their devices cannot be used.
            return

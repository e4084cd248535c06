"""Nodes with simulated Intel GPUs: sysfs and device files as the kernel makes them."""

import os
import re
import shutil
from pathlib import Path

INTEL = "0x8086"

I915, XE = "i915", "xe"

FLEX_170, MAX_1550, TIGER_LAKE, BATTLEMAGE = "0x56c0", "0x0bd5", "0x9a49", "0xe20b"

DISCRETE, WITH_DISPLAY = "0x038000", "0x030000"
"""Classes of display controllers: without a port for a screen, and with one."""


class IntelTree:
    """The node's file system, to be changed while a plugin reads it.

    Args:
        root: An empty directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._functions: dict[str, Path] = {}
        self._drivers: dict[str, str] = {}
        self._others: set[str] = set()
        (root / "sys/class/drm").mkdir(parents=True)
        (root / "sys/bus/pci/devices").mkdir(parents=True)
        (root / "dev").mkdir(exist_ok=True)

    @property
    def gpus(self) -> list[str]:
        """The PCI addresses of the Intel GPUs."""
        return [pci for pci in self._functions if pci not in self._others]

    def add(
        self,
        pci: str,
        *,
        device: str = FLEX_170,
        driver: str = I915,
        numa: int = 0,
        kind: str = DISCRETE,
        vendor: str = INTEL,
        card: int | None = None,
        meis: int = 0,
        max_vfs: int = 0,
    ) -> None:
        """Add a GPU; `card` is the number of its card, by default the lowest free one."""
        function = self.root / f"sys/devices/pci0000:{pci[5:7]}/{pci}"
        function.mkdir(parents=True)
        self._functions[pci] = function
        if vendor != INTEL:
            self._others.add(pci)
        self._write(function, vendor=vendor, device=device, numa_node=numa, **{"class": kind})
        if max_vfs:
            self._write(function, sriov_totalvfs=max_vfs, sriov_numvfs=0)
        self._link(function, self.root / "sys/bus/pci/devices" / pci)
        if driver:
            self.bind(pci, driver, card=card, meis=meis)

    def bind(self, pci: str, driver: str = I915, *, card: int | None = None, meis: int = 0) -> None:
        """Bind a driver to the GPU, and create its files."""
        function = self._functions[pci]
        self._drivers[pci] = driver
        target = self.root / "sys/bus/pci/drivers" / driver
        target.mkdir(parents=True, exist_ok=True)
        self._link(target, function / "driver")
        if driver not in {I915, XE}:
            return
        card = self._free("card", 0) if card is None else card
        render = self._free("renderD", 128)
        for name in (f"card{card}", f"renderD{render}"):
            (function / "drm" / name).mkdir(parents=True)
            self._link(function, function / "drm" / name / "device")
            self._link(function / "drm" / name, self.root / "sys/class/drm" / name)
            self._put(f"dev/dri/{name}")
        self._link(self.root / f"dev/dri/card{card}", self.root / f"dev/dri/by-path/pci-{pci}-card")
        self._link(self.root / f"dev/dri/renderD{render}", self.root / f"dev/dri/by-path/pci-{pci}-render")
        for number in range(meis):
            mei = self._free("mei", 0)
            (function / f"{driver}.mei-gsc{'fi' * number}.{mei}" / "mei" / f"mei{mei}").mkdir(parents=True)
            self._put(f"dev/mei{mei}")

    def unbind(self, pci: str) -> None:
        """Unbind the driver from the GPU: its files disappear, but the function stays."""
        function = self._functions[pci]
        for path in list((function / "drm").glob("*")):
            (self.root / "sys/class/drm" / path.name).unlink()
            (self.root / "dev/dri" / path.name).unlink(missing_ok=True)
        for path in list((self.root / "dev/dri").glob(f"by-path/pci-{pci}-*")):
            path.unlink()
        for path in list(function.glob("*.mei-*/mei/*")):
            (self.root / "dev" / path.name).unlink()
            shutil.rmtree(path.parents[1])
        for directory in ("drm", "hwmon"):
            shutil.rmtree(function / directory, ignore_errors=True)
        (function / "driver").unlink(missing_ok=True)
        self._drivers.pop(pci, None)

    def remove(self, pci: str) -> None:
        """Remove the GPU, and its virtual functions with it."""
        self.divide(pci, 0)
        self.unbind(pci)
        (self.root / "sys/bus/pci/devices" / pci).unlink()
        self._others.discard(pci)
        function = self._functions.pop(pci)
        pf = function / "physfn"
        if pf.is_symlink():
            for link in pf.resolve().glob("virtfn*"):
                if link.readlink().name == pci:
                    link.unlink()
        shutil.rmtree(function)

    def divide(self, pci: str, count: int, *, driver: str = "") -> None:
        """Split a GPU into virtual functions, as an administrator does, by default with the physical one's driver."""
        function = self._functions[pci]
        for link in list(function.glob("virtfn*")):
            self.remove(link.readlink().name)
        if count or (function / "sriov_numvfs").exists():
            self._write(function, sriov_numvfs=count)
        facts = {name: (function / name).read_text().strip() for name in ("device", "numa_node", "class")}
        for number in range(count):
            name = _virtual(pci, number)
            self.add(
                name,
                device=facts["device"],
                numa=int(facts["numa_node"]),
                kind=facts["class"],
                driver=driver or self._drivers.get(pci, ""),
            )
            self._link(function, self._functions[name] / "physfn")
            self._link(self._functions[name], function / f"virtfn{number}")

    def set_temperature(self, pci: str, celsius: float, label: str = "") -> None:
        """Set a temperature as the driver shows it: xe has several, each with a label; i915 has only one."""
        number = {"": 1, "pkg": 2, "vram": 3}.get(label, 4)
        directory = self._functions[pci] / "hwmon/hwmon3"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"temp{number}_input").write_text(f"{celsius * 1000:.0f}\n")
        if label:
            (directory / f"temp{number}_label").write_text(f"{label}\n")

    def leave_framebuffer(self, pci: str) -> None:
        """Add a dangling link to the firmware's framebuffer, which remains after a driver has taken over the GPU."""
        name = f"pci-{pci}-platform-simple-framebuffer.0-card"
        self._link(self.root / "dev/dri/card99", self.root / "dev/dri/by-path" / name)

    def path(self, pci: str, name: str) -> Path:
        """Return a file in the directory of a function."""
        return self._functions[pci] / name

    def driver(self, pci: str) -> str:
        """Return the driver of a GPU; empty if none is bound."""
        return self._drivers.get(pci, "")

    def vfs(self, pci: str) -> list[str]:
        """Return the virtual functions of a GPU."""
        return sorted(link.readlink().name for link in self._functions[pci].glob("virtfn*"))

    def files(self, pci: str) -> list[str]:
        """Return the device files of a GPU."""
        return sorted(f"/dev/dri/{path.name}" for path in (self._functions[pci] / "drm").glob("*"))

    def meis(self, pci: str) -> list[str]:
        """Return the device files of a GPU's management engines."""
        return sorted(f"/dev/{path.name}" for path in self._functions[pci].glob("*.mei-*/mei/*"))

    def links(self, pci: str) -> list[str]:
        """Return the links to the device files of a GPU, as udev makes them."""
        kinds = [re.sub("D?[0-9]+", "", Path(file).name) for file in self.files(pci)]
        return [f"/dev/dri/by-path/pci-{pci}-{kind}" for kind in kinds]

    def _free(self, kind: str, first: int) -> int:
        """Return the lowest free number, as the kernel counts."""
        directory = self.root / ("dev" if kind == "mei" else "sys/class/drm")
        return next(number for number in range(first, first + 1000) if not (directory / f"{kind}{number}").exists())

    def _put(self, name: str) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).touch()

    @staticmethod
    def _write(function: Path, **values: object) -> None:
        for name, value in values.items():
            (function / name).write_text(f"{value}\n")

    @staticmethod
    def _link(target: Path, link: Path) -> None:
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(os.path.relpath(target, link.parent))


def _virtual(pci: str, number: int) -> str:
    """Return the address of a virtual function, which comes after that of its physical function."""
    bus, slot, function = pci[:-5], int(pci[-4:-2], 16), int(pci[-1])
    position = 8 * slot + function + 1 + number
    return f"{bus}:{position // 8:02x}.{position % 8}"


def integrated(root: Path) -> IntelTree:
    """Create a desktop with an integrated GPU, whose NUMA node is unknown."""
    tree = IntelTree(root)
    tree.add("0000:00:02.0", device=TIGER_LAKE, numa=-1, kind=WITH_DISPLAY)
    return tree


def two_flex(root: Path) -> IntelTree:
    """Create a node with two Flex 170s, one on each NUMA node, each with two management engines."""
    tree = IntelTree(root)
    tree.add("0000:4d:00.0", numa=0, meis=2, max_vfs=31)
    tree.add("0000:b7:00.0", numa=1, meis=2, max_vfs=31)
    return tree


def eight_max(root: Path) -> IntelTree:
    """Create a node with eight Max 1550s, four on each NUMA node; card number 0 is the board's own controller."""
    tree = IntelTree(root)
    tree.add("0000:03:00.0", vendor="0x1a03", device="0x2000", driver="", kind=WITH_DISPLAY)
    for number in range(8):
        bus = 0x18 + 0x10 * number
        tree.add(f"0000:{bus:02x}:00.0", device=MAX_1550, numa=number // 4, card=number + 1, max_vfs=63)
    return tree


def battlemage(root: Path) -> IntelTree:
    """Create a node with an integrated GPU that uses i915 and a Battlemage card that uses xe."""
    tree = integrated(root)
    tree.add("0000:03:00.0", device=BATTLEMAGE, driver=XE, kind=WITH_DISPLAY, meis=1)
    return tree


def four_vfs(root: Path) -> IntelTree:
    """Create a node with a Flex 170 that is split into four virtual functions, and one that is not."""
    tree = two_flex(root)
    tree.divide("0000:4d:00.0", 4)
    return tree

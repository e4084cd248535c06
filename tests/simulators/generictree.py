"""Nodes with simulated devices: /dev and sysfs as the kernel and udev make them."""

import shutil
from pathlib import Path


class GenericTree:
    """The node's file system, to be changed while a plugin reads it.

    Args:
        root: An empty directory.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._links: dict[Path, Path] = {}
        for directory in ("dev/bus/usb", "sys/class", "sys/bus/usb/devices", "sys/bus/pci/devices", "sys/kernel"):
            (root / directory).mkdir(parents=True)

    def file(self, name: str) -> None:
        """Create a file in /dev that is not in sysfs."""
        path = self.root / "dev" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    def link(self, name: str, target: str) -> None:
        """Create a link in /dev, as udev does."""
        path = self.root / "dev" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(target)

    def virtual(self, name: str, subsystem: str = "misc") -> Path:
        """Add a device without hardware, such as kvm or net/tun."""
        return self._device(self.root / "sys/devices/virtual", name, subsystem)

    def rename(self, device: Path, name: str) -> None:
        """Give a device a name other than that of its file, such as dvb0.frontend0."""
        link = self.root / "sys/class" / device.parent.name / device.name
        self._links.pop(link)
        link.unlink()
        self._link(link.with_name(name), device.rename(device.with_name(name)))

    def udev(self, device: Path, number: str, **properties: str) -> None:
        """Set the properties that udev has found for a device with a file of this number, such as "c188:0"."""
        (device / "dev").write_text(f"{number[1:]}\n")
        path = self.root / "run/udev/data" / number
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(["I:1\n", *(f"E:{name}={value}\n" for name, value in properties.items())]))

    def platform(self, name: str, subsystem: str) -> Path:
        """Add a device that is part of the board, such as ttyS0."""
        owner = self.root / f"sys/devices/platform/{name}-parent"
        owner.mkdir(parents=True)
        (owner / "uevent").touch()
        return self._device(owner, name, subsystem)

    def pci(
        self,
        address: str,
        vendor: str = "10ee",
        device: str = "5001",
        *,
        kind: str = "120000",
        driver: str = "",
        numa: int = -1,
        group: int | None = None,
        noiommu: bool = False,
    ) -> Path:
        """Add a PCI function, and the file of its IOMMU group."""
        function = self.root / f"sys/devices/pci{address[:7]}/{address}"
        function.mkdir(parents=True)
        facts = {"vendor": f"0x{vendor}", "device": f"0x{device}", "class": f"0x{kind}", "numa_node": str(numa)}
        for name, value in facts.items():
            (function / name).write_text(f"{value}\n")
        (function / "uevent").write_text(f"PCI_SLOT_NAME={address}\n")
        self._link(function / "subsystem", self.root / "sys/bus/pci")
        if group is not None:
            self._join(function, group, noiommu=noiommu)
        self.bind(function, driver)
        # This link is created last, so that a reader of the tree finds a complete device.
        self._link(self.root / f"sys/bus/pci/devices/{address}", function)
        return function

    def bind(self, function: Path, driver: str) -> None:
        """Bind a driver to a function, or unbind it."""
        (function / "driver").unlink(missing_ok=True)
        if driver:
            directory = self.root / f"sys/bus/pci/drivers/{driver}"
            directory.mkdir(parents=True, exist_ok=True)
            self._link(function / "driver", directory)

    def usb(
        self,
        port: str,
        vendor: str = "1a86",
        product: str = "7523",
        *,
        serial: str = "",
        number: int = 4,
        numa: int = -1,
    ) -> Path:
        """Add a USB device with one interface."""
        bus, _, chain = port.partition("-")
        controller = self.root / f"sys/devices/pci0000:00/0000:00:14.{bus}"
        if not controller.exists():
            self.pci(f"0000:00:14.{bus}", "8086", "a36d", kind="0c0330", driver="xhci_hcd", numa=numa)
        parts = chain.split(".")
        hubs = [f"{bus}-{'.'.join(parts[: end + 1])}" for end in range(len(parts))]
        path = controller.joinpath(f"usb{bus}", *hubs)
        path.mkdir(parents=True)
        facts = {"idVendor": vendor, "idProduct": product, "serial": serial, "busnum": bus, "devnum": str(number)}
        for name, value in facts.items():
            if value:
                (path / name).write_text(f"{value}\n")
        file = f"bus/usb/{int(bus):03}/{number:03}"
        (path / "uevent").write_text(f"DEVNAME={file}\nDEVTYPE=usb_device\n")
        self._link(path / "subsystem", self.root / "sys/bus/usb")
        interface = path / f"{port}:1.0"
        interface.mkdir()
        (interface / "uevent").write_text("DEVTYPE=usb_interface\n")
        self._link(interface / "subsystem", self.root / "sys/bus/usb")
        self._link(self.root / f"sys/bus/usb/devices/{port}", path)
        self._link(self.root / f"sys/bus/usb/devices/{port}:1.0", interface)
        self.file(file)
        return path

    def part(self, owner: Path, name: str, subsystem: str, **attributes: str) -> Path:
        """Add a device that is part of a function or of the first interface of a USB device, and its file."""
        interface = owner / f"{owner.name}:1.0"
        return self._device(interface if interface.exists() else owner, name, subsystem, **attributes)

    def remove(self, device: Path) -> None:
        """Remove a device, with its parts and their files, which the kernel removes first."""
        lines = [line for path in device.rglob("uevent") for line in path.read_text().splitlines()]
        for line in lines:
            if line.startswith("DEVNAME="):
                (self.root / "dev" / line.removeprefix("DEVNAME=")).unlink()
        for link in [link for link, target in self._links.items() if f"{target}/".startswith(f"{device}/")]:
            del self._links[link]
            link.unlink(missing_ok=True)
        shutil.rmtree(device)

    def _device(self, owner: Path, name: str, subsystem: str, **attributes: str) -> Path:
        kernel = name.rpartition("/")[2]
        device = owner / subsystem / kernel
        device.mkdir(parents=True)
        (device / "uevent").write_text(f"DEVNAME={name}\n")
        for attribute, value in attributes.items():
            (device / attribute).write_text(f"{value}\n")
        directory = self.root / "sys/class" / subsystem
        directory.mkdir(exist_ok=True)
        self._link(device / "subsystem", directory)
        self._link(directory / kernel, device)
        self.file(name)
        return device

    def _join(self, function: Path, group: int, *, noiommu: bool) -> None:
        directory = self.root / f"sys/kernel/iommu_groups/{group}"
        (directory / "devices").mkdir(parents=True, exist_ok=True)
        (directory / "name").write_text("vfio-noiommu\n" if noiommu else "\n")
        self._link(directory / "devices" / function.name, function)
        self._link(function / "iommu_group", directory)
        self.file(f"vfio/{'noiommu-' if noiommu else ''}{group}")
        self.file("vfio/vfio")

    def _link(self, link: Path, target: Path) -> None:
        link.parent.mkdir(parents=True, exist_ok=True)
        depth = len(link.parent.parts)
        common = next(n for n in range(depth, -1, -1) if link.parent.parts[:n] == target.parts[:n])
        link.symlink_to(Path(*[".."] * (depth - common), *target.parts[common:]))
        self._links[link] = target

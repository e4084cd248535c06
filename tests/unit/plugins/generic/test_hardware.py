"""Resources of USB devices, PCI functions, IOMMU groups and other devices in sysfs."""

from pathlib import Path

import pytest

from tests.simulators.generictree import GenericTree
from tests.unit.plugins.generic.offers import devices, files, ids, plugin_for, resource, scan


@pytest.fixture
def tree(tmp_path: Path) -> GenericTree:
    """Create a node without devices."""
    return GenericTree(tmp_path)


def test_each_usb_device_is_one(tree: GenericTree) -> None:
    """It is found by vendor and product; its id is the port, so it keeps the id if it returns with a new number."""
    first = tree.usb("1-1", serial="A", number=4)
    tree.usb("1-2", serial="B", number=5)
    tree.usb("1-3", "0403", "6001", number=6)
    settings = resource(usb=[{"vendor": "1A86", "product": "0x7523"}])
    found = devices(tree.root, settings)
    assert [(device.id, files(device)) for device in found] == [
        ("1-1", [("/dev/bus/usb/001/004", "/dev/bus/usb/001/004", "rw")]),
        ("1-2", [("/dev/bus/usb/001/005", "/dev/bus/usb/001/005", "rw")]),
    ]
    tree.remove(first)
    tree.usb("1-1", serial="A", number=9)
    assert ids(tree.root, settings) == ["1-1", "1-2"]


def test_a_dongle_by_serial_number(tree: GenericTree) -> None:
    """Only that one is found, and its serial number is its id."""
    tree.usb("1-1", serial="A", number=4)
    tree.usb("1-2", serial="B", number=5)
    settings = resource(usb=[{"vendor": "1a86", "product": "7523", "serial": "B"}], id="dongle-{serial}")
    assert ids(tree.root, settings) == ["dongle-B"]


def test_files_of_a_usb_device(tree: GenericTree) -> None:
    """They are all the files of one USB device, but not those of a device behind a hub."""
    hub = tree.usb("1-1", "05e3", "0608", number=2)
    tree.part(hub, "hidraw0", "hidraw")
    adapter = tree.usb("1-1.4", number=4)
    for name in ("ttyUSB0", "ttyUSB1"):
        tree.part(adapter, name, "tty")
    chosen = resource(usb=[{"vendor": "1a86"}], nodes=["ttyUSB*"])
    assert [path for path, _, _ in files(devices(tree.root, chosen)[0])] == ["/dev/ttyUSB0", "/dev/ttyUSB1"]
    behind = resource(usb=[{"vendor": "05e3"}], nodes=["*"])
    assert [path for path, _, _ in files(devices(tree.root, behind)[0])] == ["/dev/bus/usb/001/002", "/dev/hidraw0"]
    none = resource(usb=[{"vendor": "1a86"}], nodes=["video*"])
    reason = "it has no device file that matches video*"
    assert scan(plugin_for(tree.root, none)) == ([], {"example.com/x 1-1.4": reason})


def test_usb_devices_that_are_one_together(tree: GenericTree) -> None:
    """A group makes them one device."""
    tree.usb("1-1", number=4)
    tree.usb("1-2", number=5)
    (device,) = devices(tree.root, resource(groups=[{"usb": [{"vendor": "1a86"}]}], permissions="r"))
    assert device.id == "1-1+1-2"
    assert [(path, permissions) for path, _, permissions in files(device)] == [
        ("/dev/bus/usb/001/004", "r"),
        ("/dev/bus/usb/001/005", "r"),
    ]


def test_pci_functions(tree: GenericTree) -> None:
    """They are found by ids and class, with the files of their parts, their NUMA node and their address."""
    fpga = tree.pci("0000:3b:00.0", numa=1)
    tree.part(fpga, "xdma0_user", "xdma")
    tree.part(fpga, "xdma0_control", "xdma")
    tree.pci("0000:3c:00.0", kind="020000")
    (device,) = devices(
        tree.root, resource(pci=[{"vendor": "10ee", "device": "5001", "class": "12"}], env={"A": "{pci}"})
    )
    assert (device.id, device.numa, device.pci) == ("0000:3b:00.0", [1], ("0000:3b:00.0",))
    assert [path for path, _, _ in files(device)] == ["/dev/xdma0_control", "/dev/xdma0_user"]
    assert device.env == {"A": "0000:3b:00.0"}


def test_a_function_without_files(tree: GenericTree) -> None:
    """A variable is enough for a device, but a function without anything is not a device."""
    tree.pci("0000:3b:00.0")
    assert ids(tree.root, resource(pci=[{"vendor": "10ee"}], env={"FPGA": "{pci}"})) == ["0000:3b:00.0"]
    nothing = "it has no device files, and the settings give containers nothing else"
    assert scan(plugin_for(tree.root, resource(pci=[{"vendor": "10ee"}]))) == (
        [],
        {"example.com/x 0000:3b:00.0": nothing},
    )


def test_an_iommu_group_is_one_device(tree: GenericTree) -> None:
    """It has all its functions, the file of the group and the common one; bridges need no driver."""
    tree.pci("0000:3b:00.0", driver="vfio-pci", group=12, numa=1)
    tree.pci("0000:3b:00.1", device="5002", driver="vfio-pci", group=12)
    bridge = {"vendor": "8086", "kind": "060400", "driver": "pcieport", "group": 12}
    tree.pci("0000:3a:00.0", **bridge)
    (device,) = devices(tree.root, resource(pci=[{"vendor": "10ee"}], vfio=True, env={"PCI_RESOURCE_X": "{pci}"}))
    assert (device.id, device.numa) == ("0000:3b:00.0", [1])
    assert [path for path, _, _ in files(device)] == ["/dev/vfio/12", "/dev/vfio/vfio"]
    assert device.env == {"PCI_RESOURCE_X": "0000:3b:00.0,0000:3b:00.1"}
    assert devices(tree.root, resource(pci=[{"vendor": "8086"}], vfio=True)) == []


def test_a_group_that_the_node_uses(tree: GenericTree) -> None:
    """Each function of the group must be bound to vfio-pci: the reason names those that are not."""
    tree.pci("0000:3b:00.0", driver="vfio-pci", group=12)
    other = tree.pci("0000:3b:00.1", driver="nvme", group=12)
    settings = resource(pci=[{"address": "0000:3b:00.0"}], vfio=True)
    reason = "all functions of IOMMU group 12 need the driver vfio-pci: 0000:3b:00.1 (nvme)"
    assert scan(plugin_for(tree.root, settings)) == ([], {"example.com/x 0000:3b:00.0": reason})
    tree.bind(other, "vfio-pci")
    assert ids(tree.root, settings) == ["0000:3b:00.0"]


def test_a_node_without_an_iommu(tree: GenericTree) -> None:
    """The reason says so; with the unsafe mode of vfio, the file has a different name."""
    tree.pci("0000:3b:00.0")
    settings = resource(pci=[{"vendor": "10ee"}], vfio=True)
    _, excluded = scan(plugin_for(tree.root, settings))
    assert excluded["example.com/x 0000:3b:00.0"].startswith("it has no IOMMU group")
    tree.pci("0000:3c:00.0", driver="vfio-pci", group=0, noiommu=True)
    assert files(devices(tree.root, settings)[0])[0][0] == "/dev/vfio/noiommu-0"


def test_devices_in_sysfs(tree: GenericTree) -> None:
    """They are found by the keys of a udev rule: attributes of the device and of those that it is part of."""
    for number, (model, numa) in enumerate([("Fast SSD", 0), ("Slow SSD", 1)]):
        function = tree.pci(f"0000:0{number}:00.0", kind="010802", driver="nvme", numa=numa)
        controller = tree.part(function, f"nvme{number}", "nvme", model=model)
        disk = tree.part(controller, f"nvme{number}n1", "block", size="100")
        tree.part(disk, f"nvme{number}n1p1", "block", partition="1")
    keys = {"subsystem": "block", "kernel": "nvme*n1", "driver": "nvme", "parents": {"model": "Fast*"}}
    (device,) = devices(tree.root, resource(sysfs=[{**keys, "attributes": {"size": "100"}}]))
    assert (device.id, device.numa) == ("0000:00:00.0-nvmen1", [0])
    assert files(device) == [("/dev/nvme0n1", "/dev/nvme0n1", "rw")]


def test_what_udev_knows(tree: GenericTree) -> None:
    """Properties of its rules select devices; without its files, only those of the kernel do."""
    for number in (0, 1):
        device = tree.part(tree.usb(f"1-{number + 1}", number=number + 4), f"ttyUSB{number}", "tty")
        tree.udev(device, f"c188:{number}", ID_MODEL=f"Modem_{number}", ID_BUS="usb")
    found = resource(sysfs=[{"subsystem": "tty", "properties": {"ID_MODEL": "Modem_1", "DEVNAME": "*"}}])
    assert ids(tree.root, found) == ["1-2:1.0-ttyUSB"]
    (tree.root / "run/udev/data/c188:1").unlink()
    assert ids(tree.root, found) == []


def test_what_is_suggested(tree: GenericTree) -> None:
    """The plugin is suggested for its usual hardware, with or without settings, but not for what every node has."""
    tree.part(tree.usb("1-1"), "ttyUSB0", "tty")
    tree.file("video0")
    tree.virtual("kvm")
    tree.pci("0000:3b:00.0", driver="vfio-pci", group=3)
    assert list(plugin_for(tree.root, {}).hardware()) == [
        "serial adapter /dev/ttyUSB0 (1a86:7523)",
        "video device /dev/video0",
        "PCI function 0000:3b:00.0 (10ee:5001) for vfio-pci",
    ]


def test_nothing_is_selected(tree: GenericTree) -> None:
    """The reason repeats the settings."""
    settings = resource(
        usb=[{"vendor": "1a86", "serial": "A"}], pci=[{"class": "12"}], sysfs=[{"attributes": {"size": "1"}}]
    )
    assert scan(plugin_for(tree.root, settings)) == (
        [],
        {
            "example.com/x": "no USB device has vendor 1a86, serial A; no PCI function has class 12; "
            "no device in sysfs has attributes {'size': '1'}"
        },
    )

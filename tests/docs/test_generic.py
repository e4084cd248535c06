"""docs/generic.md: its examples do what they say."""

import re
import tempfile
from pathlib import Path

import pytest
import yaml

from hub.base.errors import ConfigError
from hub.plugin.loading import load_settings
from plugins.generic.plugin import Generic
from plugins.generic.settings.templates import IN_CONTAINER
from tests.docs.docs_tools import codes
from tests.docs.pages import Page
from tests.docs.terminal import terminal, typed_in_thread
from tests.simulators.generictree import GenericTree
from tests.unit.plugins.generic.offers import files, plugin_for, resource, scan

PAGE = Page("docs/generic.md")


def _node(root: Path) -> GenericTree:
    tree = GenericTree(root)
    for name in ("kvm", "fuse", "net/tun"):
        tree.virtual(name)
    adapter = tree.usb("1-1", number=2)
    tree.part(adapter, "ttyUSB0", "tty")
    tree.link("serial/by-id/usb-1a86_USB2.0-Serial-if00-port0", "../../ttyUSB0")
    camera = tree.usb("1-2", number=3)
    for number in (0, 1):
        tree.part(camera, f"video{number}", "video4linux", index=str(number))
    tree.part(tree.usb("1-3", number=4), "cdc-wdm0", "usbmisc")
    tree.usb("1-4", "0529", "0001", serial="4711", number=5)
    card = tree.pci("0000:00:1f.3", "8086", "a348", kind="040300")
    for name in ("controlC0", "pcmC0D0c", "pcmC0D0p"):
        tree.part(card, f"snd/{name}", "sound")
    fpga = tree.pci("0000:3b:00.0", numa=1)
    for name in ("xdma0_user", "xdma0_control"):
        tree.part(fpga, name, "xdma")
    tree.pci("0000:41:00.0", "10de", "20b5", kind="030200", driver="vfio-pci", group=7)
    disk = tree.pci("0000:01:00.0", "144d", "a808", kind="010802", driver="nvme")
    controller = tree.part(disk, "nvme0", "nvme", model="Fast SSD", state="live")
    namespace = tree.part(controller, "nvme0n1", "block")
    (namespace / "uevent").write_text("DEVNAME=nvme0n1\nDEVTYPE=disk\n")
    return tree


EXPECTED = {
    "example.com/serial": [
        ("usb-1a86_USB2.0-Serial-if00-port0", ["/dev/serial/by-id/usb-1a86_USB2.0-Serial-if00-port0"]),
    ],
    "example.com/camera": [("1-2", ["/dev/video0", "/dev/video1"])],
    "example.com/microphone": [
        (f"0000:00:1f.3-controlC::{share}", ["/dev/snd/controlC0", "/dev/snd/pcmC0D0c"]) for share in range(10)
    ],
    "example.com/kvm": [(f"kvm::{share}", ["/dev/kvm"]) for share in range(100)],
    "example.com/tun": [(f"tun::{share}", ["/dev/net/tun"]) for share in range(100)],
    "example.com/fuse": [(f"fuse::{share}", ["/dev/fuse"]) for share in range(100)],
    "example.com/licence-dongle": [("1-4", ["/dev/bus/usb/001/005"])],
    "example.com/fpga": [("0000:3b:00.0", ["/dev/xdma0_control", "/dev/xdma0_user"])],
    "example.com/accelerator": [("0000:41:00.0", ["/dev/vfio/7", "/dev/vfio/vfio"])],
    "example.com/scratch-disk": [("0000:01:00.0-nvmen1", ["/dev/nvme0n1"])],
}


def _examples() -> list[str]:
    section = PAGE.text.partition("\n## Examples\n")[2].partition("\n## ")[0]
    return [block.text for block in PAGE.blocks if block.language == "yaml" and block.text in section]


def test_the_examples(tmp_path: Path) -> None:
    """On a node with that hardware, each example offers the devices that the text promises."""
    tree = _node(tmp_path / "node")
    found: dict[str, list[tuple[str, list[str]]]] = {}
    for example in _examples():
        devices, excluded = scan(plugin_for(tree.root, yaml.safe_load(example)))
        assert excluded == {}
        for device in devices:
            found.setdefault(device.resource, []).append((device.id, [path for _, path, _ in files(device)]))
    assert found == EXPECTED


def test_the_files_are_valid(tmp_path: Path) -> None:
    """All YAML on the page is valid."""
    config = tmp_path / "generic.yaml"
    for block in PAGE.blocks:
        if block.language == "yaml":
            config.write_text(block.text)
            try:
                load_settings(Generic, config)
            except ConfigError as error:
                pytest.fail(f"{error}\n{block.text}")


def test_every_placeholder_is_documented() -> None:
    """The table has each placeholder."""
    assert [name for name in IN_CONTAINER if f"`{{{name}}}`" not in PAGE.text] == []


def _reasons(tree: GenericTree) -> str:
    """Return all messages about resources that find nothing or too much."""
    adapters = [tree.usb(port, serial="0001", number=number) for number, port in enumerate(("2-1", "2-2"), 40)]
    for number, adapter in enumerate(adapters, 40):
        tree.part(adapter, f"ttyACM{number}", "tty")
    tree.pci("0000:50:00.0", "1000", driver="vfio-pci", group=12)
    tree.pci("0000:50:00.1", "1000", driver="nvme", group=12)
    tree.pci("0000:51:00.0", "1001")
    tree.pci("0000:52:00.0", "1002", driver="vfio-pci", group=13)
    (tree.root / "dev/vfio/vfio").unlink()
    keys = [
        {"files": ["/dev/ttyUSB*"]},
        {"usb": [{"vendor": "0403", "product": "6001"}]},
        {"files": ["/dev/ttyACM*"], "id": "{serial}"},
        *({"pci": [{"vendor": vendor}], "vfio": True} for vendor in ("1000", "1001", "1002")),
    ]
    found = [scan(plugin_for(tree.root, resource(**each)))[1] for each in keys]
    return "\n".join(reason for reasons in found for reason in reasons.values())


def test_what_the_troubleshooting_quotes_is_said(tmp_path: Path) -> None:
    """The log contains each message exactly as the page quotes it."""
    table = PAGE.text.partition("| symptom | cause and remedy |\n")[2]
    quotes = [code for line in table.splitlines() for code in codes(line.split(" | ")[0]) if " " in code]
    said = _reasons(GenericTree(tmp_path))
    assert len(quotes) == 6
    assert [quote for quote in quotes if quote not in said] == [], said


async def test_it_can_be_tried_without_root_or_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands work as a user types them in a directory with the two files of the page."""
    tree = GenericTree(tmp_path / "node")
    tree.file("fuse")
    monkeypatch.setenv("DPHUB_HOST_ROOT", str(tree.root))
    (admit,) = re.findall(r"Type `(admit [^`]+)`", PAGE.text)
    (reload,) = re.findall(r"run `(dphub reload [^`]+)`", PAGE.text)
    with tempfile.TemporaryDirectory(prefix="gn", dir="/tmp") as directory:
        root = Path(directory)
        for language, name in (("ini", "circus.ini"), ("yaml", "generic.yaml")):
            (root / name).write_text(next(block.text for block in PAGE.blocks if block.language == language))
        scan_it, kubelet, hub = (block.text.removeprefix("$ ") for block in PAGE.blocks if block.language == "console")
        assert "/dev/fuse" in await typed_in_thread(scan_it, root)
        async with terminal(kubelet, root) as first, terminal(hub, root) as second:
            await second.says("registered")
            while not any("example.com/fuse: 10 of 10 allocatable" in line for line in first.lines):
                first.type("capacity")
                await first.says("", times=len(first.lines) + 1)
            first.type(admit)
            await first.says("device node: /dev/fuse")
            assert "nothing has changed" in await typed_in_thread(reload, root)
            (root / "generic.yaml").write_text((root / "generic.yaml").read_text().replace("count: 10", "count: 20"))
            assert "generic" in await typed_in_thread(reload, root)
            (root / "generic.yaml").write_text((root / "generic.yaml").read_text().replace("/dev/fuse", "/dev/fuze"))
            said = await typed_in_thread(reload, root)
            assert "example.com/fuse (0 of 0)\ngeneric: example.com/fuse: no file matches /dev/fuze" in said

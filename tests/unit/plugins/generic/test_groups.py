"""Groups: which files make up one device."""

import time
from pathlib import Path
from typing import Any

import pytest

from plugins.generic.discovery.files import matched_by_wildcard
from tests.simulators.generictree import GenericTree
from tests.unit.plugins.generic.offers import devices, files, plugin_for, resource, scan


def _sound(tree: GenericTree, *cards: int) -> None:
    for card in cards:
        function = tree.pci(f"0000:00:1f.{card}", kind="040300")
        for name in (f"controlC{card}", f"pcmC{card}D0c", f"pcmC{card}D0p"):
            tree.part(function, f"snd/{name}", "sound")


@pytest.fixture
def tree(tmp_path: Path) -> GenericTree:
    """Create a node without devices."""
    return GenericTree(tmp_path)


CAPTURE: list[dict[str, Any]] = [{"path": "/dev/snd/controlC*"}, {"path": "/dev/snd/pcmC*D0c"}]


def test_files_with_the_same_number_belong_together(tree: GenericTree) -> None:
    """Cards 2 and 10 are two devices, each with its own files."""
    _sound(tree, 2)
    tree.virtual("snd/controlC10", "sound")
    tree.virtual("snd/pcmC10D0c", "sound")
    found = devices(tree.root, resource(groups=[{"files": CAPTURE}]))
    assert [(device.id, [path for path, _, _ in files(device)]) for device in found] == [
        ("0000:00:1f.2-controlC", ["/dev/snd/controlC2", "/dev/snd/pcmC2D0c"]),
        ("controlC10", ["/dev/snd/controlC10", "/dev/snd/pcmC10D0c"]),
    ]


def test_a_device_that_lacks_a_file(tree: GenericTree) -> None:
    """It is excluded, unless the file is optional."""
    _sound(tree, 1)
    tree.virtual("snd/controlC7", "sound")
    found, excluded = scan(plugin_for(tree.root, resource(groups=[{"files": CAPTURE}])))
    assert [device.id for device in found] == ["0000:00:1f.1-controlC"]
    why = "no file that matches /dev/snd/pcmC*D0c belongs to it"
    assert excluded == {"example.com/x /dev/snd/controlC7": why}
    optional = [CAPTURE[0], {**CAPTURE[1], "optional": True}]
    found = devices(tree.root, resource(groups=[{"files": optional}]))
    assert [len(files(device)) for device in found] == [2, 1]


def test_files_of_the_same_hardware(tree: GenericTree) -> None:
    """A modem with a serial and a network file is one device, whatever their numbers are."""
    for port, serial, network in (("1-1", 3, 0), ("1-2", 0, 1)):
        modem = tree.usb(port, number=serial + 4)
        tree.part(modem, f"ttyUSB{serial}", "tty")
        tree.part(modem, f"cdc-wdm{network}", "usbmisc")
    group = {"files": [{"path": "/dev/cdc-wdm*"}, {"path": "/dev/ttyUSB*"}], "pairing": "hardware", "count": 2}
    found = devices(tree.root, resource(groups=[group]))
    assert [device.id for device in found] == ["1-1::0", "1-1::1", "1-2::0", "1-2::1"]
    assert [path for path, _, _ in files(found[2])] == ["/dev/cdc-wdm1", "/dev/ttyUSB0"]


def test_fixed_files_are_one_device(tree: GenericTree) -> None:
    """Without wildcards, a group is one device; a directory can be mounted."""
    for name in ("kvm", "vhost-net", "snd/timer"):
        tree.virtual(name)
    group = {"files": [{"path": "/dev/kvm"}, {"path": "/dev/vhost-net"}, {"path": "/dev/snd", "mount": True}]}
    (device,) = devices(tree.root, resource(groups=[group]))
    assert device.id == "kvm+vhost-net+snd"
    assert files(device)[2] == ("/dev/snd", "/dev/snd", "ro")


def test_a_missing_file_of_a_group(tree: GenericTree) -> None:
    """There is no device, and the reason names the file."""
    tree.virtual("kvm")
    group = {"files": [{"path": "/dev/kvm"}, {"path": "/dev/vhost-net"}]}
    assert scan(plugin_for(tree.root, resource(groups=[group]))) == (
        [],
        {"example.com/x": "no file matches /dev/vhost-net"},
    )


def test_a_thousand_pairs(tree: GenericTree) -> None:
    """Each has its own files."""
    for number in range(1000):
        for name in ("a", "b"):
            tree.file(f"{name}{number}")
    found = devices(tree.root, resource(groups=[{"files": [{"path": "/dev/a*"}, {"path": "/dev/b*"}]}]))
    assert len(found) == 1000
    assert [path for path, _, _ in files(found[-1])] == ["/dev/a999", "/dev/b999"]


@pytest.mark.parametrize(
    ("pattern", "path", "text"),
    [
        ("/dev/a", "/dev/a", ""),
        ("/dev/snd/controlC*", "/dev/snd/controlC10", "10"),
        ("/dev/snd/pcmC*D*[cp]", "/dev/snd/pcmC1D0c", "1"),
        ("/dev/*/event?", "/dev/input/event3", "input"),
        ("/dev/?a*b*c", "/dev/xaabbcc", "x"),
        ("/dev/[!x]*", "/dev/ab", "a"),
        ("/dev/*a*a*b", "/dev/aaab", "a"),
        ("/dev/*/x", "/dev/a/b/x", ""),
    ],
)
def test_what_the_first_wildcard_matches(pattern: str, path: str, text: str) -> None:
    """It is what pairs the files of a device; no wildcard matches a slash."""
    assert matched_by_wildcard(pattern, path) == text


@pytest.mark.parametrize("pattern", ["*?" * 60, "*a" * 60, "?*a" * 60, "*[!b]" * 60])
def test_many_wildcards_take_no_time(pattern: str) -> None:
    """While a plugin matches a pattern, it does nothing else."""
    before = time.thread_time()
    assert matched_by_wildcard(f"/dev/{pattern}!", f"/dev/{'a' * 250}") == ""
    assert time.thread_time() - before < 1

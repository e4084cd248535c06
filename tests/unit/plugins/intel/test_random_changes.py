"""Whatever changes on a node, the devices follow its GPUs."""

from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from hub import NoDevices
from tests.harness.node import random_source
from tests.simulators.inteltree import (
    I915,
    XE,
    IntelTree,
    battlemage,
    eight_max,
    four_vfs,
    integrated,
    two_flex,
)
from tests.unit.plugins.intel.intel_scan import scan


def _edit(tree: IntelTree, choice: Random) -> None:
    """Change something about the GPUs of a node, as an administrator or a fault does."""
    wholes = [pci for pci in tree.gpus if not tree.path(pci, "physfn").is_symlink()]
    match choice.randrange(7):
        case 0 | 1 if len(wholes) < 4:
            free = [f"0000:{bus:02x}:00.0" for bus in range(0x40, 0x60)]
            pci = choice.choice([pci for pci in free if pci not in tree.gpus])
            tree.add(pci, driver=choice.choice([I915, XE]), meis=choice.randrange(3))
        case 2 if wholes:
            tree.remove(choice.choice(wholes))
        case 3 if wholes:
            tree.divide(choice.choice(wholes), choice.randrange(4))
        case 4 if tree.gpus:
            tree.unbind(choice.choice(tree.gpus))
        case _ if tree.gpus:
            pci = choice.choice(tree.gpus)
            tree.unbind(pci)
            tree.bind(pci, choice.choice([I915, XE, "vfio-pci"]))
            if choice.randrange(2):
                tree.leave_framebuffer(pci)


@pytest.mark.parametrize("make", [integrated, two_flex, eight_max, battlemage, four_vfs])
def test_a_thousand_changes(tmp_path: Path, make: Callable[[Path], IntelTree]) -> None:
    """Afterwards, the devices are the GPUs that have files and no VFs, each with its own files and links.

    The device for monitoring has the files of all of them.
    """
    tree, choice = make(tmp_path), random_source()
    for number in range(1000):
        _edit(tree, choice)
        if number % 50 == 49:
            served = {
                pci: (f"gpu.intel.com/{tree.driver(pci)}", tree.files(pci), tree.links(pci))
                for pci in tree.gpus
                if tree.files(pci) and not tree.vfs(pci)
            }
            files = sorted(file for pci in served for file in (*tree.files(pci), *tree.meis(pci)))
            monitor = {"all": ("gpu.intel.com/monitoring", files, [])} if served else {}
            assert _served(tree) == served | monitor, f"change {number}"


def _served(tree: IntelTree) -> dict[str, tuple[str, list[str], list[str]]]:
    """Return the resource, the files and the links of each device."""
    try:
        devices, _ = scan(tree, enable_monitoring=True)
    except NoDevices:
        devices = []
    return {
        device.id: (
            device.resource,
            sorted(str(node.host_path) for node in device.nodes),
            sorted(str(mount.host_path) for mount in device.mounts),
        )
        for device in devices
    }

"""Whatever comes and goes, in whatever order: the list equals the node."""

import random
from pathlib import Path

from hub import Device
from tests.simulators.generictree import GenericTree
from tests.unit.plugins.generic.offers import files, plugin_for, scan

PORTS = [f"1-{hub}.{port}" for hub in (1, 2) for port in range(1, 5)]

SETTINGS = {
    "resources": [
        {"name": "e.com/tty", "files": ["/dev/ttyUSB*"]},
        {"name": "e.com/usb", "usb": [{"vendor": "1a86"}]},
        {"name": "e.com/link", "files": ["/dev/serial/by-id/*"], "count": 2},
    ]
}

EDITS = 100


def _expected(sticks: dict[str, tuple[Path, int]], links: dict[str, int]) -> set[tuple[str, str, str]]:
    found = set()
    numbers = {number for _, number in sticks.values()}
    for port, (_, number) in sticks.items():
        found.add(("e.com/tty", f"{port}:1.0-ttyUSB", f"/dev/ttyUSB{number}"))
        found.add(("e.com/usb", port, f"/dev/bus/usb/001/{number + 1:03}"))
    # Of two links to the same file, the first one counts.
    first = {number: name for name, number in sorted(links.items(), reverse=True) if number in numbers}
    for number, name in first.items():
        found |= {("e.com/link", f"{name}::{share}", f"/dev/ttyUSB{number}") for share in (0, 1)}
    return found


def _offered(found: list[Device]) -> set[tuple[str, str, str]]:
    offered = {(device.resource, device.id, files(device)[0][0]) for device in found}
    assert len(offered) == len(found)
    return offered


def test_the_list_equals_the_node(tmp_path: Path) -> None:
    """After each of many random changes: sticks that are plugged in and out under other numbers, and links to them."""
    seed = random.SystemRandom().randrange(2**32)
    choices = random.Random(seed)  # noqa: S311 - a failure must be repeatable
    tree, sticks, links = GenericTree(tmp_path), dict[str, tuple[Path, int]](), dict[str, int]()
    plugin = plugin_for(tmp_path, SETTINGS)
    for edit in range(EDITS):
        port, name = choices.choice(PORTS), f"link{choices.randrange(4)}"
        if choices.randrange(3) == 0:
            (tmp_path / f"dev/serial/by-id/{name}").unlink(missing_ok=True)
            if links.pop(name, None) is None:
                links[name] = choices.randrange(8)
                tree.link(f"serial/by-id/{name}", f"../../ttyUSB{links[name]}")
        elif port in sticks:
            tree.remove(sticks.pop(port)[0])
        else:
            number = choices.choice([each for each in range(9) if each not in {used for _, used in sticks.values()}])
            sticks[port] = tree.usb(port, number=number + 1), number
            tree.part(sticks[port][0], f"ttyUSB{number}", "tty")
        found, _ = scan(plugin)
        assert _offered(found) == _expected(sticks, links), f"seed {seed}, edit {edit}"

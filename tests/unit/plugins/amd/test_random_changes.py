"""Whatever changes on a node, the list of devices follows it."""

import random
from pathlib import Path

import pytest

from plugins.amd.discovery.gpus import signature
from tests.harness.node import random_source
from tests.simulators.amdnodes import MODELS
from tests.simulators.amdtree import AmdTree
from tests.unit.plugins.amd.amd_node import plugin, result

EDITS = 1000
BURST = 24
"""The most edits between two scans."""

CARDS = [f"0000:{bus:x}:00.0" for bus in range(16, 20)]
COMPUTE, MEMORY = ["SPX", "DPX", "TPX", "QPX", "CPX"], ["NPS1", "NPS2", "NPS4"]


def _edit(tree: AmdTree, choice: random.Random) -> None:
    """Add or remove a card, change its mode, or make KFD hide one of its partitions or show them again."""
    pci = choice.choice(CARDS)
    card = tree.cards.get(pci)
    if card is None:
        model = dict(MODELS[choice.choice(list(MODELS))])
        if "compute" not in model:
            model |= {"compute": choice.choice(COMPUTE), "memory": choice.choice(MEMORY)}
        tree.add(pci, **model)
    elif choice.random() < 0.2:
        tree.remove(pci)
    elif choice.random() < 0.2:
        tree.hide(pci, choice.randrange(card.partitions))
    elif choice.random() < 0.3:
        tree.show(pci)
    elif card.compute:
        card.hidden.clear()
        tree.partition(pci, choice.choice(COMPUTE), choice.choice(MEMORY))


def _expected(tree: AmdTree) -> dict[str, tuple[str, str]]:
    """Return the resource and render node of each GPU by its id, from what the tree was made of."""
    found = {}
    for pci, card in sorted(tree.cards.items()):
        resource = f"amd.com/{card.compute}_{card.memory}".lower() if card.compute else "amd.com/gpu"
        parts = list(card.parts)
        # KFD's first node joins the partitions with their card.
        for number, minor in parts if parts and parts[0][0] == 0 else []:
            name = pci if card.compute in {"", "SPX"} else f"{pci}-{number}"
            found[name] = resource, f"/dev/dri/renderD{minor}"
    return found


@pytest.mark.parametrize("separator", ["_", "."])
def test_the_list_follows_the_node(tmp_path: Path, separator: str) -> None:
    """After any edits, the devices match the node at that moment, each with its own file.

    What the plugin watches has changed whenever the list has.
    """
    choice = random_source()
    tree = AmdTree(tmp_path, separator=separator)
    tree.add("0000:01:00.0")
    plug = plugin(tree, resource_naming_strategy="mixed")
    known, seen, edits = _expected(tree), signature(plug.host), 0
    while edits < EDITS:
        burst = choice.randint(1, BURST)
        with tree.changing():
            for _ in range(burst):
                _edit(tree, choice)
        edits += burst
        devices = result(plug).devices
        found = {name: (device.resource, device.nodes[-1].host_path) for name, device in devices.items()}
        assert found == _expected(tree), f"edit {edits}"
        assert found == known or signature(plug.host) != seen, f"edit {edits}"
        known, seen = found, signature(plug.host)

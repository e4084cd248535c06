"""A node that changes all the time: the kubelet's list ends up equal to the node."""

import json

from hub.testing.kubelet import FakeKubelet
from tests.harness.node import Node, random_source
from tests.simulators.genericedits import SETTINGS, Edits, Offered
from tests.simulators.generictree import GenericTree

ROUNDS, EDITS = 20, 50

SERVED = [resource for resource in SETTINGS["resources"] if "pci" not in resource]
"""The resources whose devices are files. A driver that is bound to a PCI function is noticed only at the next scan."""

NAMES = [str(resource["name"]) for resource in SERVED]


def _listed(kubelet: FakeKubelet) -> set[tuple[str, str]]:
    return {(name, device.id) for name in NAMES for device in kubelet.devices(name)}


def _without_files(expected: set[Offered]) -> set[tuple[str, str]]:
    return {(name, identifier) for name, identifier, _ in expected if name in NAMES}


async def test_the_list_equals_the_node(node: Node, kubelet: FakeKubelet) -> None:
    """The list equals the node after each of several bursts of changes, without waiting for a scan."""
    root = node.directory / "root"
    root.mkdir()
    tree = GenericTree(root)
    edits = Edits(tree, random_source())
    settings = {"scan_interval": 86_400, "resources": SERVED}
    env = {"DPHUB_HOST_ROOT": str(root)}
    node.start_plugin("plugins.generic:Generic", name="generic", config=json.dumps(settings), env=env)
    for _ in range(ROUNDS):
        for _ in range(EDITS):
            edits.make()
        expected = _without_files(edits.expected)
        await kubelet.wait_until(lambda kubelet, expected=expected: _listed(kubelet) == expected)

"""The list of devices equals that of the node, whatever appears and disappears, in any order."""

from pathlib import Path

from tests.harness.node import random_source
from tests.simulators.genericedits import SETTINGS, Edits
from tests.simulators.generictree import GenericTree
from tests.unit.plugins.generic.offers import files, plugin_for, scan

ROUNDS, EDITS = 200, 5


def test_the_list_equals_the_node(tmp_path: Path) -> None:
    """It does so after each of several bursts of random changes, a thousand in all; no device is listed twice."""
    tree = GenericTree(tmp_path)
    edits, plugin = Edits(tree, random_source()), plugin_for(tmp_path, SETTINGS)
    for burst in range(ROUNDS):
        for _ in range(EDITS):
            edits.make()
        found = [(device.resource, device.id, files(device)[0][0]) for device in scan(plugin)[0]]
        assert set(found) == edits.expected, f"burst {burst}"
        assert len(set(found)) == len(found), f"burst {burst}"

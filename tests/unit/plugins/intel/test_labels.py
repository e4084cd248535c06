"""Labels of nodes with Intel's GPUs: those of Intel's rules for Node Feature Discovery.

The rules are in deployments/nfd/overlays/node-feature-rules of intel/intel-device-plugins-for-kubernetes; the examples
of its cmd/gpu_plugin/labels.md are cases.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from hub.base.featurefiles import label_problem
from tests.harness.scanned import scanned
from tests.simulators.inteltree import IntelTree, battlemage, eight_max, four_vfs, integrated, two_flex
from tests.unit.plugins.intel.intel_scan import plugin_of

USABLE = {"intel.feature.node.kubernetes.io/gpu": "true"}


def _labels(tree: IntelTree) -> dict[str, str]:
    plugin = plugin_of(tree)
    scanned(plugin)
    found = dict(plugin.labels([]))
    assert not [name for name, value in found.items() if label_problem(name, value)]
    return found


def _device(device: str, count: int) -> dict[str, str]:
    prefix = f"gpu.intel.com/device-id.{device}"
    return {f"{prefix}.present": "true", f"{prefix}.count": str(count)}


def _model(family: str, product: str, count: int) -> dict[str, str]:
    names = {"family": family, "product": product, "device.count": str(count)}
    return {f"gpu.intel.com/{name}": value for name, value in names.items()}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (integrated, _device("0300-9a49", 1)),
        (two_flex, _device("0380-56c0", 2) | _model("Flex_Series", "Flex_170", 2)),
        (eight_max, _device("0380-0bd5", 8) | _model("Max_Series", "Max_1550", 8)),
        (four_vfs, _device("0380-56c0", 6) | _model("Flex_Series", "Flex_170", 6)),
        (battlemage, _device("0300-9a49", 1) | _device("0300-e20b", 1)),
    ],
    ids=lambda each: each.__name__ if callable(each) else "",
)
def test_nodes(tmp_path: Path, make: Callable[[Path], IntelTree], expected: dict[str, str]) -> None:
    """A model that the rules do not name has only its device id; each function on the bus counts."""
    assert _labels(make(tmp_path)) == expected | USABLE


def test_a_family_without_products(tmp_path: Path) -> None:
    """The rules name the family of an Arc A770."""
    tree = IntelTree(tmp_path)
    tree.add("0000:03:00.0", device="0x56a0", kind="0x030000")
    assert _labels(tree) == _device("0300-56a0", 1) | USABLE | {"gpu.intel.com/family": "A_Series"}


def test_a_gpu_without_a_driver(tmp_path: Path) -> None:
    """The node has the device, and no GPU that can be used."""
    tree = IntelTree(tmp_path)
    tree.add("0000:03:00.0", device="0x56a0", kind="0x030000", driver="")
    assert _labels(tree) == _device("0300-56a0", 1) | {"gpu.intel.com/family": "A_Series"}

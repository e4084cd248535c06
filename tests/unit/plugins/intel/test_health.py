"""Temperatures, and their effect on health."""

from pathlib import Path

import pytest

from tests.simulators.inteltree import IntelTree, battlemage
from tests.unit.plugins.intel.intel_scan import scan
from tests.unit.plugins.intel.test_gpus import CARD, INTEGRATED


def _faults(tree: IntelTree, **settings: object) -> dict[str, str]:
    devices, _ = scan(tree, **{"health_management": True, **settings})
    return {device.id: device.unhealthy for device in devices if device.unhealthy}


def test_a_gpu_that_is_too_hot(tmp_path: Path) -> None:
    """It is unhealthy, with the part and the limit, until it has cooled down."""
    tree = battlemage(tmp_path)
    tree.set_temperature(CARD, 101, "pkg")
    tree.set_temperature(INTEGRATED, 60)
    assert _faults(tree) == {CARD: "the temperature of pkg is above gpu-temp-limit (100 °C)"}
    tree.set_temperature(CARD, 100, "pkg")
    assert not _faults(tree)


@pytest.mark.parametrize(
    ("label", "limit", "hot"),
    [
        ("pkg", "gpu_temp_limit", True),
        ("pkg", "memory_temp_limit", False),
        ("vram", "memory_temp_limit", True),
        ("vram", "gpu_temp_limit", False),
        ("vram", "temp_limit", True),
        ("pcie", "temp_limit", True),
        ("pcie", "gpu_temp_limit", False),
        ("", "gpu_temp_limit", True),
    ],
)
def test_each_limit_is_for_its_part(tmp_path: Path, label: str, limit: str, *, hot: bool) -> None:
    """The temperature that i915 reports has no label: it is the GPU's."""
    tree = battlemage(tmp_path)
    tree.set_temperature(CARD, 80.5, label)
    assert list(_faults(tree, **{limit: 80})) == ([CARD] if hot else [])


def test_all_shares_of_a_hot_gpu(tmp_path: Path) -> None:
    """They are unhealthy together; the resource for monitoring is not, so that the cause can be found."""
    tree = battlemage(tmp_path)
    tree.set_temperature(CARD, 110, "vram")
    assert list(_faults(tree, shared_dev_num=2, enable_monitoring=True)) == [f"{CARD}::0", f"{CARD}::1"]


def test_temperatures_are_not_read_unless_requested(tmp_path: Path) -> None:
    """Reading them would wake up a GPU that sleeps."""
    tree = battlemage(tmp_path)
    tree.set_temperature(CARD, 110, "pkg")
    assert not _faults(tree, health_management=False)

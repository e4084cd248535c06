"""Hints about the latest allocation, from one plugin to another."""

from pathlib import Path

import pytest

from hub import Device, Plugin, Runtime, best_numa_nodes, read_allocation_hint
from hub.api import affinity
from hub.plugin.deviceplugin.hints import record_allocation


class _Gpus(Plugin):
    """A plugin with devices to which others may have to be close."""

    hint_kind = "gpu"


@pytest.fixture
def run_dir(tmp_path: Path) -> str:
    """Create a run directory."""
    (tmp_path / "node").mkdir()
    return str(tmp_path)


def _allocate(run_dir: str, plugin: str, *pci: str, kind: type[Plugin] = _Gpus) -> None:
    devices = [Device(each, pci=[each]) for each in pci]
    record_allocation(kind(None, None, Runtime(run_dir, "dphub", plugin)), devices)


def _hint(run_dir: str, kind: str = "gpu") -> tuple[str, ...] | None:
    hint = read_allocation_hint(Runtime(run_dir, "dphub", "ib"), kind)
    return hint.pci if hint else None


def test_any_plugin_with_devices_of_the_kind(run_dir: str) -> None:
    """The last allocation counts, whichever plugin made it and whatever that plugin's name is."""
    assert _hint(run_dir) is None
    _allocate(run_dir, "amd.0", "0000:03:00.0")
    assert _hint(run_dir) == ("0000:03:00.0",)
    _allocate(run_dir, "nvidia", "0000:07:00.0", "0000:0b:00.0")
    assert _hint(run_dir) == ("0000:07:00.0", "0000:0b:00.0")
    assert _hint(run_dir, "fpga") is None


def test_a_plugin_that_names_no_kind(run_dir: str) -> None:
    """It leaves no hint; nor does a plugin without a run directory."""
    _allocate(run_dir, "stub", "0000:03:00.0", kind=Plugin)
    _allocate("", "gpu", "0000:03:00.0")
    assert list(Path(run_dir, "node").iterdir()) == []
    assert read_allocation_hint(Runtime(), "gpu") is None


def test_hints_that_are_old_or_nonsense(run_dir: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They mean nothing, and have no effect on anything else."""
    Path(run_dir, "node/odd.allocated.json").write_text("{")
    Path(run_dir, "node/new.allocated.json").write_text(f'{{"time": {1e9}, "pci": [], "kind": "gpu"}}')
    _allocate(run_dir, "gpu", "0000:03:00.0")
    assert _hint(run_dir) == ("0000:03:00.0",)
    monkeypatch.setattr(affinity, "MAX_AGE", -1.0)
    assert _hint(run_dir) is None


def test_a_hint_that_cannot_be_written(tmp_path: Path) -> None:
    """The container gets its devices anyway."""
    _allocate(str(tmp_path / "none"), "gpu", "0000:03:00.0")


def _on(*nodes: int, physical: str = "") -> list[Device]:
    return [Device(f"{node}-{number}", numa=[node], physical=physical) for number, node in enumerate(nodes)]


NODES = {
    "the smallest that is enough": (_on(0, 0, 0, 1, 1), 2, {1}),
    "the largest if none is": (_on(0, 0, 0, 1, 1), 4, {0}),
    "the first of equal ones": (_on(1, 1, 0, 0), 2, {0}),
    "the first of equal ones that are too small": (_on(1, 0), 2, {0}),
    "shares count once": ([*_on(0, 0, 0, physical="a"), *_on(1, 1)], 2, {1}),
    "unknown": ([Device("a")], 1, set()),
    "nothing": ([], 1, set()),
}


@pytest.mark.parametrize(("devices", "size", "nodes"), NODES.values(), ids=NODES)
def test_the_best_numa_node(devices: list[Device], size: int, nodes: set[int]) -> None:
    """Large groups of devices stay whole for containers that need them."""
    assert best_numa_nodes(devices, size) == nodes

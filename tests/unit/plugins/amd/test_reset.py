"""The check before a container starts."""

from pathlib import Path

import pytest

from hub import ResetDevice, ResetFailed
from plugins.amd.reset import reset
from plugins.amd.reset.settings import CheckSettings
from tests.simulators.amdtree import AmdTree
from tests.unit.plugins.amd.amd_node import plugin, result

FIRST, SECOND = "0000:05:00.0", "0000:26:00.0"
AT_ONCE = {"timeout": 0, "memory_slack": 0}


@pytest.fixture
def tree(tmp_path: Path) -> AmdTree:
    """Create a node with a whole card and one with two partitions."""
    tree = AmdTree(tmp_path)
    tree.add(FIRST)
    tree.add(SECOND, compute="DPX")
    return tree


def _check(tree: AmdTree, name: str, settings: object = AT_ONCE, broken: str = "") -> None:
    device = result(plugin(tree, resource_naming_strategy="mixed")).devices[name]
    nodes = tuple(str(node.host_path) for node in device.nodes)
    reset(ResetDevice(name, nodes, str(tree.root), broken), settings)


def test_a_gpu_whose_memory_another_process_holds(tree: AmdTree) -> None:
    """The container is refused, and the reason names the process."""
    tree.fill(4711, FIRST, 3 << 30)
    with pytest.raises(ResetFailed, match=r"process 4711 \(python3\) with 3072 MiB, even after 0 s"):
        _check(tree, FIRST)
    tree.exit(4711)
    _check(tree, FIRST)


def test_processes_on_other_gpus(tree: AmdTree) -> None:
    """They do not prevent a start, not even on another partition of the card."""
    tree.fill(1, FIRST, 1 << 30)
    tree.fill(2, SECOND, 1 << 30, partition=1)
    _check(tree, f"{SECOND}-0")
    with pytest.raises(ResetFailed, match="process 2 "):
        _check(tree, f"{SECOND}-1")


def test_the_reset_waits(tree: AmdTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for a process that is about to exit."""
    tree.fill(4711, FIRST, 1 << 30)
    monkeypatch.setattr("time.sleep", lambda _: tree.exit(4711))
    _check(tree, FIRST, {"timeout": 100, "memory_slack": 0})


def test_a_process_that_holds_little(tree: AmdTree) -> None:
    """The settings define the limit; without a name, the reason still has the process's number."""
    tree.fill(4711, FIRST, 5 << 20, name="")
    settings = plugin(tree, reset={"timeout": 0, "memory_slack": 5}).reset_settings()
    assert settings == CheckSettings(0, 5 << 20)
    _check(tree, FIRST, {"timeout": 0, "memory_slack": 5 << 20})
    with pytest.raises(ResetFailed, match=r"process 4711 \(unknown\) with 5 MiB"):
        _check(tree, FIRST)


def test_a_gpu_that_is_gone(tree: AmdTree) -> None:
    """The container is refused."""
    with pytest.raises(ResetFailed, match="KFD lists 0 GPUs with /dev/kfd, /dev/dri/renderD999"):
        reset(ResetDevice(FIRST, ("/dev/kfd", "/dev/dri/renderD999"), str(tree.root)), AT_ONCE)


def test_a_broken_gpu(tree: AmdTree) -> None:
    """The check cannot fix it."""
    with pytest.raises(ResetFailed, match="it hangs; the check before a container starts cannot fix this"):
        _check(tree, FIRST, broken="it hangs")


def test_without_the_check(tree: AmdTree) -> None:
    """The settings can switch it off."""
    assert plugin(tree).reset == "plugins.amd.reset:reset"
    assert plugin(tree, reset={"check": False}).reset == ""

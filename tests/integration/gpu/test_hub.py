"""The GPU plugin under the hub: problems with its driver do not affect other plugins."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.status.reader import read_report
from hub.testing.node import Node
from hub.testing.plugin import STUB
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.files import remove_tree
from tests.harness.gpu_support import GPU
from tests.simulators.nvml import SimulatedNode

CONFIG = """
[watcher:gpu]
cmd = python -m hub.plugin plugins.gpu:GPU --config {directory}/gpu.yaml
[watcher:stub]
cmd = python -m hub.plugin plugins.stub:Stub
[env]
DPHUB_HOST_ROOT = {directory}/root
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    """Create a directory with a node's file system, and the hub's configuration."""
    directory = Path(tempfile.mkdtemp(prefix="dp", dir="/tmp"))
    (directory / "root").mkdir()
    (directory / "circus.ini").write_text(CONFIG.format(directory=directory))
    (directory / "gpu.yaml").write_text("dphub: {health: {interval: 0.1, stable_for: 0, driver_timeout: 1}}")
    yield directory
    remove_tree(directory)


def _lines(node: Node, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in node.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def _pid(node: Node, plugin: str) -> int:
    state = read_report(node.run_dir.report(plugin))
    return state.pid if state else 0


def _restart(node: Node, plugin: str) -> None:
    circusctl = Path(sys.executable).parent / "circusctl"
    command = [circusctl, "--endpoint", f"ipc://{node.run_dir.circus_socket}", "restart", plugin]
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT_SECONDS)


async def test_a_driver_that_hangs_restarts_its_plugin_alone(directory: Path) -> None:
    """The hub restarts the GPU plugin until the driver answers; the other plugin notices nothing."""
    driver = SimulatedNode(directory / "root", "pair")
    async with Node(directory, directory / "circus.ini") as node:
        await node.start_hub()
        await node.kubelet.wait_for(GPU, 2, timeout=WAIT_SECONDS)
        await node.kubelet.wait_for(STUB, 4)
        stub = await wait_until(lambda: _pid(node, "stub"), "the stub's state")
        lists = len(node.kubelet.lists(STUB))
        driver.hang()
        exits = await wait_until(
            lambda: found if len(found := _lines(node, "plugin exited")) > 1 else None, "two exits of the plugin"
        )
        assert [line["meaning"] for line in exits] == ["needs restart"] * len(exits)
        state = await wait_until(lambda: read_report(node.run_dir.report("gpu")), "the plugin's state")
        assert state.reason in {"", "the NVIDIA driver does not answer: nvmlInit has not returned after 1 s"}
        driver.clear_faults()
        await node.kubelet.wait_for(GPU, 2, timeout=WAIT_SECONDS)
        assert (_pid(node, "stub"), len(node.kubelet.lists(STUB))) == (stub, lists)


async def test_a_restart_by_an_administrator(directory: Path) -> None:
    """A broken GPU is still broken after the restart, and the others are available again."""
    driver = SimulatedNode(directory / "root", "switch8")
    async with Node(directory, directory / "circus.ini") as node:
        await node.start_hub()
        await node.kubelet.wait_for(GPU, 8, timeout=WAIT_SECONDS)
        driver.xid(3, 79)
        await node.kubelet.wait_for(GPU, 7)
        before = await wait_until(lambda: _pid(node, "gpu"), "the plugin's state")
        _restart(node, "gpu")
        await wait_until(lambda: _pid(node, "gpu") not in {0, before}, "another process")
        await node.kubelet.wait_for(GPU, 7)

"""The plugins that come with the hub follow every rule."""

import sys
from pathlib import Path

import pytest

from hub.testing.conformance import RULES, Limits, Outcome, check, started_by
from hub.testing.plugin import STUB
from tests.harness.gpu_support import GPU
from tests.simulators.amdnodes import mi210
from tests.simulators.generictree import GenericTree
from tests.simulators.inteltree import two_flex
from tests.simulators.nvml import SimulatedNode
from tests.simulators.rdma.tree import two_connectx6

pytestmark = pytest.mark.fake_kubelet("the fake kubelet is part of what is tested")

CONFIG = """
[watcher:amd]
cmd = python -m hub.plugin plugins.amd:AMD
graceful_timeout = 60
[watcher:generic]
cmd = python -m hub.plugin plugins.generic:Generic --config {directory}/generic.yaml
graceful_timeout = 60
[watcher:gpu]
cmd = python -m hub.plugin plugins.gpu:GPU
graceful_timeout = 60
[watcher:ib]
cmd = python -m hub.plugin plugins.ib:IB
graceful_timeout = 60
[watcher:intel]
cmd = python -m hub.plugin plugins.intel:Intel
graceful_timeout = 60
[watcher:stub]
cmd = python -m hub.plugin plugins.stub:Stub
graceful_timeout = 60
[env:amd]
DPHUB_HOST_ROOT = {directory}/amd
[env:generic]
DPHUB_HOST_ROOT = {directory}/generic
[env:gpu]
DPHUB_HOST_ROOT = {directory}/gpu
[env:ib]
DPHUB_HOST_ROOT = {directory}/ib
[env:intel]
DPHUB_HOST_ROOT = {directory}/intel
"""
"""Plugins get a minute to stop: one that is killed after the usual five seconds leaves its socket."""

PATIENT = Limits(watch=1, settle=0.5).scaled(20)
"""Limits so long that no test depends on speed."""

SERIAL = "example.com/serial"

CHANGES = {
    STUB: "echo 'unhealthy: {stub-0: the fan is loud}' > {kubelet_dir}/run/stub-faults.yaml",
    SERIAL: "touch {directory}/generic/dev/ttyUSB9",
}
"""Shell commands that change the lists of devices."""


@pytest.fixture
def hub(directory: Path) -> list[str]:
    """Return the command that runs the hub with all plugins, on simulated hardware."""
    for name in ("generic", "amd", "gpu", "ib", "intel"):
        (directory / name).mkdir()
    tree = GenericTree(directory / "generic")
    for number in (0, 1):
        tree.file(f"ttyUSB{number}")
    (directory / "generic.yaml").write_text(f"resources: [{{name: {SERIAL}, files: [/dev/ttyUSB*]}}]")
    SimulatedNode(directory / "gpu", "pair")
    two_connectx6(directory / "ib")
    mi210(directory / "amd")
    two_flex(directory / "intel")
    (directory / "circus.ini").write_text(CONFIG.format(directory=directory))
    flags = {"config": directory / "circus.ini", "plugin-dir": "{plugin_dir}", "run-dir": "{kubelet_dir}/run"}
    words = (f"--{name}={value}" for name, value in {**flags, "http": "127.0.0.1:0"}.items())
    return [sys.executable, "-P", "-m", "hub", "run", *words]


@pytest.mark.parametrize("resource", [STUB, GPU, SERIAL, "rdma/hca", "amd.com/gpu", "gpu.intel.com/i915"])
async def test_they_pass(hub: list[str], directory: Path, resource: str) -> None:
    """Under the hub, all plugins pass all rules that apply to them."""
    change = CHANGES.get(resource, "").replace("{directory}", str(directory))
    with started_by(hub, resource, limits=PATIENT, change=["sh", "-c", change] if change else ()) as subject:
        async with subject:
            results = [result async for result in check(subject, RULES.values())]
    assert {result.rule: result.findings for result in results if result.outcome is Outcome.FAILED} == {}
    skipped = {result.rule for result in results if result.outcome is Outcome.SKIPPED}
    assert skipped.isdisjoint(["kubelet-restart", "allocate-again", "preference-answers", "stops-on-sigterm"])
    assert ("changes-everywhere" in skipped) == (resource not in CHANGES)

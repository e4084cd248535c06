"""The hub as a service that systemd starts before the kubelet."""

import asyncio
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest

from hub.base.instances import running_service
from hub.base.interpreter import own_python
from hub.base.paths import RunDir
from hub.cli.probe import ask
from hub.cli.systemd.kubelets import KUBELETS, Kubelet
from hub.cli.systemd.unit import Unit
from hub.model.node import Condition
from hub.status.reader import read_report
from hub.testing.kubelet import FakeKubelet
from hub.testing.waiting import wait_until
from tests.harness.boots import DEVICES, LIMIT, NAMES, PODS, BootedNode, booted_node

RESOURCES = [f"example.com/{name}" for name in NAMES]


@asynccontextmanager
async def _node() -> AsyncIterator[BootedNode]:
    """Yield a node on which nothing runs."""
    directory = Path(tempfile.mkdtemp(prefix="sv", dir="/tmp"))
    node = BootedNode(directory, FakeKubelet(directory / "device-plugins"))
    try:
        yield node
    finally:
        node.service.close()
        shutil.rmtree(directory, ignore_errors=True)


async def _all_devices(node: BootedNode) -> None:
    for resource in RESOURCES:
        await node.kubelet.wait_for(resource, DEVICES, LIMIT)


async def test_it_is_ready_without_a_kubelet() -> None:
    """The hub's plugins know their devices by then; only the hub itself reports to systemd, even when it stops."""
    async with _node() as node:
        await asyncio.to_thread(node.service.start)
        reports = [read_report(node.run_dir.report(name)) for name in NAMES]
        assert [report and report.scanned for report in reports] == [True] * len(NAMES)
        await wait_until(lambda: "there is no kubelet" in node.service.status, "the status of the service", LIMIT)
        family = psutil.Process(node.service.process.pid if node.service.process else 0).children(recursive=True)
        assert len(family) >= len(NAMES)
        assert all({"NOTIFY_SOCKET", "WATCHDOG_USEC"}.isdisjoint(_environment(process)) for process in family)
        assert await asyncio.to_thread(node.service.stop) == 0
        await wait_until(lambda: "STOPPING=1" in node.service.messages, "the report of the stop")
        assert node.service.rejected == []


def _environment(process: psutil.Process) -> dict[str, str]:
    try:
        return process.environ()
    except psutil.NoSuchProcess:
        return {}


async def test_a_plugin_that_crashes_or_hangs_does_not_block_the_kubelet() -> None:
    """The hub is ready when the other plugins have scanned."""
    async with _node() as node:
        (node.directory / "odd.py").write_text(
            "import os, time\nfrom hub import Plugin\n"
            "class Crashing(Plugin):\n    resource = 'example.com/a'\n    def devices(self):\n        os._exit(1)\n"
            "class Slow(Plugin):\n    resource = 'example.com/b'\n    scan_timeout = 0.5\n"
            "    def devices(self):\n        time.sleep(1000)\n        return []\n"
        )
        with (node.directory / "circus.ini").open("a") as config:
            for name in ("Crashing", "Slow"):
                config.write(f"[watcher:{name}]\ncmd = python -m hub.plugin {node.directory}/odd.py:{name}\n")
        await asyncio.to_thread(node.service.start)
        # The line is logged after the report to systemd.
        ready = await wait_until(
            lambda: next((line for line in node.log.read_text().splitlines() if '"service ready"' in line), None),
            "the line in the log",
        )
        # Once its scan has taken too long, the hub does not wait for the hanging plugin either.
        assert set(json.loads(ready)["still_scanning"]) <= {"Slow"}, ready


async def test_a_hub_in_a_pod_leaves_the_devices_to_the_service() -> None:
    """The hub in the pod is ready and registers nothing, whichever of them starts first; the status of both says so."""
    async with _node() as node, node:
        await asyncio.to_thread(node.service.start)
        await _all_devices(node)
        before = len(node.kubelet.registrations)
        node.use_config()
        await node.start_hub("pod")
        pod = RunDir(node.run_dir.path, "pod")
        await wait_until(lambda: _is_superseded(pod), "the hub in the pod to stand by", LIMIT)
        assert len(node.kubelet.registrations) == before
        assert running_service(pod) == "dphub"
        said = await node.dphub("status", "--instance", "pod")
        assert "the node's service (hub dphub) serves this node's devices, so this hub does not" in said.out, said
        code, text = await asyncio.to_thread(ask, str(pod.http_socket), "/readyz")
        assert code == 200, text
        # Commands go to the service, even those that name no hub.
        assert (await node.dphub("cordon", "red-0")).code == 0
        refused = await node.dphub("cordon", "red-1", "--instance", "pod")
        assert "the node's service (hub dphub) owns this node: repeat the command with --instance dphub" in refused.err


async def test_a_hub_in_a_pod_serves_while_the_service_is_gone() -> None:
    """It takes over moments after a crash, and without a gap after a stop; then the service gets the devices back."""
    async with _node() as node, node:
        node.use_config()
        await node.start_hub("pod")
        await _all_devices(node)
        pod = RunDir(node.run_dir.path, "pod")
        for end in (node.service.kill, node.service.stop):
            await asyncio.to_thread(node.service.start)
            await wait_until(lambda: _is_superseded(pod), "the service to take the devices", LIMIT)
            before = len(node.kubelet.registrations)
            await asyncio.to_thread(end)
            await wait_until(lambda: _is_registered(pod), "the hub in the pod to take over", LIMIT)
            assert len(node.kubelet.registrations) >= before + len(NAMES)
            await _all_devices(node)
            await node.kubelet.remove(await node.kubelet.admit("pod", dict.fromkeys(RESOURCES, 1)))


def _is_superseded(run_dir: RunDir) -> bool:
    return _registrations(run_dir) == [Condition.SUPERSEDED] * len(NAMES)


def _is_registered(run_dir: RunDir) -> bool:
    return _registrations(run_dir) == [Condition.REGISTERED] * len(NAMES)


def _registrations(run_dir: RunDir) -> list[str]:
    reports = [read_report(run_dir.report(name)) for name in NAMES]
    return [str(resource.registration) for report in reports if report for resource in report.resources]


@pytest.mark.timeout(600)
async def test_pods_with_devices_survive_a_reboot() -> None:
    """With the service, the kubelet knows all devices when it admits the pods that had them, at every boot."""
    async with booted_node() as node:
        for _ in range(2):
            await node.boot(None, service=True)
        assert node.boots.failed == []
        assert len(node.kubelet.pods) == PODS


async def test_without_the_service_they_fail() -> None:
    """The hub starts only after the kubelet has admitted the pods of the node, so pods with devices fail."""
    async with booted_node() as node:
        await node.boot(None, service=False)
        assert len(node.boots.failed) == len(node.kubelet.pods) == PODS


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("kubelet", KUBELETS, ids=lambda kubelet: kubelet.unit)
def test_systemd_understands_the_unit(tmp_path: Path, kubelet: Kubelet) -> None:
    """The installed version of systemd accepts every key and value in it."""
    unit = Unit(
        kubelet,
        tuple(own_python("hub")),
        tmp_path / "a b.ini",
        Path("/var/lib/kubelet/device-plugins"),
        Path("/run/dphub"),
    )
    (tmp_path / kubelet.unit).write_text("[Service]\nExecStart=/bin/true\n")
    (tmp_path / "dphub.service").write_text(unit.text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", tmp_path / "dphub.service"],
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:", "SYSTEMD_LOG_LEVEL": "warning"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert [line for line in done.stdout.splitlines() if "dphub" in line] == []
    assert done.returncode == 0, done.stdout

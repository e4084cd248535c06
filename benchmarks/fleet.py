"""Query all nodes of a cluster with `kubectl dphub`, through a real kubectl and a stand-in for the API server."""

import asyncio
import json
import os
import resource
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from benchmarks.rows import Row, times
from hub.model.hub import HubReport, ProcessReport, RunState
from hub.model.node import Condition, HubStatus, NodeStatus, PluginStatus
from hub.model.plugin import DeviceStatus, PluginReport, RegistrationStatus, ResourceStatus
from tests.simulators.podproxy import NAMESPACE, Answer, Scenario, pod

NODES = 500
GPUS = 8
DELAY = 0.1
"""Seconds that the API server, the network and a hub take to answer."""

LIST_DELAY = 0.3
BUDGET = 10.0
"""Seconds for all nodes."""

_PROGRAM = "import hub.cli.fleet; hub.cli.fleet.main()"
_RAW = f"/api/v1/namespaces/{NAMESPACE}/pods/hub-0:9880/proxy/status"


async def fleet(samples: int) -> list[Row]:
    """Show the status of all nodes; for comparison, query one node with a separate kubectl process."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as directory:
        async with _cluster(Path(directory)) as environment:
            all_nodes = [await _run(environment, sys.executable, "-c", _PROGRAM, "status") for _ in range(samples)]
            one_node = [await _run(environment, "kubectl", "get", "--raw", _RAW) for _ in range(samples)]
    what = f"kubectl dphub status of {NODES} nodes"
    return [
        *times(what, [wall for wall, _ in all_nodes], {"median": None, "worst": 1000 * BUDGET}),
        Row(what, "CPU time", max(used for _, used in all_nodes), "s", None, samples),
        Row("kubectl get --raw of a node", "CPU time", max(used for _, used in one_node), "s", None, samples),
    ]


@asynccontextmanager
async def _cluster(directory: Path) -> AsyncIterator[dict[str, str]]:
    """Serve the API, and yield the environment in which kubectl uses it."""
    if not (kubectl := shutil.which("kubectl", path=os.pathsep.join([str(Path(sys.executable).parent), os.defpath]))):
        raise LookupError("kubectl is not installed; make setup installs it")
    names = [f"hub-{number}" for number in range(NODES)]
    pages = {f"{name} /status": Answer(_status(name), delay=DELAY) for name in names}
    pods = [pod(name, f"node-{name}") for name in names]
    scenario = directory / "scenario.json"
    scenario.write_bytes(msgspec.json.encode(Scenario(pods, pages, listed=Answer(delay=LIST_DELAY))))
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.simulators.podproxy", scenario), stdout=asyncio.subprocess.PIPE
    )
    try:
        port = (await server.stdout.readline()).decode().strip() if server.stdout else ""
        cluster = {"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}
        context = {"name": "test", "context": {"cluster": "test", "user": ""}}
        config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context]}
        (directory / "config").write_text(json.dumps(config | {"current-context": "test"}))
        path = os.pathsep.join([str(Path(kubectl).parent), os.defpath])
        yield {**os.environ, "PATH": path, "KUBECONFIG": str(directory / "config"), "TMPDIR": str(directory)}
    finally:
        server.kill()
        await server.wait()


async def _run(environment: dict[str, str], *command: str) -> tuple[float, float]:
    """Return the seconds that a command took, and the CPU time of all its processes."""
    before = _processor_time()
    began = time.monotonic()
    process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=asyncio.subprocess.DEVNULL)
    if code := await process.wait():
        raise RuntimeError(f"{command} exited with {code}")
    return time.monotonic() - began, _processor_time() - before


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _status(node: str) -> str:
    """Return the status of a node with GPUs, half of which are in use."""
    devices = tuple(
        DeviceStatus(
            f"GPU-{number:08}-0000-0000-0000-000000000000",
            healthy=True,
            numa=(number // 4,),
            pci=(f"0000:{number}b:00.0",),
            upstream=("0000:00:01.0", "0000:01:00.0"),
            attributes={"model": "NVIDIA H100 80GB HBM3", "index": str(number)},
            holder=f"team/train-{node}/main" if number < GPUS // 2 else "",
        )
        for number in range(GPUS)
    )
    resources = (ResourceStatus("nvidia.com/gpu", "s", RegistrationStatus.REGISTERED, 1, devices=devices),)
    plugin = PluginStatus(
        name="gpu",
        condition=Condition.REGISTERED,
        message="",
        last_heartbeat=1,
        log_level="info",
        memory=1,
        process=ProcessReport("gpu", RunState.RUNNING, 1),
        report=PluginReport("gpu", 1, resources=resources),
    )
    report = HubReport("0.1.0", 1, 1, node, "", "", "", node)
    hub = HubStatus(running=True, unresponsive=False, last_heartbeat=1, memory=1, report=report)
    status = NodeStatus(time=1, node=node, ok=True, ready=True, problems=(), hub=hub, plugins=(plugin,))
    return msgspec.json.encode(status).decode()

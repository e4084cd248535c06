"""docs/gpu-breaks-at-night.md: its commands, typed with a real kubectl, print what the page shows on a real node.

The node has a real hub, GPU plugin and agent, a simulated NVIDIA driver, and a fake API server.
"""

import asyncio
import re
import subprocess
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import yaml

from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.docs.pages import ROOT, Page
from tests.harness.files import remove_tree
from tests.harness.operated import GPU, OperatedNode
from tests.harness.tools import tool
from tests.simulators.apiserver import NODE, FakeApiServer
from tests.simulators.kubectlserver import HUB_POD, KubectlServer
from tests.simulators.nvml import name_uuid

PAGE = Page("docs/gpu-breaks-at-night.md")
CONFIG = """
[watcher:gpu]
cmd = python -m hub.plugin plugins.gpu:GPU --config {directory}/gpu.yaml
[watcher:agent]
cmd = python -m hub.agent --config {directory}/agent.yaml --account {directory}/api/account
[env]
DPHUB_HOST_ROOT = {directory}/root
"""
CONDITION = "GPUDevicesHealthy"
CHANGES = re.compile(r" (cordon|uncordon|delete|annotate|drain) ")
"""Commands that are typed once; others are repeated until they print what the page shows."""

TRIES = 30


class Night:
    """The node of the page, and the cluster around it.

    Args:
        node: The node.
        api: The API server.
        cluster: The cluster that kubectl queries.
        environment: The variables of the reader's terminal.
    """

    def __init__(
        self, node: OperatedNode, api: FakeApiServer, cluster: KubectlServer, environment: dict[str, str]
    ) -> None:
        self.node = node
        self._api = api
        self._cluster = cluster
        self._environment = environment
        self.metrics: list[str] = []

    async def begin(self) -> None:
        """Start a container on the GPU, which then breaks."""
        self._cluster.add_pod("team-a", "train-0")
        await self.node.kubelet.admit("train-0", {GPU: 1}, namespace="team-a")
        await wait_until(lambda: "team-a/train-0/main" in self._holders(), "the plugin knows the container")
        await self._condition("True")
        self.metrics.append((await self.node.get("/metrics"))[1])
        await self.fail()
        await wait_until(lambda: {"Node", "Pod"} == self._subjects(), "events on the node and on the pod")
        while not await self.node.metric("dphub_gpu_xid_errors_total", xid="79"):
            await wait_until(self._next_report(), "the plugin's next report")
        self.metrics.append((await self.node.get("/metrics"))[1])

    async def fail(self) -> None:
        """Make the driver report the error."""
        self.node.gpus.xid(0, 79)
        await self._condition("False")

    async def replace(self) -> None:
        """Shut the node down, replace the card, and start the node."""
        assert self._api.node["spec"]["unschedulable"], "the scheduler would fill the node again"
        assert self.node.kubelet.pods == {}
        await self.node.stop_hub()
        await self.node.kubelet.stop()
        remove_tree(self.node.run_dir.path)
        self.node.run_dir.create()
        old = self.node.gpus.gpus[0].uuid
        self.node.gpus.gpus[0].uuid = name_uuid("GPU", "new")
        self.node.gpus.apply()
        await self.node.kubelet.start()
        await self.node.start_hub()
        await self.node.kubelet.wait_for(GPU, 7)
        assert old not in {device.id for device in self.node.kubelet.devices(GPU)}

    async def type(self, command: str, shown: str) -> None:
        """Type a command, and check that it prints these lines."""
        for _ in range(1 if CHANGES.search(command) else TRIES):
            code, printed = await self._run(command.replace("POD", HUB_POD))
            if all(_pattern(line).search(_plain(printed)) for line in shown.splitlines()):
                break
        else:
            raise AssertionError(f"{command} printed\n{printed}\ninstead of\n{shown}")
        assert code == int(command == "kubectl dphub problems"), (command, printed)

    async def _run(self, command: str) -> tuple[int, str]:
        process = await asyncio.create_subprocess_shell(
            f"exec {command}",
            env=self._environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        try:
            printed, _ = await asyncio.wait_for(process.communicate(), WAIT_SECONDS)
        except TimeoutError:
            process.terminate()
            raise AssertionError(f"{command} does not exit") from None
        return await process.wait(), printed.decode()

    async def _condition(self, status: str) -> None:
        await wait_until(lambda: self._api.conditions.get(CONDITION, {}).get("status") == status, status)

    def _subjects(self) -> set[str]:
        return {event["regarding"]["kind"] for event in self._api.events.values()}

    def _holders(self) -> set[str]:
        plugin = self.node.plugin("gpu")
        resources = plugin.report.resources if plugin and plugin.report else ()
        return {device.holder for each in resources for device in each.devices}

    def _next_report(self) -> Callable[[], bool]:
        file = self.node.run_dir.heartbeat("gpu")
        before = file.stat().st_mtime_ns
        return lambda: file.stat().st_mtime_ns != before


def _plain(text: str) -> str:
    """Return lines with single spaces."""
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def _pattern(line: str) -> re.Pattern[str]:
    """Return a pattern for a line of the page, in which `...` stands for anything."""
    words = re.escape(" ".join(line.split()))
    return re.compile(words.replace(re.escape("..."), ".*").replace(r"\ .*", ".*"))


@asynccontextmanager
async def _night() -> AsyncIterator[Night]:
    kubectl = tool("kubectl")
    directory = Path(tempfile.mkdtemp(prefix="dp", dir="/tmp"))
    (directory / "api").mkdir()
    try:
        async with FakeApiServer(directory / "api") as api:
            files = {"agent.yaml": "{}"}
            variables = {**api.environment, "DPHUB_NODE_NAME": NODE}
            async with OperatedNode(directory, CONFIG, files=files, variables=variables) as node:
                await node.start_hub()
                await node.kubelet.wait_for(GPU, 8)
                cluster = KubectlServer(api, lambda: _address(node), lambda *pod: node.kubelet.remove(pod[1], pod[0]))
                environment = node.command_environment(width=200) | cluster.install(directory, kubectl)
                yield Night(node, api, cluster, environment)
                cluster.stop()
    finally:
        remove_tree(directory)


def _address(node: OperatedNode) -> str:
    status = node.status()
    assert status
    return status.hub.report.http


async def test_the_whole_night() -> None:
    """Each command works, in page order, and prints what the page shows, from the alert to the new card."""
    actions: dict[str, Callable[[Night], Awaitable[None]]] = {
        "kubectl dphub problems": Night.begin,
        "kubectl annotate node node-1 dphub.dev/cordon=0000:10:00.0": Night.fail,
        "kubectl dphub devices --node node-1 --health cordoned": Night.replace,
    }
    async with _night() as night:
        commands: list[str] = []
        for command, shown in _typed():
            if command in actions and command not in commands:
                await actions[command](night)
            await night.type(command, shown)
            commands.append(command)
        assert actions.keys() <= set(commands)
        _check_alerts(night.metrics)


def _typed() -> list[tuple[str, str]]:
    """Return the commands of the page, each with the lines that the page shows after it."""
    found: list[tuple[str, str]] = []
    for block in PAGE.blocks:
        if block.language == "console":
            found += [(line.removeprefix("$ "), "") for line in block.text.splitlines()]
        elif found:
            found[-1] = found[-1][0], block.text
    return found


def _check_alerts(metrics: list[str]) -> None:
    """Let Prometheus's own tool raise the page's alerts from what the hub has reported before and after the fault."""
    before, after = (dict(re.findall(r"^(dphub_\w+\{.*\}) ([0-9.]+)$", text, re.MULTILINE)) for text in metrics)
    names = [name for name in after if name.startswith(("dphub_devices{", "dphub_gpu_xid"))]
    series = [
        {
            "series": name.replace("{", f'{{instance="{NODE}",'),
            "values": f"{before.get(name, '_')}x5 {after[name]}x20",
        }
        for name in names
    ]
    text, *_ = PAGE.of("text")
    alerts = [re.split(r"\s{2,}", line) for line in text.splitlines()]
    checks = [{"eval_time": "17m", "alertname": name, "exp_alerts": [_alert(*rest, name)]} for name, *rest in alerts]
    rules = ROOT / "container/monitoring/rules.yaml"
    test = {"interval": "1m", "input_series": series, "alert_rule_test": checks}
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": [test]}, file)
        file.flush()
        done = subprocess.run(
            [tool("promtool"), "test", "rules", file.name], capture_output=True, text=True, check=False
        )
    assert done.returncode == 0, done.stdout + done.stderr


def _alert(severity: str, summary: str, name: str) -> dict[str, dict[str, str]]:
    """Return an alert as promtool expects it; the descriptions come from the rules."""
    of_rule = {
        rule["alert"]: rule
        for group in yaml.safe_load((ROOT / "container/monitoring/rules.yaml").read_text())["groups"]
        for rule in group["rules"]
    }
    labels = {"GpuXid": {"xid": "79"}, "DevicesUnhealthy": {"plugin": "gpu", "resource": GPU}}[name]
    description = of_rule[name]["annotations"]["description"].replace("{{ $labels.plugin }}", "gpu")
    return {
        "exp_labels": {"severity": severity, "instance": NODE, **labels},
        "exp_annotations": {"summary": summary, "description": description},
    }

"""A node with GPUs, HCAs and stub devices under a hub, and an administrator's commands on it."""

import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient

from hub.base.jsonfile import read_file
from hub.base.paths import INSTANCE
from hub.model.hub import InstanceReport
from hub.model.node import NodeStatus, PluginStatus
from hub.status.reader import Reader
from hub.testing.node import Node
from hub.testing.waiting import WAIT_SECONDS, wait_until
from tests.harness.files import remove_tree
from tests.harness.node import replace
from tests.harness.processes import ended, started
from tests.simulators.nvml import SimulatedNode
from tests.simulators.rdma.tree import RdmaTree, hcas_near_gpus

GPU, HCA, STUB = "nvidia.com/gpu", "rdma/hca", "example.com/stub"
WATCHDOG = 9.0
"""The watchdog's limit in seconds, within which a plugin can start on a busy machine. With the default, heartbeats
would be too rare for a test."""

SHORT_WATCHDOG = 4.0
"""The watchdog's limit in seconds, for a test that waits until a plugin is killed."""

CONFIG = """
[watcher:gpu]
cmd = python -m hub.plugin plugins.gpu:GPU --config {directory}/gpu.yaml
watchdog = {watchdog}
[watcher:ib]
cmd = python -m hub.plugin plugins.ib:IB --config {directory}/ib.yaml
watchdog = {watchdog}
[watcher:stub]
cmd = python -m hub.plugin plugins.stub:Stub --config {directory}/stub.yaml
watchdog = {watchdog}
[env]
DPHUB_HOST_ROOT = {directory}/root
"""
FILES = {
    "gpu.yaml": "dphub: {health: {interval: 0.2, stable_for: 0, driver_timeout: 5}}",
    "ib.yaml": json.dumps(
        {
            "configList": [
                {
                    "resourceName": "hca",
                    "mode": "hca",
                    "selectors": {"vendors": ["15b3"]},
                    "health": {"down": 0, "up": 0},
                }
            ]
        }
    ),
    "stub.yaml": "{reset: true, resources: [{numa: [0, 1]}]}",
}


class Lines:
    """The output of a command while it runs.

    Args:
        stream: The command's standard output.
    """

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream

    async def until(self, words: str) -> None:
        """Read lines until one contains these words."""
        seen = []
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while line := (await self._stream.readline()).decode():
                    seen.append(line)
                    if words in line:
                        return
        except TimeoutError:
            raise AssertionError(f"{words!r} is not in {seen}") from None
        raise AssertionError(f"the command exited without printing {words!r}: {seen}")


class OperatedNode(Node):
    """A node with all kinds of hardware; `root` is its file system, with the hardware that the tests break.

    Args:
        directory: The directory for all files.
        config: The text of circus.ini.
        gpus: The profile of the simulated GPUs.
        files: More files, by name.
        watchdog: The watchdog's limit for plugins, in seconds.
        variables: More variables for the hub and the commands.
    """

    def __init__(
        self,
        directory: Path,
        config: str = CONFIG,
        gpus: str = "switch8",
        files: Mapping[str, str] | None = None,
        watchdog: float = WATCHDOG,
        *,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.root = directory / "root"
        self.root.mkdir()
        self.gpus = SimulatedNode(self.root, gpus)
        self.hcas: RdmaTree = hcas_near_gpus(self.root, self.gpus.gpus)
        # Containers get this device file from the stub.
        (self.root / "dev/null").touch()
        (directory / "circus.ini").write_text(config.format(directory=directory, watchdog=watchdog))
        for name, text in (FILES | dict(files or {})).items():
            (directory / name).write_text(text.replace("FAULTS", f"{directory}/run/stub-faults.yaml"))
        super().__init__(directory, directory / "circus.ini", {"DPHUB_NODE_NAME": "node-a", **(variables or {})})
        self._reader = Reader(self.run_dir)

    async def start_hub(self, instance: str = INSTANCE) -> None:
        """Start a hub in addition to those that are running; the node's status becomes that of the new hub."""
        await super().start_hub(instance)
        self._reader = Reader(self.run_dir)

    def status(self) -> NodeStatus | None:
        """Return the status of the node, once the hub that was started last has written its report."""
        instance = self._reader.instance()
        return self._reader.status(running=True) if instance and self.hub and instance.hub.pid == self.hub.pid else None

    def plugin(self, name: str) -> PluginStatus | None:
        """Return the status of a plugin; None if there is none yet."""
        status = self.status()
        return next((plugin for plugin in status.plugins if plugin.name == name), None) if status else None

    async def status_until(self, holds: Callable[[NodeStatus], bool], what: str) -> NodeStatus:
        """Return the first status for which a condition holds."""

        def found() -> NodeStatus | None:
            status = self.status()
            return status if status and holds(status) else None

        try:
            return await wait_until(found, what)
        except AssertionError as error:
            status = self.status()
            problems = status.problems if status else ()
            raise AssertionError(f"{error}; problems: {problems}; log:\n{self.log.read_text()[-4000:]}") from None

    async def without_problems(self) -> NodeStatus:
        """Wait for a status without problems, and return it."""
        return await self.status_until(lambda status: status.ok and bool(status.plugins), "all is well")

    @asynccontextmanager
    async def running(self, *words: str) -> AsyncIterator["Lines"]:
        """Run a command until the block ends."""
        async with started(
            *(sys.executable, "-m", "hub", *words),
            stdout=asyncio.subprocess.PIPE,
            env=self.command_environment(width=200),
        ) as process:
            assert process.stdout
            yield Lines(process.stdout)
            process.send_signal(signal.SIGINT)
            await ended(process)

    async def get(self, path: str, **request: Any) -> tuple[int, str]:  # noqa: ANN401 - what tornado's client takes
        """Return the hub's response over HTTP: the status code and the text."""
        instance = read_file(self.run_dir.hub_report, InstanceReport)
        assert instance
        answer = await AsyncHTTPClient().fetch(f"http://{instance.hub.http}{path}", raise_error=False, **request)
        return answer.code, answer.body.decode()

    async def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's values with these labels."""
        code, text = await self.get("/metrics")
        assert code == 200, text
        return sum(
            float(line.rpartition(" ")[2])
            for line in text.splitlines()
            if line.startswith((f"{name}{{", f"{name} "))
            and all(f'{label}="{value}"' in line for label, value in labels.items())
        )

    async def next_heartbeat(self) -> None:
        """Wait until every plugin has written its next heartbeat."""
        for plugin in ("gpu", "ib", "stub"):
            file = self.run_dir.heartbeat(plugin)
            before = file.stat().st_mtime_ns
            await wait_until(
                lambda file=file, before=before: file.stat().st_mtime_ns != before, f"a heartbeat of {plugin}"
            )

    def rewrite(self, name: str, text: str) -> str:
        """Replace the text of a configuration file, and return the old text."""
        file = self.directory / name
        before = file.read_text()
        replace(file, text)
        return before

    def stub_faults(self, **faults: Any) -> None:  # noqa: ANN401 - what the stub's fault file takes
        """Set the stub's faults."""
        replace(self.run_dir.path / "stub-faults.yaml", json.dumps(faults))


@asynccontextmanager
async def operated(
    config: str = CONFIG,
    gpus: str = "switch8",
    files: Mapping[str, str] | None = None,
    wanted: Mapping[str, int] | None = None,
    watchdog: float = WATCHDOG,
) -> AsyncIterator[OperatedNode]:
    """Run a node with a kubelet and a hub, and wait until these numbers of devices (default: all) can be allocated."""
    directory = Path(tempfile.mkdtemp(prefix="dp", dir="/tmp"))
    try:
        async with OperatedNode(directory, config, gpus, files, watchdog) as node:
            await node.start_hub()
            await node.without_problems()
            there = {GPU: len(node.gpus.gpus), HCA: len(node.hcas.names), STUB: 4}
            for resource, count in (there if wanted is None else wanted).items():
                await node.kubelet.wait_for(resource, count)
            yield node
    finally:
        remove_tree(directory)

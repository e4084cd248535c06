"""A node whose hub, plugins and resets are killed and stopped, and what restarts its hub on a cluster."""

import asyncio
import contextlib
import sys
from pathlib import Path

import psutil

from hub.model.node import Condition
from hub.testing.kubelet import AdmissionError, ContainerStartError
from tests.harness.operated import CONFIG, GPU, HCA, STUB, OperatedNode

SHORT_BACKOFF_HUB = """
from hub.supervisor import backoff
backoff.LONGEST_SECONDS = 0.1
from hub.cli.commands.run import run; run()
"""
"""The hub, which restarts a plugin soon, however often the plugin was killed."""

RESETTING = """
from hub import ResetRetryPolicy, RecoveryPolicy
from plugins.stub import Stub

class Resetting(Stub):
    reset_retry = ResetRetryPolicy(interval=0.2, max_interval=1, startup_delay=0)
    recovery = RecoveryPolicy(max_recoveries=1_000_000)
"""
"""The stub. A device is soon reset again, however often its resets were killed three times in a row."""

FILES = {
    "gpu.yaml": "dphub: {health: {interval: 5, stable_for: 0, driver_timeout: 20}}",
    "stub.yaml": "{reset: true, reset_timeout: 8, resources: [{numa: [0, 1]}]}",
    "resetting.py": RESETTING,
}

PROBE_PERIOD, PROBE_TIMEOUT, PROBE_FAILURES = 0.5, 2.0, 3
"""The settings of the liveness probe, which begins when the hub reports its address."""


class ChaosNode(OperatedNode):
    """A node on which processes are killed and stopped.

    Args:
        directory: The directory for all files.
        watchdog: The watchdog's limit in seconds, within which a plugin must be able to start on a busy machine.
    """

    def __init__(self, directory: Path, watchdog: float) -> None:
        config = CONFIG.replace("plugins.stub:Stub", "{directory}/resetting.py:Resetting")
        super().__init__(directory, config, gpus="pair", files=FILES, watchdog=watchdog)
        self.hub_command = (sys.executable, "-c", SHORT_BACKOFF_HUB)
        self.wanted = {GPU: len(self.gpus.gpus), HCA: len(self.hcas.names), STUB: 4}
        self.restarts = 0

    def all_allocatable(self, without: psutil.Process | None = None) -> bool:
        """Return whether every plugin is registered and every device can be allocated.

        Args:
            without: A process that must have exited, and must have been replaced if it was the hub or a plugin.
        """
        found = {resource: each.allocatable for resource, each in self.kubelet.capacity().items()}
        if found != self.wanted or (without and not is_over(without)) or (status := self.status()) is None:
            return False
        pids = {status.hub.report.pid, *(plugin.process.pid for plugin in status.plugins)}
        registered = all(plugin.condition is Condition.REGISTERED for plugin in status.plugins)
        counts = {each.name: each.allocatable for plugin in status.plugins for each in plugin.report.resources}
        is_replaced = without is None or without.pid not in pids
        return registered and is_replaced and counts == self.wanted

    def processes(self) -> list[tuple[str, psutil.Process]]:
        """Return the processes of the tree, each with its name; none while the hub has just started."""
        status = self.status()
        if status is None:
            return []
        plugins = {plugin.process.pid: plugin.name for plugin in status.plugins}
        found = []
        with contextlib.suppress(psutil.NoSuchProcess):
            hub = psutil.Process(status.hub.report.pid)
            found.append(("hub", hub))
            for process in hub.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    found.append((plugins.get(process.pid) or _part_of_reset(process), process))
        return found

    async def keep_hub_running(self) -> None:
        """Start a hub when the last one has stopped, and kill one that does not answer the liveness probe."""
        while True:
            assert self.hub
            failures = 0
            while self.hub.returncode is None and failures < PROBE_FAILURES:
                failures = 0 if await self._is_live() else failures + 1
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.hub.wait(), PROBE_PERIOD)
            if self.hub.returncode is None:
                self.hub.kill()
                await self.hub.wait()
            self.restarts += 1
            await self.start_hub()

    async def _is_live(self) -> bool:
        instance = self._reader.instance()
        if not instance or not instance.hub.http or not self.hub or instance.hub.pid != self.hub.pid:
            return True
        host, _, port = instance.hub.http.rpartition(":")
        try:
            async with asyncio.timeout(PROBE_TIMEOUT):
                reader, writer = await asyncio.open_connection(host, int(port))
                try:
                    writer.write(b"GET /healthz HTTP/1.0\r\nHost: localhost\r\n\r\n")
                    return b" 200 " in await reader.readline()
                finally:
                    writer.close()
        except OSError:  # also raised on a timeout
            return False

    async def keep_resetting(self) -> None:
        """Admit pods with a device that is reset before the container starts; some fail while a plugin is not running.

        The resets take a long time, so that there is usually one to signal, and few new processes have to be started.
        """
        self.stub_faults(reset={"*": {"seconds": 5}})
        while True:
            with contextlib.suppress(AdmissionError, ContainerStartError):
                await self.kubelet.admit("pod", {STUB: 1})
            with contextlib.suppress(LookupError):
                await self.kubelet.remove("pod")
            await asyncio.sleep(0.05)


def _part_of_reset(process: psutil.Process) -> str:
    parent = process.parent()
    return "worker" if parent and "hub.reset" in parent.cmdline() else "guard"


def is_over(process: psutil.Process) -> bool:
    """Return whether a process has exited; one that got SIGSTOP may still exist."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

"""A node in a directory: a fake kubelet, and real hubs in their own processes, for tests, demos and benchmarks."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from hub.base.exits import Exit
from hub.base.paths import INSTANCE, RunDir
from hub.testing.kubelet import FakeKubelet

STOP_SECONDS = 30.0
"""Seconds after which a hub that does not stop is killed, as in a pod."""


class Node:
    """A node with a kubelet, inside an `async with` block.

    Args:
        root: An empty directory with a short path, because the paths of sockets are limited.
        config: The hub's circus.ini.
        environment: Variables for the hub, in addition to those of this process that do not configure a hub.
        kubelet: A kubelet to use instead of the default one.
    """

    def __init__(
        self,
        root: Path,
        config: Path,
        environment: Mapping[str, str] | None = None,
        kubelet: FakeKubelet | None = None,
    ) -> None:
        self._config = config
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("DPHUB_")}
        self._environment = inherited | dict(environment or {})
        self.plugin_dir = root / "device-plugins"
        self.run_dir = RunDir(root / "run")
        self.log = root / "hub.log"
        self.kubelet = kubelet or FakeKubelet(self.plugin_dir)
        self.hub: asyncio.subprocess.Process | None = None
        """The last hub that was started."""
        self._hubs: list[asyncio.subprocess.Process] = []

    async def __aenter__(self) -> Self:
        self.run_dir.create()
        await self.kubelet.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for hub in self._hubs:
            await _stop(hub)
        await self.kubelet.__aexit__(kind, error, trace)

    async def start_hub(self, instance: str = INSTANCE) -> None:
        """Start a hub, with its log in a file. A hub of another name takes over from the running one."""
        self.run_dir = RunDir(self.run_dir.path, instance)
        with self.log.open("ab") as log:
            self.hub = await asyncio.create_subprocess_exec(
                *(
                    sys.executable,
                    "-m",
                    "hub",
                    "run",
                    "--log-format=json",
                    "--http=127.0.0.1:0",
                    f"--config={self._config}",
                ),
                *(f"--plugin-dir={self.plugin_dir}", f"--run-dir={self.run_dir.path}", f"--instance={instance}"),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        self._hubs.append(self.hub)

    async def stop_hub(self) -> int:
        """Stop the hub and return its exit code."""
        return await _stop(self.hub) if self.hub else Exit.OK


async def _stop(hub: asyncio.subprocess.Process) -> int:
    if hub.returncode is None:
        hub.send_signal(signal.SIGTERM)
    try:
        return await asyncio.wait_for(hub.wait(), STOP_SECONDS)
    except TimeoutError:
        # Its plugins end with it.
        hub.kill()
        return await hub.wait()

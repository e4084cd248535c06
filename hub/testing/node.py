"""A node in a directory: a fake kubelet, and real hubs, plugins and commands in their own processes."""

import asyncio
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from hub.base.exits import Exit
from hub.base.interpreter import own_python
from hub.base.paths import INSTANCE, RunDir
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import PluginProcess, environment_without_hub

STOP_SECONDS = 30.0
"""Seconds after which a hub that does not stop is killed, as in a pod."""


@dataclass(frozen=True)
class CommandResult:
    """A command that has exited: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str

    def __repr__(self) -> str:
        """Return all parts as text, for the message of a failed test."""
        return f"exit code {self.code}\n{self.out}\n{self.err}"


class Node:
    """A node, for tests, experiments and benchmarks.

    `async with` starts the kubelet, and at its end stops everything that was started on the node. Without it, plugins
    run without a kubelet; then `kill_plugins` stops them.

    Args:
        directory: An empty directory with a short path, because the paths of sockets are limited.
        config: The hub's circus.ini; not needed for plugins alone.
        environment: Variables for hubs and commands, in addition to those of this process that do not configure a hub.
        kubelet: A kubelet to use instead of the default one.
    """

    def __init__(
        self,
        directory: Path,
        config: Path | None = None,
        environment: Mapping[str, str] | None = None,
        kubelet: FakeKubelet | None = None,
    ) -> None:
        self.directory = directory
        self.plugin_dir = directory / "device-plugins"
        self.run_dir = RunDir(directory / "run")
        self.log = directory / "hub.log"
        self.kubelet = kubelet or FakeKubelet(self.plugin_dir)
        self.hub: asyncio.subprocess.Process | None = None
        """The last hub that was started."""
        self.plugins: list[PluginProcess] = []
        """The plugins that `start_plugin` started."""
        self.hub_command: Sequence[str] = own_python("hub", "run")
        """The command that runs a hub; a test may choose another."""
        self._config = config
        self._environment = environment_without_hub() | dict(environment or {})
        self._hubs: list[asyncio.subprocess.Process] = []
        self.run_dir.create()
        self.plugin_dir.mkdir(exist_ok=True)

    async def __aenter__(self) -> Self:
        await self.kubelet.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill_plugins()
        for hub in self._hubs:
            await _stop(hub)
        await self.kubelet.__aexit__(kind, error, trace)

    def start_plugin(self, target: str = "plugins.stub:Stub", **options: Any) -> PluginProcess:  # noqa: ANN401 - those of PluginProcess
        """Start a plugin process without a hub; `options` are those of `PluginProcess`."""
        plugin = PluginProcess(self.directory, self.plugin_dir, self.run_dir.path, target, **options)
        self.plugins.append(plugin)
        return plugin

    def kill_plugins(self) -> None:
        """Kill the plugins that `start_plugin` started."""
        for plugin in self.plugins:
            plugin.kill()

    async def start_hub(self, instance: str = INSTANCE) -> None:
        """Start a hub, with its log in a file. A hub with a different name takes over from the running one."""
        self.run_dir = RunDir(self.run_dir.path, instance)
        flags = {
            "config": self._config,
            "plugin-dir": self.plugin_dir,
            "run-dir": self.run_dir.path,
            "instance": instance,
            "log-format": "json",
            "http": "127.0.0.1:0",
        }
        with self.log.open("ab") as log:
            self.hub = await asyncio.create_subprocess_exec(
                *(*self.hub_command, *(f"--{name}={value}" for name, value in flags.items())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        self._hubs.append(self.hub)

    async def stop_hub(self) -> int:
        """Ask the hub to stop, and return its exit code."""
        return await _stop(self.hub) if self.hub else Exit.OK

    async def dphub(self, *words: str, width: int = 120) -> CommandResult:
        """Run a command on the node, as an administrator does.

        Args:
            words: The command line after `dphub`.
            width: The columns of the terminal.
        """
        process = await asyncio.create_subprocess_exec(
            *own_python("hub", *words),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env=self.command_environment(width),
        )
        try:
            out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        return CommandResult(process.returncode or 0, out.decode(), err.decode())

    def command_environment(self, width: int = 120) -> dict[str, str]:
        """Return the variables with which a command finds the node."""
        return {**self._environment, "DPHUB_RUN_DIR": str(self.run_dir.path), "COLUMNS": str(width)}


async def _stop(hub: asyncio.subprocess.Process) -> int:
    if hub.returncode is None:
        hub.send_signal(signal.SIGTERM)
    try:
        return await asyncio.wait_for(hub.wait(), STOP_SECONDS)
    except TimeoutError:
        # Its plugins exit with it.
        hub.kill()
        return await hub.wait()

"""A real plugin process on a node: its log, its report, its signals."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hub.base.interpreter import inherited_environment, own_python
from hub.base.paths import INSTANCE, RunDir
from hub.model.plugin import PluginReport, RegistrationStatus, ResourceStatus
from hub.status.reader import read_report
from hub.testing.waiting import wait_until

STUB = "example.com/stub"
"""The resource that the stub plugin serves unless its configuration names others."""


class PluginProcess:
    """A plugin process without a hub; `Node.start_plugin` starts it.

    Args:
        directory: Its working directory, which gets its log and its configuration file.
        plugin_dir: The kubelet's plugin directory.
        run_dir: The hub's run directory.
        target: The plugin as MODULE:CLASS or FILE:CLASS.
        name: The plugin's name, as a section of circus.ini gives it.
        config: The text of its configuration file, or the path of one.
        instance: The hub to which it belongs.
        env: Variables to add to those of this process, except DPHUB_*.
        hup_blocked: Whether SIGHUP is blocked when it starts, as when the hub starts it.
    """

    def __init__(
        self,
        directory: Path,
        plugin_dir: Path,
        run_dir: Path,
        target: str,
        *,
        name: str = "stub",
        config: str | Path | None = None,
        instance: str = INSTANCE,
        env: Mapping[str, str] | None = None,
        hup_blocked: bool = False,
    ) -> None:
        self.name = name
        self.plugin_dir = plugin_dir
        self.run_dir = RunDir(run_dir, instance)
        self.log_file = directory / f"{instance}.{name}.log"
        self._report: tuple[int, PluginReport | None] = (0, None)
        flags = {"--name": name, "--plugin-dir": plugin_dir, "--run-dir": run_dir}
        if isinstance(config, str):
            flags["--config"] = directory / f"{name}.yaml"
            (directory / f"{name}.yaml").write_text(config)
        elif config:
            flags["--config"] = config
        own = {"DPHUB_RUN_DIR": str(run_dir), "DPHUB_INSTANCE": instance}
        with self.log_file.open("ab") as log, _sighup_blocked() if hup_blocked else nullcontext():
            self.process = subprocess.Popen(  # noqa: S603 - the caller's plugin
                own_python("hub.plugin", target, *(str(word) for flag in flags.items() for word in flag)),
                stdout=log,
                stderr=log,
                cwd=directory,
                env={**environment_without_hub(), **own, **(env or {})},
            )

    @property
    def pid(self) -> int:
        """The process id."""
        return self.process.pid

    def signal(self, *numbers: signal.Signals) -> None:
        """Send signals."""
        for number in numbers:
            self.process.send_signal(number)

    def hup(self) -> None:
        """Make it scan, and check its registrations, at once."""
        self.signal(signal.SIGHUP)

    async def exited(self) -> int:
        """Wait until it has exited, and return its exit status."""
        await wait_until(lambda: self.process.poll() is not None, f"the exit of {self.name}")
        return self.process.returncode

    async def stop(self) -> int:
        """Ask it to stop, and return its exit status."""
        self.signal(signal.SIGTERM)
        return await self.exited()

    def kill(self) -> None:
        """Kill it, as in a crash."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    @property
    def log(self) -> str:
        """Everything that it has written."""
        return self.log_file.read_text()

    def lines(self, event: str | None = None) -> list[dict[str, Any]]:
        """Return its log lines, those of one event or all; raise an error if a line is not JSON."""
        found = [json.loads(line) for line in self.log.splitlines(keepends=True) if line.endswith("\n")]
        return [line for line in found if event in (None, line["event"])]

    async def logged(self, event: str) -> dict[str, Any]:
        """Wait for a log line of an event, and return the first one."""
        return (await wait_until(lambda: self.lines(event), f"a line {event!r} in the log"))[0]

    def state(self) -> PluginReport | None:
        """Return its report, once this process has written one."""
        path = self.run_dir.report(self.name)
        modified = path.stat().st_mtime_ns if path.exists() else 0
        if modified != self._report[0]:
            self._report = modified, read_report(path)
        report = self._report[1]
        return report if report and report.pid == self.pid else None

    def resource(self, name: str = STUB) -> ResourceStatus | None:
        """Return its report on one resource, once there is one."""
        report = self.state()
        return next((each for each in report.resources if each.name == name), None) if report else None

    async def resource_until(self, holds: Callable[[ResourceStatus], bool], name: str = STUB) -> ResourceStatus:
        """Return the first report on a resource for which a condition holds.

        Raises:
            AssertionError: the condition stayed false, or the process has exited.
        """

        def found() -> ResourceStatus | None:
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} has exited ({self.process.returncode}):\n{self.log}")
            report = self.resource(name)
            return report if report and holds(report) else None

        try:
            return await wait_until(found, f"{name} as expected")
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {self.resource(name)}; log:\n{self.log}") from None

    async def registered(self, name: str = STUB) -> ResourceStatus:
        """Wait until a resource is registered, and return its report."""
        return await self.resource_until(lambda report: report.registration is RegistrationStatus.REGISTERED, name)


def environment_without_hub() -> dict[str, str]:
    """Return this process's variables except those that configure a hub."""
    return {name: value for name, value in inherited_environment().items() if not name.startswith("DPHUB_")}


@contextmanager
def _sighup_blocked() -> Iterator[None]:
    """Block SIGHUP for processes that are started inside the block.

    This is not done by a function in the child: if there is one, Python forks, and gRPC, which this process also uses,
    does not always survive a fork.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)

"""Nodes for the page alone: their status is made up, and the hub's own web server serves it without a hub."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from hub.base.jsonfile import replace_file
from hub.base.paths import RunDir
from hub.model.hub import HubReport, InstanceReport, LastExit, ProcessReport, RestartReason, RunState
from hub.model.plugin import DeviceStatus, ExcludedDevice, PluginReport, RegistrationStatus, ResetReport, ResourceStatus
from hub.status.reader import Reader
from hub.supervisor.http.server import serve_web
from hub.testing.waiting import wait_until
from tests.integration.page.browser import ELSEWHERE

RESOURCE = "example.com/stub"
HOLDER = "research/trainer-0/main"


def device(number: int, **more: object) -> DeviceStatus:
    """Return a healthy device that no container uses."""
    at = {"numa": (number % 2,), "pci": (f"0000:{number // 32:02x}:{number % 32:02x}.0",)}
    return DeviceStatus(**{"id": f"stub-{number}", "healthy": True, **at, **more})  # type: ignore[arg-type] # as named


def bad(number: int, reason: str, **more: object) -> DeviceStatus:
    """Return a device that has been unusable for two minutes."""
    unhealthy = {"healthy": False, "health": "unhealthy", "source": "plugin", "since": time.time() - 120}
    return device(number, **{**unhealthy, "reason": reason, **more})


def counts(devices: Sequence[DeviceStatus]) -> dict[str, int]:
    """Return the numbers that a plugin reports about these devices."""
    return {
        "capacity": len(devices),
        "allocatable": sum(each.healthy for each in devices),
        "allocated": sum(bool(each.holder) for each in devices),
    }


def plugin(devices: Sequence[DeviceStatus], **more: object) -> PluginReport:
    """Return a plugin with one resource."""
    resource = ResourceStatus(
        RESOURCE,
        "stub.sock",
        RegistrationStatus.REGISTERED,
        time.time() - 60,
        1,
        devices=tuple(devices),
        **counts(devices),
    )
    fields = {
        "plugin": "stub",
        "pid": os.getpid(),
        "started": time.time() - 60,
        "scanned": True,
        "resources": (resource,),
    }
    return PluginReport(**{**fields, **more})  # type: ignore[arg-type] # as named


def large_node(count: int) -> PluginReport:
    """Return a plugin with this many devices, the last two of which cannot be used."""
    healthy = [device(number, holder=HOLDER if number % 3 == 0 else "") for number in range(count - 2)]
    return plugin([*healthy, bad(count - 2, "the link is down"), bad(count - 1, "the fan is loud", source="cordon")])


def mixed_node() -> PluginReport:
    """Return a plugin with devices in every possible state."""
    shares = [
        device(
            20,
            id=f"card-9::{number}",
            physical="card-9",
            holder=HOLDER if number else "",
            attributes={"part": f"{number}g"},
        )
        for number in range(3)
    ]
    attributes = {"model": "Stub 3000", "index": "0", "serial": "SN-0815"}
    return plugin(
        [
            device(0, attributes=attributes, upstream=("0000:00:01.0",)),
            device(1, holder=HOLDER),
            bad(2, "<img src=x onerror=alert(1)>", source="broken"),
            bad(3, "cordoned: the fan is loud", source="cordon"),
            bad(4, "seen again", health="recovering"),
            *shares,
        ],
        excluded=(ExcludedDevice("stub-99", "the node's own traffic needs it"),),
        cordons={f"{RESOURCE} stub-3": "the fan is loud"},
        resets={f"{RESOURCE} stub-2": ResetReport("failed", "no answer", time.time() - 30, 1.5)},
    )


class PageNode:
    """A run directory with what a hub and its plugin would have written, and the web server on it.

    Args:
        directory: An empty directory.
    """

    def __init__(self, directory: Path) -> None:
        self._run_dir = RunDir(directory)
        self.url = ""

    def says(self, state: PluginReport, kubelet: bool = True) -> None:  # noqa: FBT001, FBT002 - a fact, not a switch
        """From now on, report the plugin in this state."""
        process = ProcessReport(
            "stub",
            RunState.RUNNING,
            os.getpid(),
            time.time() - 60,
            starts=2,
            restarts={RestartReason.CRASHED: 1},
            last_exit=LastExit(77, time.time() - 61, "killed by SIGSEGV", -11),
        )
        hub = HubReport(
            *("0.1.0", os.getpid(), time.time() - 3700, "dphub", "/etc/dphub/circus.ini", "/plugins", "/etc/dphub"),
            http="127.0.0.1:9880",
            kubelet_since=time.time() - 90_000 if kubelet else 0,
            kubelet_starts=1,
            node="node-a",
        )
        replace_file(self._run_dir.hub_report, InstanceReport(hub, (process,)))
        replace_file(self._run_dir.report("stub"), state)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve the page until the block ends."""
        heard: list[tuple[str, str]] = []
        reader = Reader(self._run_dir)
        server = asyncio.create_task(serve_web("127.0.0.1:0", reader, lambda *said: heard.append(said), [ELSEWHERE]))
        await wait_until(lambda: heard, "the web server")
        self.url = f"http://{heard[0][0]}/"
        try:
            yield
        finally:
            server.cancel()
            with suppress(asyncio.CancelledError):
                await server

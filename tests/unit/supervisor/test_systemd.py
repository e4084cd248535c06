"""What the hub reports to systemd, tested in this process with a socket in place of systemd's."""

import asyncio
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from hub.base.errors import HubError
from hub.model.hub import HubReport, LastExit, ProcessReport, RunState
from hub.model.node import Condition, HubStatus, NodeStatus, PluginStatus, Problem, Severity
from hub.model.plugin import PluginReport
from hub.status.reader import Reader
from hub.supervisor import systemd
from hub.supervisor.systemd import Systemd
from hub.testing.waiting import WAIT_SECONDS, wait_until

REPORT = HubReport("1", 1, 0, "dphub", "", "", "")


def _plugin(name: str, condition: Condition, exit_reason: str = "") -> PluginStatus:
    last = LastExit(7, 1.0, exit_reason, 1) if exit_reason else None
    return PluginStatus(
        name=name,
        condition=condition,
        message="",
        last_heartbeat=0,
        log_level="",
        memory=None,
        process=ProcessReport(name, RunState.RUNNING, pid=8, last_exit=last),
        report=PluginReport(name),
    )


def _status(*plugins: PluginStatus, problems: tuple[Problem, ...] = ()) -> NodeStatus:
    hub = HubStatus(running=True, unresponsive=False, last_heartbeat=0, memory=None, report=REPORT)
    return NodeStatus(time=0, node="a", ok=True, ready=True, problems=problems, hub=hub, plugins=plugins)


class FixedReader(Reader):
    """A reader that returns what the test sets; None raises an error."""

    found: NodeStatus | None = None

    def __init__(self) -> None:
        pass

    def status(self, **_: bool) -> NodeStatus:  # type: ignore[override]
        """Return that status."""
        if self.found is None:
            raise HubError("no file")
        return self.found


class Inbox:
    """What systemd has received."""

    def __init__(self, client: socket.socket) -> None:
        self._socket = client
        self._lines: list[str] = []

    def lines(self) -> list[str]:
        """Return all lines so far."""
        with suppress(BlockingIOError):
            while True:
                self._lines += self._socket.recv(4096).decode().splitlines()
        return self._lines


@pytest.fixture(params=["file", "abstract"])
def inbox(request: pytest.FixtureRequest, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Inbox]:
    """Create systemd's socket, which is a file, or has a name in the abstract namespace."""
    abstract = f"dphub-test-{os.getpid()}"
    name = f"@{abstract}" if request.param == "abstract" else str(directory / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(f"\0{abstract}" if request.param == "abstract" else name)
        server.setblocking(False)  # noqa: FBT003 - its only argument
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield Inbox(server)


async def test_it_is_ready_when_every_plugin_has_scanned(inbox: Inbox) -> None:
    """Until then, the status says which plugin the hub is waiting for; it does not wait for the kubelet."""
    reader = FixedReader()
    running = asyncio.create_task(Systemd(reader).run())
    try:
        await wait_until(lambda: "STATUS=Waiting for the first scan of its plugins" in inbox.lines(), "the first look")
        reader.found = _status(_plugin("a", Condition.WAITING), _plugin("b", Condition.STARTING))
        await wait_until(lambda: "STATUS=Waiting for the first scan of b" in inbox.lines(), "the wait for b")
        assert "READY=1" not in inbox.lines()
        reader.found = _status(_plugin("a", Condition.WAITING), _plugin("b", Condition.NO_RESOURCES))
        await wait_until(lambda: "WATCHDOG=1" in inbox.lines(), "a report after it is ready")
        assert inbox.lines().count("READY=1") == 1
        assert "STATUS=No problems found" in inbox.lines()
    finally:
        running.cancel()


@pytest.mark.parametrize(
    "plugin",
    [
        _plugin("a", Condition.BACKING_OFF, "exit code 1"),
        _plugin("a", Condition.STARTING, "exit code 1"),
        _plugin("a", Condition.START_FAILED),
        _plugin("a", Condition.UNRESPONSIVE),
        _plugin("a", Condition.STOPPED),
        _plugin("a", Condition.EXTERNAL),
    ],
    ids=lambda plugin: f"{plugin.condition}, {plugin.process.last_exit}",
)
async def test_a_plugin_that_fails_is_not_awaited(inbox: Inbox, plugin: PluginStatus) -> None:
    """The kubelet must not wait for a plugin that may never work."""
    reader = FixedReader()
    reader.found = _status(plugin)
    running = asyncio.create_task(Systemd(reader).run())
    try:
        await wait_until(lambda: "READY=1" in inbox.lines(), "it is ready")
    finally:
        running.cancel()


async def test_a_scan_that_takes_long_is_not_awaited(inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kubelet starts before systemd would kill the hub."""
    monkeypatch.setattr(systemd, "READY_TIMEOUT", 0.1)
    reader = FixedReader()
    reader.found = _status(_plugin("a", Condition.STARTING))
    running = asyncio.create_task(Systemd(reader).run())
    try:
        await wait_until(lambda: "READY=1" in inbox.lines(), "it is ready")
    finally:
        running.cancel()


async def test_the_status_is_the_worst_problem(inbox: Inbox) -> None:
    """It is one short line, whatever a plugin has written; notes are not problems."""
    worst = Problem(Severity.ERROR, "gpu", "no driver\nREADY=1" + "!" * 400)
    problems = (worst, Problem(Severity.WARNING, "ib", "x"), Problem(Severity.INFO, "stub", "y"))
    reader = FixedReader()
    reader.found = _status(problems=problems)
    running = asyncio.create_task(Systemd(reader).run())
    try:
        await wait_until(lambda: "WATCHDOG=1" in inbox.lines(), "a report after it is ready")
    finally:
        running.cancel()
    (text,) = [line for line in inbox.lines() if line.startswith("STATUS=")]
    assert text.startswith("STATUS=2 problems, see dphub status: gpu: no driver READY=1!!!")
    assert len(text) < 210
    assert inbox.lines().count("READY=1") == 1


async def test_a_stop_is_reported(inbox: Inbox) -> None:
    """It is reported when it is requested, and not before."""
    requested = asyncio.Event()
    running = asyncio.create_task(Systemd(FixedReader()).report_stop(requested))
    try:
        await asyncio.sleep(0)
        assert inbox.lines() == []
        requested.set()
        await wait_until(lambda: inbox.lines() == ["STOPPING=1"], "the report")
    finally:
        running.cancel()


@pytest.mark.usefixtures("inbox")
def test_no_child_finds_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables are for the hub alone."""
    monkeypatch.setenv("WATCHDOG_USEC", "60000000")
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()))
    assert Systemd(FixedReader()).is_present
    assert {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}.isdisjoint(os.environ)
    assert not Systemd(FixedReader()).is_present


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("", "", systemd.INTERVAL),
        ("3000000", "", 1),
        ("3000000", "own", 1),
        ("3000000", "1", systemd.INTERVAL),
        ("600000000", "", systemd.INTERVAL),
        ("soon", "", systemd.INTERVAL),
        ("0", "", systemd.INTERVAL),
        ("\u00b2", "", systemd.INTERVAL),
        ("9" * 5000, "", systemd.INTERVAL),
    ],
)
async def test_the_watchdog_gets_a_report_in_time(
    inbox: Inbox, monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, seconds: float
) -> None:
    """The hub reports three times within the time limit, and often enough that the status text is current."""
    slept: list[float] = []

    async def sleep(interval: float) -> float:
        slept.append(interval)
        await asyncio.sleep(0)
        return interval

    monkeypatch.setattr(systemd, "sleep_until_tick", sleep)
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", pid.replace("own", str(os.getpid())))
    reader = FixedReader()
    reader.found = _status()
    running = asyncio.create_task(Systemd(reader).run())
    try:
        await wait_until(lambda: inbox.lines().count("WATCHDOG=1") > 1, "two reports")
    finally:
        running.cancel()
    assert set(slept) == {seconds}


async def test_systemd_that_stays_unreachable_costs_little(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub checks often only as long as the kubelet waits for it."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(directory / "notify"))
    monkeypatch.setattr(systemd, "READY_TIMEOUT", 0)
    looks: list[None] = []
    connection = Systemd(FixedReader())
    monkeypatch.setattr(connection, "_report_ready", lambda: looks.append(None))
    running = asyncio.create_task(connection.run())
    try:
        await asyncio.sleep(0.3)
        assert len(looks) == 1
    finally:
        running.cancel()


async def test_a_socket_that_is_gone_stops_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub continues, and reports as soon as the socket exists."""
    path = directory / "notify"
    monkeypatch.setenv("NOTIFY_SOCKET", str(path))
    reader = FixedReader()
    reader.found = replace(_status())
    running = asyncio.create_task(Systemd(reader).run())
    try:
        await asyncio.sleep(0)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
            server.bind(str(path))
            server.setblocking(False)  # noqa: FBT003 - its only argument
            inbox = Inbox(server)
            async with asyncio.timeout(WAIT_SECONDS):
                await wait_until(lambda: "READY=1" in inbox.lines(), "it is ready")
    finally:
        running.cancel()

"""The socket on which other programs report that a device cannot be used."""

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from hub.base.instances import acquire_hub_lock
from hub.base.paths import RunDir
from hub.model.external import MAX_BYTES, MAX_FILES
from hub.status import externalreports
from hub.supervisor import externalsocket
from hub.supervisor.externalsocket import ExternalSocket
from hub.testing.waiting import wait_until
from tests.unit.plugin.health.external_reports import DEVICE, GPU, at, make_store

REPORT = {"device": "GPU-1", "source": "memory-test", "reason": "row 7 is bad"}
WITHDRAWAL = {"device": "GPU-1", "source": "memory-test", "withdraw": True}
TIMEOUT = 60.0


@asynccontextmanager
async def _listening(run_dir: RunDir) -> AsyncIterator[asyncio.Task[None]]:
    running = asyncio.create_task(ExternalSocket(run_dir).run())
    try:
        async with asyncio.timeout(TIMEOUT):
            await wait_until(run_dir.external_socket.is_socket, "the socket")
        yield running
    finally:
        running.cancel()
        await asyncio.wait([running])


@pytest.fixture
def run_dir(directory: Path) -> RunDir:
    """Create an empty run directory."""
    return RunDir(directory)


async def _ask(run_dir: RunDir, request: object) -> Any:  # noqa: ANN401 - JSON
    line = request if isinstance(request, bytes) else json.dumps(request).encode()
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_unix_connection(run_dir.external_socket)
        writer.write(line + b"\n")
        answer = await reader.readline()
        writer.close()
    return json.loads(answer)


async def test_a_report_and_its_withdrawal(run_dir: RunDir) -> None:
    """The report has the same effect as a file, and ends with its withdrawal; the log shows both with their source."""
    with capture_logs() as logs:
        async with _listening(run_dir):
            assert await _ask(run_dir, REPORT) == {"ok": True, "message": "stored"}
            store = make_store(run_dir.external_faults)
            assert store.health_of(GPU, DEVICE).reason == "reported by memory-test: row 7 is bad"
            assert (await _ask(run_dir, WITHDRAWAL))["message"] == "withdrawn"
            store.refresh_external()
            assert store.health_of(GPU, DEVICE).reason == ""
            assert (await _ask(run_dir, WITHDRAWAL))["message"] == "there was no such report"
    assert [each["event"] for each in logs] == ["external report received", "external report withdrawn"]
    assert {each["source"] for each in logs} == {"memory-test"}


async def test_a_report_is_extended(run_dir: RunDir) -> None:
    """A report replaces the last one by its source about the device: there is one file, and one line in the log."""
    with capture_logs() as logs:
        async with _listening(run_dir):
            for seconds in (100, 200):
                answer = await _ask(run_dir, {**REPORT, "until": at(time.time() + seconds)})
                assert answer["ok"]
    assert answer["message"] == "stored, in place of the previous one"
    (file,) = run_dir.external_faults.iterdir()
    assert datetime.fromisoformat(json.loads(file.read_text())["until"]).timestamp() > time.time() + 150
    assert [each["event"] for each in logs] == ["external report received"]


async def test_a_source_withdraws_only_its_own_reports(run_dir: RunDir) -> None:
    """A program cannot make a device healthy that another one has reported, in a file or on the socket."""
    async with _listening(run_dir):
        await _ask(run_dir, REPORT)
        (run_dir.external_faults / "own.json").write_text(json.dumps({**REPORT, "source": "other"}))
        await _ask(run_dir, {**WITHDRAWAL, "source": "other"})
        await _ask(run_dir, {**WITHDRAWAL, "device": "GPU-2"})
    store = make_store(run_dir.external_faults)
    reasons = store.health_of(GPU, DEVICE).reason.split("; ")
    assert sorted(reasons) == ["reported by memory-test: row 7 is bad", "reported by other: row 7 is bad"]


@pytest.mark.parametrize(
    ("request_line", "problem"),
    [
        (b"{}", "missing required field `device`"),
        (b"[" * 4000, "expected `object`"),
        (b'{"device": "\xff"}', "utf-8"),
        (b"x" * (2 * MAX_BYTES), "expected one line of at most 4096 bytes"),
        ({**REPORT, "healthy": True}, "unknown field `healthy`"),
        ({**REPORT, "withdraw": True}, 'expected either "reason" or "withdraw": true'),
        ({**WITHDRAWAL, "withdraw": False}, 'expected either "reason" or "withdraw": true'),
        ({**REPORT, "until": "2020-01-01T00:00:00Z"}, '"until" has passed'),
        ({**REPORT, "until": "2030-01-01T00:00:00"}, "timezone"),
        ({**REPORT, "source": "x" * 1001}, "length <= 1000"),
    ],
    ids=["nothing", "nested", "bytes", "size", "healthy", "both", "neither", "passed", "timezone", "source"],
)
async def test_a_bad_request_gets_an_answer(run_dir: RunDir, request_line: object, problem: str) -> None:
    """The response says what is wrong, nothing is written, and the next request is served."""
    with capture_logs() as logs:
        async with _listening(run_dir):
            answer = await _ask(run_dir, request_line)
            assert not answer["ok"]
            assert problem.lower() in answer["message"].lower()
            assert not run_dir.external_faults.exists() or not list(run_dir.external_faults.iterdir())
            assert (await _ask(run_dir, REPORT))["ok"]
            await wait_until(lambda: len(logs) == 2, "the log")
    rejected = next(each for each in logs if each["event"] == "external request rejected")
    assert (rejected["pid"], rejected["user"]) == (os.getpid(), os.geteuid())


async def test_a_long_report_is_refused(run_dir: RunDir) -> None:
    """A report that takes more room in its file than plugins read is refused, rather than ignored by them later."""
    async with _listening(run_dir):
        answer = await _ask(run_dir, json.dumps({**REPORT, "reason": "\u202e" * 900}, ensure_ascii=False).encode())
        assert answer == {"ok": False, "message": "the report takes more than 4096 bytes: shorten its reason"}
    assert not run_dir.external_faults.exists()


async def test_too_many_reports(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reports have a maximum number, which leaves room for files; one that has expired makes room for the next."""
    assert externalreports.MAX_KEPT <= MAX_FILES / 2
    monkeypatch.setattr(externalreports, "MAX_KEPT", 3)
    async with _listening(run_dir):
        soon = time.time() + 0.5
        await _ask(run_dir, {**REPORT, "device": "short", "until": at(soon)})
        for number in range(2):
            assert (await _ask(run_dir, {**REPORT, "device": f"GPU-{number}"}))["ok"]
        await asyncio.sleep(max(0.0, soon - time.time()))
        assert (await _ask(run_dir, {**REPORT, "device": "GPU-2"}))["ok"]
        answer = await _ask(run_dir, {**REPORT, "device": "GPU-3"})
        assert answer["message"] == "there are 3 reports already: withdraw some of them"
        assert (await _ask(run_dir, {**REPORT, "device": "GPU-2", "reason": "still bad"}))["ok"]


async def test_clients_that_say_nothing(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their number is limited, and each is disconnected after a few seconds; then there is room for others."""
    monkeypatch.setattr(externalsocket, "CONNECTIONS", 2)
    monkeypatch.setattr(externalsocket, "REQUEST_TIMEOUT", 0.5)
    async with _listening(run_dir), asyncio.timeout(TIMEOUT):
        silent = [await asyncio.open_unix_connection(run_dir.external_socket) for _ in range(2)]
        await wait_until(lambda: True, "a turn of the loop")
        assert "more than 2 clients are connected" in (await _ask(run_dir, REPORT))["message"]
        for reader, writer in silent:
            assert json.loads(await reader.read())["message"] == "no request within 0.5 s"
            writer.close()
        assert (await _ask(run_dir, REPORT))["ok"]


async def test_only_its_user_can_connect(run_dir: RunDir) -> None:
    """The permissions of the socket exclude all others, even where those of its directory do not."""
    run_dir.path.chmod(0o755)
    async with _listening(run_dir):
        assert run_dir.external_socket.stat().st_mode & 0o777 == 0o600


async def test_the_newest_hub_listens(run_dir: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    """During an upgrade the new hub takes over without a gap for clients; if it exits, the old hub listens again."""
    monkeypatch.setattr(externalsocket, "CHECK_SECONDS", 0.05)

    def inode() -> int:
        return run_dir.external_socket.stat().st_ino

    def hub(name: str) -> AbstractAsyncContextManager[asyncio.Task[None]]:
        return _listening(RunDir(run_dir.path, name))

    with acquire_hub_lock(RunDir(run_dir.path, "old")):
        async with hub("old"):
            first = inode()
            with acquire_hub_lock(RunDir(run_dir.path, "new")):
                async with hub("new"), asyncio.timeout(TIMEOUT):
                    await wait_until(lambda: inode() != first, "the new hub to listen")
                    second = inode()
                    await asyncio.sleep(0.3)
                    assert inode() == second
                    assert (await _ask(run_dir, REPORT))["ok"]
            async with asyncio.timeout(TIMEOUT):
                await wait_until(run_dir.external_socket.is_socket, "the old hub to listen again")
            assert (await _ask(run_dir, REPORT))["ok"]
    assert not run_dir.external_socket.exists()


@pytest.mark.parametrize("what", ["file", "link", "directory"])
async def test_something_else_in_its_place(run_dir: RunDir, what: str) -> None:
    """It is replaced, and a link to a file elsewhere is not followed."""
    elsewhere = run_dir.path / "elsewhere"
    elsewhere.write_text("mine")
    match what:
        case "file":
            run_dir.external_socket.write_text("x")
        case "link":
            run_dir.external_socket.symlink_to(elsewhere)
        case _:
            (run_dir.external_socket / "inside").mkdir(parents=True)
    async with _listening(run_dir):
        assert (await _ask(run_dir, REPORT))["ok"]
    assert elsewhere.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to give a directory to another user")
async def test_a_directory_of_another_user(run_dir: RunDir) -> None:
    """No report is written where plugins would ignore it: the response says why."""
    run_dir.external_faults.mkdir()
    os.chown(run_dir.external_faults, 12345, 0)
    async with _listening(run_dir):
        answer = await _ask(run_dir, REPORT)
    assert not answer["ok"]
    assert "belongs to user 12345" in answer["message"]


async def test_a_time_zone(run_dir: RunDir) -> None:
    """The end of a report is the same moment in whichever time zone the program gives it."""
    end = datetime.fromtimestamp(int(time.time()) + 3600, UTC)
    async with _listening(run_dir):
        await _ask(run_dir, {**REPORT, "until": end.isoformat().replace("+00:00", "Z")})
    (file,) = run_dir.external_faults.iterdir()
    assert datetime.fromisoformat(json.loads(file.read_text())["until"]) == end

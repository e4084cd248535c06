"""Which resets run when, and how a call ends that is no longer needed."""

import asyncio
import contextlib
import json
import os
import signal
import threading
from itertools import accumulate
from pathlib import Path

import psutil
import pytest

from hub import ResetDevice
from hub.base.processid import ProcessId
from hub.reset.result import Outcome
from hub.reset.runner import ResetRunner
from hub.testing.waiting import wait_until
from tests.integration.reset.reset_support import LONG, SHORT, Workshop, children, open_descriptors, reset


@pytest.fixture
def deaf(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Keep signals from reaching a guard, as if it were stuck in the kernel."""
    monkeypatch.setattr("hub.reset.process.signal.pidfd_send_signal", lambda *_: None)
    return monkeypatch


def _busy(notes: list[tuple[float, str, int]]) -> int:
    """Return the maximum number of resets at one time."""
    return max(accumulate(change for _, _, change in sorted(notes)))


def _read(file: Path) -> list[tuple[float, str, int]]:
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()]


async def test_devices_are_reset_in_parallel_within_bounds(workshop: Workshop, tmp_path: Path) -> None:
    """More than one runs at a time, and never more than allowed, over all calls."""
    file = tmp_path / "notes"
    resetter = workshop.resetter("tests.integration.reset.odd_resets:take_a_while", {"file": str(file)}, parallel=3)
    calls = [reset(resetter, [f"{call}-{n}" for n in range(5)]) for call in range(2)]
    results = await asyncio.gather(*calls)
    assert {result.outcome for call in results for result in call.values()} == {Outcome.OK}
    notes = _read(file)
    assert len(notes) == 20
    assert 2 <= _busy(notes) <= 3


async def test_a_device_is_reset_once_at_a_time(workshop: Workshop, tmp_path: Path) -> None:
    """This holds across calls; a device that is twice in a call is reset once."""
    file = tmp_path / "notes"
    resetter = workshop.resetter("tests.integration.reset.odd_resets:take_a_while", {"file": str(file)})
    results = await asyncio.gather(*(reset(resetter, ["same", "same", f"other-{n}"]) for n in range(3)))
    assert {result.outcome for call in results for result in call.values()} == {Outcome.OK}
    same = [note for note in _read(file) if note[1] == "same"]
    assert len(same) == 6
    assert _busy(same) == 1


@pytest.mark.parametrize("parallel", [1, 8])
async def test_waiting_counts_against_the_deadline(workshop: Workshop, tmp_path: Path, parallel: int) -> None:
    """A call that gets no device or no place in time says so, and the first call is unaffected."""
    file = tmp_path / "go"
    resetter = workshop.resetter(
        "tests.integration.reset.odd_resets:wait_for_file", {"file": str(file)}, parallel=parallel
    )
    first = asyncio.create_task(reset(resetter, "first"))
    await wait_until(workshop.processes, "the first reset")
    second = "second" if parallel == 1 else "first"
    result = (await reset(resetter, second, SHORT))[second]
    assert result.outcome is Outcome.TIMED_OUT
    assert result.message == f"reset of {second} could not start within {SHORT:.3g} s: other resets had not finished"
    file.touch()
    assert (await first)["first"].outcome is Outcome.OK


async def test_a_cancelled_call_ends_its_resets_first(workshop: Workshop) -> None:
    """When the cancellation returns, all processes have ended, and the devices are free."""
    deeds = {"a": "hang", "b": "hang in C", "c": "leave and hang"}
    resetter = workshop.stub({device: {"do": deed} for device, deed in deeds.items()})
    call = asyncio.create_task(reset(resetter, [*deeds, "d"]))
    # Guards and workers, and what is left behind.
    await wait_until(lambda: len(workshop.processes()) >= 8, "resets under way")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not workshop.processes()
    assert not children()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not any(map(resetter.holder, deeds))


async def test_a_cancellation_that_comes_twice(workshop: Workshop) -> None:
    """Nothing waits any more, and every process still ends."""
    resetter = workshop.stub({"*": {"do": "hang in C"}}, term_timeout=LONG, kill_timeout=2 * LONG)
    call = asyncio.create_task(reset(resetter, ["a", "b"]))
    await wait_until(lambda: len(workshop.processes()) == 4, "resets under way")
    call.cancel()
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await wait_until(lambda: not resetter.holder("a") and not resetter.holder("b"), "free devices")
    assert not workshop.processes()


async def test_a_reset_may_clean_up(workshop: Workshop, tmp_path: Path) -> None:
    """It gets SIGTERM, and some time, before it is killed."""
    file = tmp_path / "note"
    resetter = workshop.resetter(
        "tests.integration.reset.odd_resets:plead", {"file": str(file)}, term_timeout=LONG, kill_timeout=2 * LONG
    )
    result = (await reset(resetter, "device", SHORT))["device"]
    assert result.outcome is Outcome.TIMED_OUT
    assert file.read_text() == "clean"


async def test_a_reset_that_survives_is_stuck(workshop: Workshop, deaf: pytest.MonkeyPatch) -> None:
    """No call waits for it, its device is not touched until it has ended, and then the device is free again."""
    resetter = workshop.resetter("tests.integration.reset.odd_resets:pause", parallel=1, kill_timeout=0.5)
    result = (await reset(resetter, "bad", SHORT))["bad"]
    assert result.outcome is Outcome.STUCK
    assert "survived SIGKILL" in result.message
    processes = workshop.processes()
    assert len(processes) == 2
    holder = resetter.holder("bad")
    assert holder
    assert holder.pid in processes
    again = (await reset(resetter, "bad"))["bad"]
    assert again.outcome is Outcome.STUCK
    assert again.message.startswith("reset of bad was not started: an earlier reset of bad survived SIGKILL")
    assert workshop.processes() == processes
    other = (await reset(resetter, "other", SHORT))["other"]
    assert other.seconds, "a stuck reset takes the place of no other reset"
    deaf.undo()
    for pid in workshop.processes():
        # Each guard kills its worker, too.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    await wait_until(lambda: not resetter.holder("bad") and not resetter.holder("other"), "free devices")
    # A device is free when its process has ended; reaping it may take a moment longer.
    await wait_until(lambda: not workshop.processes() and not children(), "no process")


async def test_a_stuck_reset_holds_its_device_also_for_the_next_resetter(
    workshop: Workshop, deaf: pytest.MonkeyPatch
) -> None:
    """The next resetter knows the process, and does not mistake another one with the same number for it."""
    stuck: list[tuple[str, str]] = []
    resetter = workshop.resetter(
        "tests.integration.reset.odd_resets:pause", kill_timeout=0.5, on_stuck=lambda *what: stuck.append(what)
    )
    await reset(resetter, "bad", SHORT)
    ((key, why),) = stuck
    assert key == "bad"
    assert "survived SIGKILL" in why
    holder = resetter.holder("bad")
    assert holder
    later = workshop.stub({}, stuck={"bad": holder, "other": ProcessId(holder.pid, holder.start - 1)})
    results = await reset(later, ["bad", "other"])
    assert [results[name].outcome for name in ("bad", "other")] == [Outcome.STUCK, Outcome.OK]
    deaf.undo()
    os.kill(holder.pid, signal.SIGTERM)
    await wait_until(lambda: not later.holder("bad"), "a free device")
    assert (await reset(later, "bad"))["bad"].outcome is Outcome.OK
    assert not workshop.processes()


async def test_a_cancelled_reset_that_survives_is_reported(workshop: Workshop, deaf: pytest.MonkeyPatch) -> None:
    """It is reported although no caller gets a result any more."""
    stuck: list[str] = []
    resetter = workshop.resetter(
        "tests.integration.reset.odd_resets:pause",
        cancel_timeouts=(0.1, 0.3),
        on_stuck=lambda device, _: stuck.append(device),
    )
    call = asyncio.create_task(reset(resetter, "bad"))
    await wait_until(lambda: len(workshop.processes()) == 2, "the reset")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert stuck == ["bad"]
    deaf.undo()
    for pid in workshop.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    await wait_until(lambda: not resetter.holder("bad"), "a free device")


async def test_unbounded_resets_wait_for_no_other(workshop: Workshop, tmp_path: Path) -> None:
    """They take no place and need none."""
    file = tmp_path / "go"
    resetter = workshop.resetter("tests.integration.reset.odd_resets:wait_for_file", {"file": str(file)}, parallel=1)
    first = asyncio.create_task(reset(resetter, "first"))
    await wait_until(workshop.processes, "the first reset")
    beside = asyncio.create_task(resetter.reset([ResetDevice("beside")], LONG, bounded=False))
    await wait_until(lambda: len(workshop.processes()) == 4, "the reset beside it")
    file.touch()
    assert (await first)["first"].outcome is (await beside)["beside"].outcome is Outcome.OK


async def test_ids_need_not_be_unique(workshop: Workshop) -> None:
    """If devices with the same id have different keys, both are reset."""
    resetter = workshop.stub({"same": {"do": "fail"}})
    results = await resetter.reset({"a": ResetDevice("same"), "b": ResetDevice("same")}, LONG)
    assert list(results) == ["a", "b"]
    assert all(result.message.startswith("reset of same failed") for result in results.values())


async def test_settings_that_are_not_passed_in_time(workshop: Workshop) -> None:
    """They fail the call, but do not count against the device, and delay no other reset."""
    go = threading.Event()

    def hang() -> None:
        go.wait()

    resetter = ResetRunner("plugins.stub.reset:reset", hang)
    beat = asyncio.create_task(asyncio.sleep(0.01))
    result = (await reset(resetter, "device", 0.3))["device"]
    go.set()
    assert beat.done()
    assert result.outcome is Outcome.FAILED
    assert not result.begun
    said = "reset of device could not start: no settings for the reset: hang() did not return within 0.3 s"
    assert result.message.startswith(f"{said}; it is at {__file__}:")
    assert not workshop.processes()


async def test_what_cannot_be_passed_to_a_process_is_a_failure(workshop: Workshop) -> None:
    """Examples are a path that is not UTF-8 text, and invalid settings."""
    before = open_descriptors()
    odd = ResetDevice("odd", ("/dev/\udcff",))
    result = (await workshop.stub({}).reset([odd], LONG))["odd"]
    assert result.outcome is Outcome.FAILED
    assert not result.begun
    assert "reset of odd could not be started" in result.message
    assert "UnicodeEncodeError" in result.message
    assert (await reset(workshop.resetter(settings={"a": "\udcff"}), "b"))["b"].outcome is Outcome.FAILED
    assert not open_descriptors().items() - before.items()


async def test_a_guard_that_is_killed(workshop: Workshop) -> None:
    """It kills its worker, too, and the call does not wait for its deadline."""
    resetter = workshop.stub({"bad": {"do": "hang in C"}})
    call = asyncio.create_task(reset(resetter, "bad"))
    await wait_until(lambda: len(workshop.processes()) == 2, "a reset under way")
    psutil.Process().children()[0].kill()
    result = (await call)["bad"]
    assert result.outcome is Outcome.CRASHED
    assert "killed by SIGKILL" in result.message
    await wait_until(lambda: not workshop.processes(), "the end of the worker")


async def test_nothing_accumulates(workshop: Workshop) -> None:
    """After 200 resets, successful and failed, no descriptor, process, task or thread is left."""
    resetter = workshop.stub({"1": {"do": "fail"}, "2": {"do": "sigkill"}, "3": {"do": "leave child"}})
    await reset(resetter, "0")
    before = open_descriptors()
    # Other threads may end meanwhile: those of gRPC do so at any time.
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - only their number
    for _ in range(25):
        results = await reset(resetter, map(str, range(8)))
        assert [results[name].outcome for name in ("0", "1", "2", "3")] == ["ok", "failed", "crashed", "ok"]
    assert not open_descriptors().items() - before.items()
    assert len(os.listdir("/proc/self/task")) <= threads  # noqa: PTH208 - only their number
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not children()


async def test_a_process_that_cannot_be_started(workshop: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, and nothing is left of the attempt."""
    resetter = workshop.resetter()
    before = open_descriptors()
    monkeypatch.setattr("sys.executable", "/no/such/python")
    result = (await reset(resetter, "device"))["device"]
    assert result.outcome is Outcome.CRASHED
    assert "could not be started (No such file or directory)" in result.message
    assert not open_descriptors().items() - before.items()


async def test_a_call_without_devices(workshop: Workshop) -> None:
    """It is not an error, either."""
    resetter = workshop.resetter()
    assert await resetter.reset([], LONG) == {}

    def never() -> None:
        raise AssertionError("settings for nothing")

    assert await ResetRunner("plugins.stub.reset:reset", never).reset([], LONG) == {}

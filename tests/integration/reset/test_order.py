"""Which resets run when, and how a call that is no longer needed ends."""

import asyncio
import contextlib
import json
import os
import signal
import threading
from itertools import accumulate
from pathlib import Path

import pytest

from hub import ResetDevice
from hub.base.processid import ProcessId
from hub.reset.result import Outcome
from hub.reset.runner import ResetRunner
from hub.testing.waiting import wait_until
from tests.integration.reset.reset_support import LONG, SHORT, ResetRuns, children, open_descriptors, reset


@pytest.fixture
def no_signals(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Keep signals from reaching a guard, as if it were stuck in the kernel."""
    monkeypatch.setattr("hub.reset.process.signal.pidfd_send_signal", lambda *_: None)
    return monkeypatch


def _busy(notes: list[tuple[float, str, int]]) -> int:
    """Return the largest number of resets that ran at the same time."""
    return max(accumulate(change for _, _, change in sorted(notes)))


def _read(file: Path) -> list[tuple[float, str, int]]:
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()]


async def test_devices_are_reset_in_parallel_within_bounds(runs: ResetRuns, tmp_path: Path) -> None:
    """More than one reset runs at a time, but never more than allowed, over all calls."""
    file = tmp_path / "notes"
    resetter = runs.resetter("tests.integration.reset.odd_resets:take_a_while", {"file": str(file)}, parallel=3)
    calls = [reset(resetter, [f"{call}-{n}" for n in range(5)]) for call in range(2)]
    results = await asyncio.gather(*calls)
    assert {result.outcome for call in results for result in call.values()} == {Outcome.OK}
    notes = _read(file)
    assert len(notes) == 20
    assert 2 <= _busy(notes) <= 3


async def test_a_device_is_reset_once_at_a_time(runs: ResetRuns, tmp_path: Path) -> None:
    """This holds across calls; a device that appears twice in a call is reset once."""
    file = tmp_path / "notes"
    resetter = runs.resetter("tests.integration.reset.odd_resets:take_a_while", {"file": str(file)})
    results = await asyncio.gather(*(reset(resetter, ["same", "same", f"other-{n}"]) for n in range(3)))
    assert {result.outcome for call in results for result in call.values()} == {Outcome.OK}
    same = [note for note in _read(file) if note[1] == "same"]
    assert len(same) == 6
    assert _busy(same) == 1


@pytest.mark.parametrize("parallel", [1, 8])
async def test_waiting_counts_against_the_deadline(runs: ResetRuns, tmp_path: Path, parallel: int) -> None:
    """A call that gets no device or no slot in time says so, and the first call is unaffected."""
    file = tmp_path / "go"
    resetter = runs.resetter("tests.integration.reset.odd_resets:wait_for_file", {"file": str(file)}, parallel=parallel)
    first = asyncio.create_task(reset(resetter, "first"))
    await wait_until(runs.processes, "the first reset")
    second = "second" if parallel == 1 else "first"
    result = (await reset(resetter, second, SHORT))[second]
    assert result.outcome is Outcome.TIMED_OUT
    assert result.message == f"reset of {second} could not start within {SHORT:.3g} s: other resets had not finished"
    file.touch()
    assert (await first)["first"].outcome is Outcome.OK


async def test_a_cancelled_call_ends_its_resets_first(runs: ResetRuns) -> None:
    """When the cancellation returns, all processes have exited, and the devices are free."""
    actions = {"a": "hang", "b": "hang in C", "c": "leave and hang"}
    resetter = runs.stub({device: {"do": action} for device, action in actions.items()})
    call = asyncio.create_task(reset(resetter, [*actions, "d"]))
    # There are guards and workers, and the processes that they leave behind.
    await wait_until(lambda: len(runs.processes()) >= 8, "resets under way")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert not runs.processes()
    assert not children()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not any(map(resetter.holder, actions))


async def test_a_cancellation_that_comes_twice(runs: ResetRuns) -> None:
    """After the second one, nothing waits any more, but every process still ends."""
    resetter = runs.stub({"*": {"do": "hang in C"}}, term_timeout=LONG, kill_timeout=2 * LONG)
    call = asyncio.create_task(reset(resetter, ["a", "b"]))
    await wait_until(lambda: len(runs.processes()) == 4, "resets under way")
    call.cancel()
    await asyncio.sleep(0)
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await wait_until(lambda: not resetter.holder("a") and not resetter.holder("b"), "free devices")
    assert not runs.processes()


async def test_a_reset_may_clean_up(runs: ResetRuns, tmp_path: Path) -> None:
    """A reset gets SIGTERM, and some time, before it is killed."""
    file = tmp_path / "note"
    resetter = runs.resetter(
        "tests.integration.reset.odd_resets:clean_up_on_sigterm",
        {"file": str(file)},
        term_timeout=LONG,
        kill_timeout=2 * LONG,
    )
    result = (await reset(resetter, "device", SHORT))["device"]
    assert result.outcome is Outcome.TIMED_OUT
    assert file.read_text() == "clean"


async def test_a_reset_that_survives_is_stuck(runs: ResetRuns, no_signals: pytest.MonkeyPatch) -> None:
    """No call waits for it, its device is not touched until it has exited, and then the device is free again."""
    resetter = runs.resetter("tests.integration.reset.odd_resets:pause", parallel=1, kill_timeout=0.5)
    result = (await reset(resetter, "bad", SHORT))["bad"]
    assert result.outcome is Outcome.STUCK
    assert "survived SIGKILL" in result.message
    processes = runs.processes()
    assert len(processes) == 2
    holder = resetter.holder("bad")
    assert holder
    assert holder.pid in processes
    again = (await reset(resetter, "bad"))["bad"]
    assert again.outcome is Outcome.STUCK
    assert again.message.startswith("reset of bad was not started: an earlier reset of bad survived SIGKILL")
    assert runs.processes() == processes
    other = (await reset(resetter, "other", SHORT))["other"]
    assert other.seconds, "a stuck reset must not occupy a slot"
    no_signals.undo()
    for pid in runs.processes():
        # Each guard kills its worker, too.
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    await wait_until(lambda: not resetter.holder("bad") and not resetter.holder("other"), "free devices")
    # A device is free when its process has exited; reaping it may take a moment longer.
    await wait_until(lambda: not runs.processes() and not children(), "no process")


async def test_a_stuck_reset_holds_its_device_for_the_next_resetter_too(
    runs: ResetRuns, no_signals: pytest.MonkeyPatch
) -> None:
    """The next resetter knows the process, and does not mistake another one with the same number for it."""
    stuck: list[tuple[str, str]] = []
    resetter = runs.resetter(
        "tests.integration.reset.odd_resets:pause", kill_timeout=0.5, on_stuck=lambda *what: stuck.append(what)
    )
    await reset(resetter, "bad", SHORT)
    ((key, why),) = stuck
    assert key == "bad"
    assert "survived SIGKILL" in why
    holder = resetter.holder("bad")
    assert holder
    later = runs.stub({}, stuck={"bad": holder, "other": ProcessId(holder.pid, holder.start - 1)})
    results = await reset(later, ["bad", "other"])
    assert [results[name].outcome for name in ("bad", "other")] == [Outcome.STUCK, Outcome.OK]
    no_signals.undo()
    os.kill(holder.pid, signal.SIGTERM)
    await wait_until(lambda: not later.holder("bad"), "a free device")
    assert (await reset(later, "bad"))["bad"].outcome is Outcome.OK
    assert not runs.processes()


async def test_a_cancelled_reset_that_survives_is_reported(runs: ResetRuns, no_signals: pytest.MonkeyPatch) -> None:
    """The reset is reported although no caller is waiting for a result."""
    stuck: list[str] = []
    resetter = runs.resetter(
        "tests.integration.reset.odd_resets:pause",
        cancel_timeouts=(0.1, 0.3),
        on_stuck=lambda device, _: stuck.append(device),
    )
    call = asyncio.create_task(reset(resetter, "bad"))
    await wait_until(lambda: len(runs.processes()) == 2, "the reset")
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert stuck == ["bad"]
    no_signals.undo()
    for pid in runs.processes():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
    await wait_until(lambda: not resetter.holder("bad"), "a free device")


async def test_unbounded_resets_wait_for_no_other(runs: ResetRuns, tmp_path: Path) -> None:
    """Unbounded resets neither take a slot nor need one."""
    file = tmp_path / "go"
    resetter = runs.resetter("tests.integration.reset.odd_resets:wait_for_file", {"file": str(file)}, parallel=1)
    first = asyncio.create_task(reset(resetter, "first"))
    await wait_until(runs.processes, "the first reset")
    beside = asyncio.create_task(resetter.reset([ResetDevice("beside")], LONG, bounded=False))
    await wait_until(lambda: len(runs.processes()) == 4, "the unbounded reset")
    file.touch()
    assert (await first)["first"].outcome is (await beside)["beside"].outcome is Outcome.OK


async def test_ids_need_not_be_unique(runs: ResetRuns) -> None:
    """If devices with the same id have different keys, both are reset."""
    resetter = runs.stub({"same": {"do": "fail"}})
    results = await resetter.reset({"a": ResetDevice("same"), "b": ResetDevice("same")}, LONG)
    assert list(results) == ["a", "b"]
    assert all(result.message.startswith("reset of same failed") for result in results.values())


async def test_settings_that_are_not_passed_in_time(runs: ResetRuns) -> None:
    """The call fails, but this does not count against the device, and does not delay other resets."""
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
    assert not runs.processes()


async def test_what_cannot_be_passed_to_a_process_is_a_failure(runs: ResetRuns) -> None:
    """Examples are a path that is not UTF-8 text, and invalid settings."""
    before = open_descriptors()
    odd = ResetDevice("odd", ("/dev/\udcff",))
    result = (await runs.stub({}).reset([odd], LONG))["odd"]
    assert result.outcome is Outcome.FAILED
    assert not result.begun
    assert "reset of odd could not be started" in result.message
    assert "UnicodeEncodeError" in result.message
    assert (await reset(runs.resetter(settings={"a": "\udcff"}), "b"))["b"].outcome is Outcome.FAILED
    assert not open_descriptors().items() - before.items()


async def test_a_guard_that_is_killed(runs: ResetRuns) -> None:
    """Its worker is killed, too, and the call does not wait for its deadline."""
    resetter = runs.stub({"bad": {"do": "hang in C"}})
    call = asyncio.create_task(reset(resetter, "bad"))
    await wait_until(lambda: len(runs.processes()) == 2, "a reset under way")
    children()[0].kill()
    result = (await call)["bad"]
    assert result.outcome is Outcome.CRASHED
    assert "killed by SIGKILL" in result.message
    await wait_until(lambda: not runs.processes(), "the end of the worker")


async def test_nothing_accumulates(runs: ResetRuns) -> None:
    """After 200 resets, successful and failed, no descriptor, process, task or thread is left."""
    resetter = runs.stub({"1": {"do": "fail"}, "2": {"do": "sigkill"}, "3": {"do": "leave child"}})
    await reset(resetter, "0")
    before = open_descriptors()
    # Other threads may end in the meantime: gRPC's do so at any time.
    threads = len(os.listdir("/proc/self/task"))  # noqa: PTH208 - only their number
    for _ in range(25):
        results = await reset(resetter, map(str, range(8)))
        assert [results[name].outcome for name in ("0", "1", "2", "3")] == ["ok", "failed", "crashed", "ok"]
    assert not open_descriptors().items() - before.items()
    assert len(os.listdir("/proc/self/task")) <= threads  # noqa: PTH208 - only their number
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert not children()


async def test_a_process_that_cannot_be_started(runs: ResetRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says so, and nothing is left of the attempt."""
    resetter = runs.resetter()
    before = open_descriptors()
    monkeypatch.setattr("sys.executable", "/no/such/python")
    result = (await reset(resetter, "device"))["device"]
    assert result.outcome is Outcome.CRASHED
    assert "could not be started (No such file or directory)" in result.message
    assert not open_descriptors().items() - before.items()


async def test_a_call_without_devices(runs: ResetRuns) -> None:
    """This is not an error, either."""
    resetter = runs.resetter()
    assert await resetter.reset([], LONG) == {}

    def never() -> None:
        raise AssertionError("settings were read for a call without devices")

    assert await ResetRunner("plugins.stub.reset:reset", never).reset([], LONG) == {}

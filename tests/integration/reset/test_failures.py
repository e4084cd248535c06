"""Everything that can fail in a reset, with real processes."""

import re
import time

import pytest

from hub.reset.messages import ResetLimits
from hub.reset.output import LINE_BYTES, LINES
from hub.reset.result import Outcome
from tests.integration.reset.reset_support import ALLOWANCE, SHORT, ResetRuns, children, reset

OK, FAILED, TIMED_OUT, CRASHED = Outcome.OK, Outcome.FAILED, Outcome.TIMED_OUT, Outcome.CRASHED
LATE = "did not finish in time and was stopped after"

FAILURES: list[tuple[dict[str, object], Outcome, str]] = [
    ({"do": "succeed"}, OK, "succeeded after"),
    ({"do": "succeed", "seconds": 0.1}, OK, "succeeded after"),
    ({"do": "fail", "text": "the link stays down"}, FAILED, r"failed after [\d.]+ s: the link stays down$"),
    (
        {"do": "raise", "text": "no idea"},
        FAILED,
        r"failed after [\d.]+ s: at \S+/plugins/stub/reset.py:\d+: RuntimeError: no idea$",
    ),
    (
        {"do": "segfault"},
        CRASHED,
        r"returned no valid result: its process was killed by SIGSEGV \(Segmentation fault\) after",
    ),
    ({"do": "sigkill"}, CRASHED, r"was killed by SIGKILL \(Killed, possibly out of memory\) after"),
    ({"do": "exit", "code": 3}, CRASHED, "its process exited with code 3 after"),
    ({"do": "exit", "code": 0}, CRASHED, "its process exited with code 0 after"),
    ({"do": "hang"}, TIMED_OUT, LATE),
    ({"do": "hang in C"}, TIMED_OUT, LATE),
    ({"do": "spin"}, TIMED_OUT, LATE),
    ({"do": "allocate"}, FAILED, "Cannot allocate memory"),
    ({"do": "garbage"}, OK, "succeeded after"),
    ({"do": "flood"}, OK, "succeeded after"),
    ({"do": "flood line"}, OK, "succeeded after"),
    ({"do": "scribble"}, CRASHED, "returned no valid result: its process exited with code [01] after"),
    ({"do": "leave child"}, OK, "succeeded after"),
    ({"do": "leave daemon"}, OK, "succeeded after"),
    ({"do": "leave and hang"}, TIMED_OUT, LATE),
    ({"do": "leave and crash"}, CRASHED, "was killed by SIGKILL"),
]


@pytest.mark.parametrize(("fault", "outcome", "words"), FAILURES, ids=[str(fault["do"]) for fault, *_ in FAILURES])
async def test_every_kind_of_failure(runs: ResetRuns, fault: dict[str, object], outcome: Outcome, words: str) -> None:
    """A failing reset ends in time, with a readable message, and leaves nothing behind.

    No process, zombie or descriptor remains. The call's other device, and its next reset, succeed.
    """
    resetter = runs.stub({"bad": fault}, limits=ResetLimits(memory=1 << 29))
    deadline = SHORT if outcome is TIMED_OUT else 60
    begin = time.monotonic()
    results = await reset(resetter, ["bad", "good"], deadline)
    took = time.monotonic() - begin
    assert not runs.processes()
    assert not children()
    bad = results["bad"]
    assert bad.outcome is outcome
    assert re.match(rf"reset of bad .*{words}", bad.message), bad.message
    assert bad.seconds <= took < deadline + ALLOWANCE
    assert results["good"].outcome is OK
    again = await reset(resetter, "good")
    assert again["good"].outcome is OK


@pytest.mark.parametrize(
    ("function", "outcome", "words"),
    [
        (
            "tests.integration.reset.odd_resets:never_awaited",
            FAILED,
            "TypeError: tests.integration.reset.odd_resets:never_awaited returned <coroutine object",
        ),
        ("tests.integration.reset.odd_resets:surrogates", FAILED, r"file \\udcff x"),
        ("tests.integration.reset.odd_resets:leave_system", FAILED, "SystemExit: 0"),
        ("tests.integration.reset.odd_resets:shut_everything", CRASHED, "exited with code 1"),
        (
            "tests.integration.reset.odd_resets:no_such_function",
            FAILED,
            "AttributeError: module 'tests.integration.reset.odd_resets' has no attribute",
        ),
        ("no_such_module:reset", FAILED, "ModuleNotFoundError: No module named 'no_such_module'"),
    ],
)
async def test_a_function_that_is_not_a_reset(runs: ResetRuns, function: str, outcome: Outcome, words: str) -> None:
    """The message says what is wrong with it, and fits in the header of a response."""
    result = (await reset(runs.resetter(function), "odd"))["odd"]
    assert result.outcome is outcome
    assert re.search(words, result.message), result.message
    assert len(result.message) < 1200


async def test_a_fault_that_the_stub_does_not_know(runs: ResetRuns) -> None:
    """The unknown fault is a failure, with the location of the mistake."""
    result = (await reset(runs.stub({"bad": {"do": "no such action"}}), "bad"))["bad"]
    assert result.outcome is FAILED
    assert "ValidationError: Invalid enum value 'no such action' - at `$.reset[...].do`" in result.message


async def test_only_memory_that_is_used_is_limited(runs: ResetRuns) -> None:
    """A driver's library may reserve far more address space than the limit."""
    resetter = runs.resetter("tests.integration.reset.odd_resets:reserve", {"bytes": 1 << 37})
    assert (await reset(resetter, "odd"))["odd"].outcome is OK


async def test_a_guard_that_is_stopped(runs: ResetRuns) -> None:
    """Even if its guard, which should kill it, is stopped, a reset is killed in time, and leaves nothing behind."""
    result = (await reset(runs.resetter("tests.integration.reset.odd_resets:stop_guard"), "bad", SHORT))["bad"]
    assert result.outcome is TIMED_OUT
    assert not runs.processes()


async def test_processor_time_is_limited(runs: ResetRuns) -> None:
    """A reset that loops is killed by the kernel, and the message says so."""
    resetter = runs.stub({"bad": {"do": "spin"}}, limits=ResetLimits(processor=1))
    result = (await reset(resetter, "bad"))["bad"]
    assert result.outcome is CRASHED
    assert "SIGXCPU" in result.message
    assert "it used up its CPU time" in result.message


async def test_what_it_prints_is_logged_with_the_device(runs: ResetRuns) -> None:
    """Both standard output and standard error are logged, even if they are not text."""
    await reset(runs.stub({"bad": {"do": "garbage"}}), "bad")
    lines = runs.printed("bad")
    assert len(lines) == 4
    assert lines[1] == lines[3]
    assert lines[1].endswith(r"\xfe\xff")


async def test_a_flood_is_cut_short(runs: ResetRuns) -> None:
    """A limited number of lines is logged, the others are counted; of a long line the beginning is logged."""
    await reset(runs.stub({"lines": {"do": "flood"}, "line": {"do": "flood line"}}), ["lines", "line"])
    *lines, rest = runs.printed("lines")
    assert lines == ["a line that says nothing"] * LINES
    more = 2 * ((8 << 20) // 25) - LINES
    assert rest == f"... and {more} more lines"
    assert runs.printed("line") == ["x" * LINE_BYTES + " ..."]


@pytest.mark.parametrize(("action", "place"), [("segfault", "_segfault"), ("hang", "_hang"), ("raise", "_raise")])
async def test_the_log_gives_the_location(runs: ResetRuns, action: str, place: str) -> None:
    """The log says where a reset crashed, hung or raised an error."""
    await reset(runs.stub({"bad": {"do": action}}), "bad", SHORT)
    assert [line for line in runs.printed("bad") if f"in {place}" in line]

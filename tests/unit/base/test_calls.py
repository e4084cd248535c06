"""Calls to a plugin's code: none of them can block or break the hub's own code."""

import asyncio
import threading
from collections.abc import Iterator

import pytest

from hub.base.calls import Calls
from hub.base.failures import PluginError, PluginTimeout


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Yield an event that is set at the end of a test, so that its calls return."""
    event = threading.Event()
    yield event
    event.set()


def prefer() -> None:
    """Return a method of a plugin."""


async def test_the_result_of_a_call() -> None:
    """It comes from a thread other than the event loop's."""
    assert await Calls().call(prefer, threading.get_ident, 60) != threading.get_ident()


@pytest.mark.parametrize("error", [ValueError, StopIteration, SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_whatever_the_code_raises(error: type[BaseException]) -> None:
    """The caller gets one kind of error, which names the method and what was raised."""

    def fail() -> None:
        raise error("the fan is loud")

    with pytest.raises(PluginError, match=rf"prefer\(\) failed at .*: {error.__name__}: the fan is loud"):
        await Calls().call(prefer, fail, 60)


async def test_an_error_without_a_message() -> None:
    """It is reported by its type, and the thread that caught it keeps working."""

    class Unspeakable(Exception):
        def __str__(self) -> str:
            raise self

    def fail() -> None:
        raise Unspeakable

    calls = Calls()
    for _ in range(2):
        with pytest.raises(PluginError, match="Unspeakable, whose message cannot be read"):
            await calls.call(prefer, fail, 5)


async def test_a_call_that_does_not_return(gate: threading.Event) -> None:
    """The caller gets an error with the line where the call is, and the next call still runs."""
    calls = Calls()
    entered = threading.Event()

    def hang() -> bool:
        entered.set()
        return gate.wait()

    pending = calls.start(prefer, hang)
    await asyncio.to_thread(entered.wait)
    assert f"{__file__}:" in calls.location(pending)
    with pytest.raises(PluginTimeout, match=r"prefer\(\) did not return within 0\.01 s"):
        await calls.call(prefer, gate.wait, 0.01)
    assert await calls.call(prefer, lambda: "answered", 60) == "answered"
    gate.set()
    assert await pending
    assert calls.location(pending) == ""


async def test_too_many_pending_calls(gate: threading.Event) -> None:
    """One more call fails at once, until an earlier one has returned; other callers are not affected."""
    calls = Calls(max_pending=2)
    pending = [calls.start(prefer, gate.wait) for _ in range(2)]
    with pytest.raises(PluginError, match="2 earlier calls to the plugin have not returned"):
        await calls.call(prefer, lambda: None, 60)
    assert await Calls().call(prefer, lambda: "answered", 60) == "answered"
    gate.set()
    await asyncio.gather(*pending)
    assert await calls.call(prefer, lambda: "answered", 60) == "answered"


async def test_threads_are_used_again() -> None:
    """Successive calls need only one thread."""
    calls = Calls()
    assert len({await calls.call(prefer, threading.get_ident, 60) for _ in range(5)}) == 1

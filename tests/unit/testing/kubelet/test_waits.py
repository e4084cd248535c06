"""How tests wait for states of the fake kubelet."""

import asyncio

import pytest

from hub.testing.plugin import STUB
from hub.testing.scripted import device, devices
from tests.harness.kubelet import node


async def test_a_failed_wait_shows_the_state() -> None:
    """A test whose wait fails shows the reason."""
    async with node() as it:
        with pytest.raises(TimeoutError, match="no resource is known"):
            await it.kubelet.wait_for(STUB, timeout=0)
        await it.plugin(listed=[device("good"), device("bad", healthy=False)])
        await it.kubelet.wait_for(STUB)
        found = f"2 allocatable devices of {STUB}; {STUB} has 1 of 2 devices allocatable"
        with pytest.raises(TimeoutError, match=found):
            await it.kubelet.wait_for(STUB, allocatable=2, timeout=0)
        await it.kubelet.stop()
        with pytest.raises(TimeoutError, match="the gold; the kubelet is not running"):
            await it.kubelet.wait_until(lambda _: False, timeout=0, what="the gold")


async def test_short_lived_states_are_seen() -> None:
    """A caller that waits for a state sees it, even a short-lived one."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(1))
        waiting = asyncio.create_task(it.kubelet.wait_for(STUB, allocatable=2))
        await asyncio.sleep(0)
        for count in (2, 1):
            plugin.send(devices(count))
        await waiting
        await it.kubelet.wait_until(lambda kubelet: [len(each.devices) for each in kubelet.lists(STUB)] == [1, 2, 1])


async def test_an_error_in_a_condition_reaches_the_caller() -> None:
    """The waiting caller gets the condition's own error, whether at once or at a later change."""
    async with node() as it:
        with pytest.raises(KeyError):
            await it.kubelet.wait_until(lambda kubelet: bool(kubelet.capacity()[STUB]))
        waiting = asyncio.create_task(it.kubelet.wait_until(lambda kubelet: bool(kubelet.registrations and 1 // 0)))
        await it.plugin(listed=devices(1))
        with pytest.raises(ZeroDivisionError):
            await waiting

"""Calls of Allocate that are kept waiting."""

import asyncio

from hub.plugin.deviceplugin.allocations import Allocations


class Caller:
    """Calls Allocate, and answers when the test says so.

    Attributes:
        is_answering: Whether the answer is being prepared.
    """

    def __init__(self, allocations: Allocations) -> None:
        self.is_answering = False
        self._allocations = allocations
        self._answer = asyncio.Event()
        self._task = asyncio.create_task(self._call())

    async def answer(self) -> None:
        """Answer the call."""
        self._answer.set()
        await self._task

    async def _call(self) -> None:
        async with self._allocations.call():
            self.is_answering = True
            await self._answer.wait()


async def test_a_call_is_answered_at_once() -> None:
    """Unless something must not meet it."""
    allocations = Allocations()
    caller = Caller(allocations)
    await asyncio.sleep(0)
    assert caller.is_answering
    await caller.answer()


async def test_the_next_call_waits_for_the_block() -> None:
    """And the block for the call."""
    allocations, callers = Allocations(), []
    asyncio.get_running_loop().call_later(0.01, lambda: callers.append(Caller(allocations)))
    async with allocations.held(60) as are_answered:
        assert are_answered
        (caller,) = callers
        await asyncio.sleep(0.01)
        assert not caller.is_answering
    await caller.answer()


async def test_without_a_call_the_block_begins_after_the_time() -> None:
    """No pod is being admitted then."""
    async with Allocations().held(0.01) as are_answered:
        assert are_answered


async def test_a_call_that_began_before_is_reported() -> None:
    """Such as one of a plugin that is slow; it is not kept from its answer."""
    allocations = Allocations()
    caller = Caller(allocations)
    await asyncio.sleep(0)
    async with allocations.held(0.01) as are_answered:
        assert not are_answered
        await caller.answer()
    async with allocations.held(0.01) as are_answered:
        assert are_answered

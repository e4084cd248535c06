"""Calls of the kubelet that are delayed."""

import asyncio

from hub.plugin.deviceplugin.kubeletcalls import KubeletCalls


class Caller:
    """A call that is answered when the test says so.

    Attributes:
        is_answering: Whether the response is being prepared.
    """

    def __init__(self, calls: KubeletCalls) -> None:
        self.is_answering = False
        self._calls = calls
        self._answer = asyncio.Event()
        self._task = asyncio.create_task(self._call())

    async def answer(self) -> None:
        """Answer the call."""
        self._answer.set()
        await self._task

    async def _call(self) -> None:
        async with self._calls.call():
            self.is_answering = True
            await self._answer.wait()


async def test_a_call_is_answered_at_once() -> None:
    """It waits only for something that must not happen during a call."""
    calls = KubeletCalls()
    caller = Caller(calls)
    await asyncio.sleep(0)
    assert caller.is_answering
    await caller.answer()


async def test_the_next_call_waits_for_the_block() -> None:
    """The block waits for the call, too."""
    calls, callers = KubeletCalls(), []
    asyncio.get_running_loop().call_later(0.01, lambda: callers.append(Caller(calls)))
    async with calls.held(60) as are_answered:
        assert are_answered
        (caller,) = callers
        await asyncio.sleep(0.01)
        assert not caller.is_answering
    await caller.answer()


async def test_without_a_call_the_block_begins_after_the_time() -> None:
    """No pod is being admitted then."""
    async with KubeletCalls().held(0.01) as are_answered:
        assert are_answered


async def test_a_call_that_began_before_is_reported() -> None:
    """The plugin may be slow, for example; the response to that call is not delayed."""
    calls = KubeletCalls()
    caller = Caller(calls)
    await asyncio.sleep(0)
    async with calls.held(0.01) as are_answered:
        assert not are_answered
        await caller.answer()
    async with calls.held(0.01) as are_answered:
        assert are_answered


async def test_calls_are_over_some_time_after_the_last_answer() -> None:
    """Until then, another may be on its way."""
    calls = KubeletCalls()
    assert calls.are_over(60)
    caller = Caller(calls)
    await asyncio.sleep(0)
    assert not calls.are_over(0)
    await caller.answer()
    assert calls.are_over(0)
    assert not calls.are_over(60)


async def test_a_call_that_is_expected_is_not_over() -> None:
    """A process that was frozen may not have seen the call yet."""
    calls = KubeletCalls()
    calls.expect_call()
    assert not calls.are_over(60)
    assert calls.are_over(0)

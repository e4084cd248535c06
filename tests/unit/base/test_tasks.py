"""What happens when a task of a process fails."""

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import NoReturn

from structlog.testing import capture_logs

from hub.base.statusfile import StatusFile
from hub.base.tasks import Tasks
from hub.testing.waiting import wait_until


def _fail(number: int) -> NoReturn:
    raise ValueError(f"fault {number}")


async def _observe(*outcomes: Callable[[], object]) -> tuple[list[str], list[tuple[str, object]]]:
    """Run a task that has one outcome after another and then works; return its failures, and the log."""
    seen: list[str] = []
    starts = 0
    tasks = Tasks(StatusFile(None, lambda: None), retry=0, steady=0.05)

    async def work() -> None:
        nonlocal starts
        starts += 1
        seen.append(tasks.failures.get("web", ""))
        if starts > len(outcomes):
            await asyncio.Event().wait()
        outcomes[starts - 1]()

    with capture_logs() as lines:
        running = asyncio.create_task(tasks.run("web", work))
        await wait_until(lambda: starts > len(outcomes) and not tasks.failures, "a task that works again")
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
    assert running.cancelled()
    return seen, [(line["event"], line.get("reason", "")) for line in lines]


async def test_a_task_that_fails_is_restarted() -> None:
    """Each failure is reported until the task has worked for a while; the log repeats none."""
    seen, logged = await _observe(lambda: _fail(0), lambda: _fail(1), lambda: _fail(1))
    assert seen == ["", "ValueError: fault 0", "ValueError: fault 1", "ValueError: fault 1"]
    assert logged == [
        ("task failed", "ValueError: fault 0"),
        ("task restarted", ""),
        ("task failed", "ValueError: fault 1"),
        ("task restarted", ""),
    ]


async def test_a_task_that_just_ends_has_failed() -> None:
    """A task has to work forever."""
    assert (await _observe(lambda: None))[0] == ["", "it returned unexpectedly"]


async def test_a_task_that_something_cancels_has_failed() -> None:
    """Only its process may end a task."""

    def cancel() -> NoReturn:
        raise asyncio.CancelledError

    assert (await _observe(cancel))[0] == ["", "it was cancelled"]


async def test_a_task_of_several_names_the_first_cause() -> None:
    """A group's error is its first member's."""

    async def group() -> None:
        async with asyncio.TaskGroup() as members:
            members.create_task(_failing())

    async def _failing() -> None:
        _fail(0)

    tasks = Tasks(StatusFile(None, lambda: None), retry=60)
    running: asyncio.Task[None] = asyncio.create_task(_run(tasks, group))
    await wait_until(lambda: tasks.failures, "the failure")
    assert tasks.failures == {"group": "ValueError: fault 0"}
    running.cancel()


async def _run(tasks: Tasks, work: Callable[[], Coroutine[None, None, None]]) -> None:
    await tasks.run("group", work)

"""Calls into a plugin's synchronous code, away from the event loop."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

from hub.plugin.failure import PluginFailure

T = TypeVar("T")

_Job = tuple[str, Callable[[], Any], "concurrent.futures.Future[Any]"]

_idle: list[SimpleQueue[_Job]] = []
"""The threads that wait for work. A list appends and pops atomically."""


def in_thread(name: str, function: Callable[[], T]) -> asyncio.Future[T]:
    """Run plugin code in a thread that runs nothing else meanwhile, and return a future of its outcome.

    The threads are daemons, and there are as many as calls at one time: one that hangs in a driver keeps neither the
    process from ending nor another call from running, which a pool of some size would. They are used again, for
    starting one takes several times as long as the rest of a call.

    The future raises `PluginFailure` for everything that the code raises. As themselves, StopIteration would never
    reach who awaits the future, CancelledError would end its task, and SystemExit the process.
    """
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
    # Nobody can call a running thread off; the future must not pretend to.
    outcome.set_running_or_notify_cancel()
    jobs = _idle.pop() if _idle else _start()
    jobs.put((name, function, outcome))
    return asyncio.wrap_future(outcome)


def _start() -> SimpleQueue[_Job]:
    jobs: SimpleQueue[_Job] = SimpleQueue()
    threading.Thread(target=_work, args=(jobs,), daemon=True).start()
    return jobs


def _work(jobs: SimpleQueue[_Job]) -> None:
    while True:
        _run(jobs, *jobs.get())


def _run(
    jobs: SimpleQueue[_Job], name: str, function: Callable[[], T], outcome: "concurrent.futures.Future[T]"
) -> None:
    threading.current_thread().name = name
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - whatever it is belongs to who awaits the future
        _idle.append(jobs)
        outcome.set_exception(PluginFailure.of(error))
    else:
        _idle.append(jobs)
        outcome.set_result(result)

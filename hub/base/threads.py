"""Calls into a plugin's synchronous code, away from the event loop."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

from hub.base.failures import PluginError, method_name
from hub.base.place import place_of_thread

T = TypeVar("T")


class _Job(NamedTuple):
    """A call on its way to a thread."""

    method: Callable[..., Any]
    function: Callable[[], Any]
    outcome: "concurrent.futures.Future[Any]"
    threads: list[int]
    """Takes the thread that runs it, while it does."""


_idle: list[SimpleQueue[_Job]] = []
"""The threads that wait for work. A list appends and pops atomically."""

_threads: WeakKeyDictionary[asyncio.Future[Any], list[int]] = WeakKeyDictionary()
"""The thread of each call that runs."""


def start_call(method: Callable[..., Any], function: Callable[[], T]) -> asyncio.Future[T]:
    """Call a function in a thread that runs nothing else meanwhile, and return a future of its outcome.

    The method is the plugin's that the function calls; failures name it.

    The threads are daemons, and there are as many as calls at one time: one that hangs in a driver keeps neither the
    process from ending nor another call from running, which a pool of some size would. They are used again, for
    starting one takes several times as long as the rest of a call.

    The future raises `PluginError` for everything that the code raises. As themselves, StopIteration would never
    reach who awaits the future, CancelledError would end its task, and SystemExit the process.
    """
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
    # Nobody can call a running thread off; the future must not pretend to.
    outcome.set_running_or_notify_cancel()
    jobs = _idle.pop() if _idle else _start()
    job = _Job(method, function, outcome, [])
    jobs.put(job)
    future = asyncio.wrap_future(outcome)
    _threads[future] = job.threads
    return future


def place_of_call(future: asyncio.Future[Any]) -> str:
    """The line of the author's code that a call of `start_call` is in just now; empty where it is in none."""
    return "".join(map(place_of_thread, _threads.get(future, ())))


def _start() -> SimpleQueue[_Job]:
    jobs: SimpleQueue[_Job] = SimpleQueue()
    threading.Thread(target=_work, args=(jobs,), daemon=True).start()
    return jobs


def _work(jobs: SimpleQueue[_Job]) -> None:
    while True:
        _run(jobs, jobs.get())


def _run(jobs: SimpleQueue[_Job], job: _Job) -> None:
    threading.current_thread().name = method_name(job.method)
    job.threads.append(threading.get_ident())
    try:
        result = job.function()
    except BaseException as error:  # noqa: BLE001 - whatever it is belongs to who awaits the future
        job.threads.clear()
        _idle.append(jobs)
        job.outcome.set_exception(PluginError.of(error, job.method))
    else:
        job.threads.clear()
        _idle.append(jobs)
        job.outcome.set_result(result)

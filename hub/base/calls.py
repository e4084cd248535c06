"""Calls to plugin code, in threads: code that hangs blocks neither the event loop nor the exit of the process."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

from hub.base.failures import PluginError, PluginTimeout, method_name
from hub.base.location import location_of_thread

T = TypeVar("T")

MAX_PENDING = 16
"""Maximum number of pending calls per `Calls`. Few run at once, so more than this means that calls hang; each of these
occupies a thread until it returns."""


def at_most(answer: Iterable[T], limit: int, what: str) -> list[T]:
    """Return the items that a plugin returned, which may be infinitely many.

    Without a limit, they could exceed the memory limit of the pod: the kernel would kill the hub and all plugins.

    Raises:
        ValueError: there are more than `limit`.
    """
    return list(limited(answer, limit, what))


def limited(answer: Iterable[T], limit: int, what: str) -> Iterator[T]:
    """Yield the items that a plugin returned, one by one; `at_most` returns all of them at once.

    Raises:
        ValueError: there are more than `limit`.
    """
    for number, item in enumerate(answer):
        if number == limit:
            raise ValueError(f"it returned more than {limit} {what}")
        yield item


class Calls:
    """Calls methods of a plugin in threads, with a limit on how many may be pending.

    Threads are daemons, and there are as many as pending calls: a call that hangs in a driver keeps neither the process
    from exiting nor another call from running, as it would in a thread pool. Idle threads are reused, since starting
    one takes several times as long as the rest of a call.

    Args:
        max_pending: Calls that may be pending at a time.
    """

    def __init__(self, max_pending: int = MAX_PENDING) -> None:
        self._max_pending = max_pending
        self._pending: dict[asyncio.Future[Any], _Job[Any]] = {}

    async def call(self, method: Callable[..., Any], function: Callable[[], T], limit: float) -> T:
        """Call a function and return its result.

        Args:
            method: The plugin's method that the function calls; errors name it.
            function: Runs in a thread.
            limit: Seconds to wait; the call stays pending after that, until it returns.

        Raises:
            PluginTimeout: the function has not returned in time.
            PluginError: it failed, or too many calls are pending.
        """
        result = self.start(method, function)
        try:
            async with asyncio.timeout(limit):
                # Shielded: the call is pending until its thread returns, whether or not a task still waits for it.
                return await asyncio.shield(result)
        except TimeoutError:
            raise PluginTimeout(method, limit, self.location(result)) from None

    def start(self, method: Callable[..., Any], function: Callable[[], T]) -> asyncio.Future[T]:
        """Start a call that may take any time, and return a future for its result.

        The future raises `PluginError` for everything that the code raises. Raised as is, StopIteration would never
        reach the task that awaits the future, CancelledError would cancel that task, and SystemExit end the process.

        Raises:
            PluginError: too many calls are pending.
        """
        if len(self._pending) >= self._max_pending:
            raise PluginError(f"{self._max_pending} earlier calls to the plugin have not returned")
        job = _Job(method, function)
        queue = _idle.pop() if _idle else _start_thread()
        queue.put(job)
        future = asyncio.wrap_future(job.result)
        self._pending[future] = job
        future.add_done_callback(self._settle)
        return future

    def location(self, call: asyncio.Future[Any]) -> str:
        """Return the line of the author's code that a pending call is at; empty if it is not in that code."""
        job = self._pending.get(call)
        return location_of_thread(job.thread) if job and job.thread else ""

    def _settle(self, call: asyncio.Future[Any]) -> None:
        del self._pending[call]
        if not call.cancelled():
            # Retrieved, so that asyncio does not complain about a failure that came after the limit.
            call.exception()


class _Job(Generic[T]):
    """A call that a thread runs, and its future."""

    def __init__(self, method: Callable[..., Any], function: Callable[[], T]) -> None:
        self.method = method
        self.function = function
        self.result: concurrent.futures.Future[T] = concurrent.futures.Future()
        # A running thread cannot be cancelled; the future must not pretend that it can.
        self.result.set_running_or_notify_cancel()
        self.thread = 0
        """The identifier of the thread that runs it; 0 before and after that."""


_idle: list[SimpleQueue[_Job[Any]]] = []
"""The queues of threads waiting for work, of all `Calls`. A list appends and pops atomically."""


def _start_thread() -> SimpleQueue[_Job[Any]]:
    queue: SimpleQueue[_Job[Any]] = SimpleQueue()
    threading.Thread(target=_work, args=(queue,), daemon=True).start()
    return queue


def _work(queue: SimpleQueue[_Job[Any]]) -> None:
    while True:
        # In a function of its own, so that an idle thread does not keep a job or its result alive.
        _run(queue.get(), queue)


def _run(job: _Job[Any], queue: SimpleQueue[_Job[Any]]) -> None:
    threading.current_thread().name = method_name(job.method)
    job.thread = threading.get_ident()
    result, failure = None, None
    try:
        result = job.function()
    except BaseException as error:  # noqa: BLE001 - the task that awaits the future handles it
        failure = _failure(error, job.method)
    job.thread = 0
    _idle.append(queue)
    if failure:
        job.result.set_exception(failure)
    else:
        job.result.set_result(result)


def _failure(error: BaseException, method: Callable[..., Any]) -> PluginError:
    """Describe what the code raised; reading the message of a plugin's own exception runs plugin code, too."""
    try:
        return PluginError.of(error, method)
    except BaseException:  # noqa: BLE001 - an exception here would end the thread, and leave its task waiting
        return PluginError(f"{method_name(method)} failed: {type(error).__name__}, whose message cannot be read")

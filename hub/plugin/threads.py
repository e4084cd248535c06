"""Calls into a plugin's synchronous code, away from the event loop."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable
from typing import TypeVar

from hub.plugin.failure import PluginFailure

T = TypeVar("T")


def in_thread(name: str, function: Callable[[], T]) -> asyncio.Future[T]:
    """Run plugin code in a thread of its own and return a future of its outcome.

    The thread is a daemon: one that hangs in a driver keeps neither the process from ending nor another call from
    running, which a pool with a queue would.

    The future raises `PluginFailure` for everything that the code raises. As themselves, StopIteration would never
    reach who awaits the future, CancelledError would end its task, and SystemExit the process.
    """
    outcome: concurrent.futures.Future[T] = concurrent.futures.Future()
    # Nobody can call a running thread off; the future must not pretend to.
    outcome.set_running_or_notify_cancel()

    def run() -> None:
        try:
            outcome.set_result(function())
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to who awaits the future
            outcome.set_exception(PluginFailure.of(error))

    threading.Thread(target=run, name=name, daemon=True).start()
    return asyncio.wrap_future(outcome)

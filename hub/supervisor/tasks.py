"""Keeps the hub's own tasks running, such as the watchdog and the web endpoints."""

import asyncio
from collections.abc import Callable, Coroutine

from hub.base.log import get_logger

RETRY_SECONDS = 5.0
"""Seconds between the failure of a task and its restart."""

STEADY_SECONDS = 60.0
"""Seconds of work after which a restarted task no longer counts as failed."""

_log = get_logger()


async def run_forever(
    name: str,
    work: Callable[[], Coroutine[None, None, None]],
    report: Callable[[str, str], None],
    *,
    retry: float = RETRY_SECONDS,
    steady: float = STEADY_SECONDS,
) -> None:
    """Run a task until cancelled, and restart it after every failure, which would otherwise go unnoticed.

    Args:
        name: The name of the task.
        work: Starts the task.
        report: Called with the name and the failure, and with the name and an empty string when the task works again.
        retry: Seconds between a failure and the restart.
        steady: Seconds of work after which it no longer counts as failed.
    """
    reported = ""
    while True:
        working = asyncio.create_task(work())
        try:
            if reported and not (await asyncio.wait({working}, timeout=steady))[0]:
                reported = ""
                report(name, reported)
            await working
            failure = "it has ended"
        except Exception as error:  # noqa: BLE001 - the task is needed, whatever the error is
            failure = f"{type(error).__name__}: {error}"
        finally:
            working.cancel()
        if failure != reported:
            _log.error("hub task failed", task=name, reason=failure, exc_info=working.exception())
        reported = failure
        report(name, failure)
        await asyncio.sleep(retry)

"""Keeps the parts of the hub at work that are beside its plugins: the watchdog and the web endpoints."""

import asyncio
from collections.abc import Callable, Coroutine

from hub.base.log import get_logger

RETRY_SECONDS = 5.0
"""Between the failure of a part and its next start."""

STEADY_SECONDS = 60.0
"""A part that has worked for so long after a failure is well again."""

_log = get_logger()


async def run_forever(
    part: str,
    work: Callable[[], Coroutine[None, None, None]],
    tell: Callable[[str, str], None],
    *,
    retry: float = RETRY_SECONDS,
    steady: float = STEADY_SECONDS,
) -> None:
    """Do the work of a part until cancelled, whatever happens in it: nobody would notice that it is done no more.

    Args:
        part: What the part is called.
        work: Begins it.
        tell: Gets the part and how it has failed, and the part and nothing when it is well again.
        retry: Seconds between a failure and the next start.
        steady: Seconds after which it is well again.
    """
    said = ""
    while True:
        working = asyncio.create_task(work())
        try:
            if said and not (await asyncio.wait({working}, timeout=steady))[0]:
                said = ""
                tell(part, said)
            await working
            how = "it has ended"
        except Exception as error:  # noqa: BLE001 - whatever it is, the part is needed
            how = f"{type(error).__name__}: {error}"
        finally:
            working.cancel()
        if how != said:
            _log.error("hub task failed", task=part, reason=how, exc_info=working.exception())
        said = how
        tell(part, how)
        await asyncio.sleep(retry)

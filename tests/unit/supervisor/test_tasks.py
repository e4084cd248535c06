"""What happens when a part of the hub itself fails."""

import asyncio

from hub.supervisor.tasks import run_forever
from hub.testing.waiting import WAIT_SECONDS


async def test_a_part_that_fails_is_started_anew() -> None:
    """As often as it fails. What it failed of is told, and that it is well again after a while."""
    told: list[tuple[str, str]] = []
    well = asyncio.Event()

    def tell(part: str, how: str) -> None:
        told.append((part, how))
        if not how:
            well.set()

    async def work() -> None:
        if len(told) < 2:
            raise ValueError(f"fault {len(told)}")
        await asyncio.Event().wait()

    keeping = asyncio.create_task(run_forever("web", work, tell, retry=0, steady=0.01))
    async with asyncio.timeout(WAIT_SECONDS):
        await well.wait()
    keeping.cancel()
    await asyncio.wait({keeping})
    assert told == [("web", "ValueError: fault 0"), ("web", "ValueError: fault 1"), ("web", "")]


async def test_a_part_that_just_ends_has_failed() -> None:
    """It is to work for ever."""
    told = asyncio.Queue[str]()

    async def work() -> None:
        """Nothing."""

    keeping = asyncio.create_task(run_forever("watchdog", work, lambda _, how: told.put_nowait(how), retry=60))
    async with asyncio.timeout(WAIT_SECONDS):
        assert await told.get() == "it has ended"
    keeping.cancel()
    await asyncio.wait({keeping})

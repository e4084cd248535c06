"""What happens when a part of the hub itself fails."""

import asyncio

from hub.supervisor.tasks import run_forever
from hub.testing.waiting import WAIT_SECONDS


async def test_a_task_that_fails_is_restarted() -> None:
    """Each failure is reported with its error, and so is the recovery after a while."""
    reports: list[tuple[str, str]] = []
    well = asyncio.Event()

    def report(part: str, how: str) -> None:
        reports.append((part, how))
        if not how:
            well.set()

    async def work() -> None:
        if len(reports) < 2:
            raise ValueError(f"fault {len(reports)}")
        await asyncio.Event().wait()

    keeping = asyncio.create_task(run_forever("web", work, report, retry=0, steady=0.01))
    async with asyncio.timeout(WAIT_SECONDS):
        await well.wait()
    keeping.cancel()
    await asyncio.wait({keeping})
    assert reports == [("web", "ValueError: fault 0"), ("web", "ValueError: fault 1"), ("web", "")]


async def test_a_part_that_just_ends_has_failed() -> None:
    """It has to work forever."""
    reports = asyncio.Queue[str]()

    async def work() -> None:
        """Nothing."""

    keeping = asyncio.create_task(run_forever("watchdog", work, lambda _, how: reports.put_nowait(how), retry=60))
    async with asyncio.timeout(WAIT_SECONDS):
        assert await reports.get() == "it has ended"
    keeping.cancel()
    await asyncio.wait({keeping})

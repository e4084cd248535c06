"""Two processes prepare and release claims during an upgrade."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from hub.api.device import Allocation, Device
from hub.plugin.dra.allocating import ClaimRejected
from hub.plugin.dra.claimrecord import ClaimState
from tests.unit.plugin.dra.drakit import Driver, device


@pytest.fixture
async def driver(directory: Path) -> AsyncIterator[Driver]:
    """Make a driver with a device."""
    driver = Driver(directory)
    driver.scan(device("a"))
    async with driver.running_component():
        yield driver


async def test_a_call_that_begins_to_prepare_after_the_release_is_refused(driver: Driver) -> None:
    """The newer hub knows nothing of the claim when it releases it, and the older one may be about to prepare it."""
    driver.store_api.allocate("u1", "a")
    driver.ownership.others = ["newer"]
    await driver.new_preparation().release("u1")

    with pytest.raises(ClaimRejected, match="it has just been released"):
        await driver.prepare("u1")
    assert driver.records.active() == []


@pytest.mark.parametrize(("state", "files"), [(ClaimState.RELEASED, 0), (ClaimState.PREPARED, 1)])
async def test_a_call_that_another_process_has_overtaken_changes_nothing(
    driver: Driver, state: ClaimState, files: int
) -> None:
    """During an upgrade, the newer hub may get the release or a repeated call while the older one is still at work."""
    newer = driver.new_preparation()
    begun, go_on = threading.Event(), threading.Event()

    def answer(devices: Sequence[Device]) -> Allocation:
        begun.set()
        go_on.wait(10)
        return Allocation.merge(devices)

    driver.plugin.answer = answer
    driver.store_api.allocate("u1", "a")
    older = asyncio.ensure_future(driver.prepare("u1"))
    await asyncio.to_thread(begun.wait, 10)
    driver.plugin.answer = Allocation.merge
    if files:
        await newer.prepare("team", "claim-u1", "u1")
    else:
        await newer.release("u1")
    go_on.set()

    with pytest.raises(ClaimRejected, match="another process has released or prepared it in the meantime"):
        await older
    (record,) = driver.records.all()
    assert (record.state, len(driver.cdi_files())) == (state, files)

"""Devices are reset once their claim is released, if the plugin says that this is worthwhile."""

import asyncio
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.api.device import Device
from hub.base.locks import existing_lock, try_lock
from hub.plugin.dra import released
from hub.plugin.dra.allocating import ClaimRejected
from hub.plugin.dra.claimrecord import ClaimState
from hub.plugin.dra.released import ReleasedClaims
from hub.plugin.health.keys import share_key
from hub.plugin.health.record import CORDON, RESET
from hub.reset.result import Outcome, ResetResult
from hub.testing.waiting import wait_until
from tests.unit.plugin.dra.drakit import DRIVER, AnyPlugin, Driver, device
from tests.unit.plugin.plugin_setup import STUB


class FakeResets:
    """Resets that a test ends.

    Attributes:
        begun: The keys of the devices whose reset in the background has begun, in order.
        before: The ids of the devices that were reset for a container.
        go_on: Set when resets may end.
        outcome: How they end.
    """

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.before: list[str] = []
        self.go_on = asyncio.Event()
        self.outcome = Outcome.OK

    async def reset_now(self, key: str) -> ResetResult:
        """Reset a device in the background."""
        self.begun.append(key)
        await self.go_on.wait()
        return ResetResult(self.outcome, f"reset of {key}: {self.outcome}", 1.0, f"reset of {key}: {self.outcome}")

    async def reset_for_container(self, _resource: str, devices: Sequence[Device]) -> Sequence[ResetResult]:
        """Reset devices for a container."""
        self.before += [each.id for each in devices]
        return ()

    def reset_blocked(self, _resources: Iterable[str]) -> str:
        """Return why devices are never reset."""
        return ""


class ReleasedDriver(Driver):
    """A driver whose plugin requests resets after a release."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.plugin.reset_when_released = True
        self.resets = FakeResets()
        self.restart()

    def restart(self) -> None:
        """Begin again, as another process would."""
        self.parts = self.parts._replace(resets=self.resets)  # type: ignore[arg-type] # it has all that is used
        self.released = ReleasedClaims(self.parts, DRIVER, self.records)
        self.preparation = self.new_preparation()

    def taints(self) -> dict[str, str]:
        """Return why devices have a taint, by name."""
        self.inventory.publish()
        return {each.name: each.health.reason for each in self.devices.all() if each.content.get("taints")}

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Reset devices in the background until the block ends."""
        task = asyncio.ensure_future(self.released.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def use(self, uid: str, *names: str) -> None:
        """Prepare and release a claim for these devices."""
        self.store_api.allocate(uid, *names)
        await self.prepare(uid)
        await self.preparation.release(uid)


@pytest.fixture
async def driver(directory: Path) -> AsyncIterator[ReleasedDriver]:
    """Make a driver with two devices."""
    driver = ReleasedDriver(directory)
    driver.scan(device("a"), device("b"))
    async with driver.running_component():
        yield driver


async def test_a_released_device_has_a_taint_until_it_is_reset(driver: ReleasedDriver) -> None:
    """The scheduler gives it to no claim meanwhile, and no pod counts as its user; the other device is free."""
    async with driver.running():
        await driver.use("u1", "a")

        assert driver.taints() == {"a": "being reset, after claim team/claim-u1 was released"}
        assert driver.records.holders() == {}
        assert driver.cdi_files() == []
        await wait_until(lambda: driver.resets.begun, "the reset")
        driver.resets.go_on.set()
        await wait_until(lambda: not driver.taints(), "no taint")

    assert driver.records.all() == []
    assert driver.resets.begun == [share_key(STUB, Device("a"))]


async def test_without_the_attribute_nothing_is_reset(driver: ReleasedDriver) -> None:
    """A device is then reset for its next container only."""
    driver.plugin.reset_when_released = False
    async with driver.running():
        await driver.use("u1", "a")

    assert driver.taints() == {}
    assert driver.records.all() == []


async def test_a_failed_reset_leaves_the_device_unhealthy_with_the_reason(driver: ReleasedDriver) -> None:
    """It stays so until a reset of it succeeds; the record of the claim is gone anyway."""
    driver.resets.outcome = Outcome.FAILED
    driver.resets.go_on.set()
    async with driver.running():
        await driver.use("u1", "a")
        await wait_until(lambda: not driver.records.all(), "no record")

    key = share_key(STUB, Device("a"))
    assert driver.taints() == {"a": f"reset of {key}: failed"}
    assert RESET in driver.store.record(key).faults
    driver.store_api.allocate("u2", "a")
    with pytest.raises(ClaimRejected, match="device a is not healthy: reset of"):
        await driver.prepare("u2")


async def test_a_claim_waits_for_the_reset_and_needs_no_other(
    driver: ReleasedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was allocated before the scheduler saw the taint; if it were rejected, its pod would wait for a minute."""
    waits, settle = asyncio.Event(), driver.released.settle

    async def settle_seen(uid: str, devices: Iterable[tuple[str, Device]]) -> Collection[str]:
        waits.set()
        return await settle(uid, devices)

    monkeypatch.setattr(driver.released, "settle", settle_seen)
    async with driver.running():
        await driver.use("u1", "a")
        driver.resets.before.clear()
        waits.clear()
        driver.store_api.allocate("u2", "a", "b")
        preparing = asyncio.ensure_future(driver.prepare("u2"))
        await waits.wait()
        await wait_until(lambda: driver.resets.begun, "the reset")
        assert not preparing.done()
        driver.resets.go_on.set()

        assert await preparing == ["a", "b"]

    assert driver.resets.before == ["b"]


async def test_a_claim_is_reset_again_if_nothing_waited_for_the_reset(driver: ReleasedDriver) -> None:
    """Another process may have used the device since its last reset."""
    driver.resets.go_on.set()
    async with driver.running():
        await driver.use("u1", "a")
        await wait_until(lambda: not driver.records.all(), "no record")
        driver.resets.before.clear()
        driver.store_api.allocate("u2", "a")
        await driver.prepare("u2")

    assert driver.resets.before == ["a"]


async def test_another_pod_can_have_the_same_claim_after_its_reset(driver: ReleasedDriver) -> None:
    """Claims outlive pods, unless they are from a template."""
    async with driver.running():
        await driver.use("u1", "a")
        preparing = asyncio.ensure_future(driver.prepare("u1"))
        await wait_until(lambda: driver.resets.begun, "the reset")
        driver.resets.go_on.set()

        assert await preparing == ["a"]
        (record,) = driver.records.all()
        assert record.state is ClaimState.PREPARED


async def test_a_claim_that_another_process_still_resets_is_refused(driver: ReleasedDriver) -> None:
    """Its record is not replaced: it protects the device until the other process has finished the reset."""
    await driver.use("u1", "a")
    driver.restart()

    with pytest.raises(ClaimRejected, match="its devices are still being reset"):
        await driver.prepare("u1")
    driver.store_api.allocate("u2", "a")
    with pytest.raises(ClaimRejected, match="device a is being reset, after claim team/claim-u1"):
        await driver.prepare("u2")


async def test_a_restart_resumes(driver: ReleasedDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The devices have their taint from the start, and the record ends with the reset."""
    monkeypatch.setattr(released, "KILL_TIMEOUT", 0)
    async with driver.running():
        await driver.use("u1", "a")
        await wait_until(lambda: driver.resets.begun, "the reset")

    driver.restart()
    driver.released.find()
    assert "a" in driver.taints()
    driver.resets.go_on.set()
    async with driver.running():
        await wait_until(lambda: not driver.taints(), "no taint")
    assert driver.records.all() == []
    assert len(driver.resets.begun) == 2


async def test_a_repeated_release_changes_nothing(driver: ReleasedDriver) -> None:
    """The kubelet retries it after a restart."""
    async with driver.running():
        await driver.use("u1", "a")
        await driver.preparation.release("u1")
        (record,) = driver.records.all()
        assert record.state is ClaimState.RESETTING


async def test_only_one_process_resets_a_device(driver: ReleasedDriver) -> None:
    """During an upgrade, the other hub's process leaves it alone as long as the first one lives."""
    await driver.use("u1", "a")
    with existing_lock(driver.directory / "claims/u1.json", writable=True) as file:
        assert try_lock(file)
        driver.restart()
        async with driver.running():
            await wait_until(lambda: "a" in driver.taints(), "the taint")
            await asyncio.sleep(0.05)
    assert driver.resets.begun == []


async def test_a_device_with_another_user_or_a_cordon_is_not_reset(
    driver: ReleasedDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another claim may have a share of it, and an administrator may want to look at it as it is."""
    monkeypatch.setattr(AnyPlugin, "reset_blocked", lambda _plugin, _shares: "", raising=False)
    driver.scan(device("a", physical="card"), device("b", physical="card"), device("c"))
    driver.store_api.allocate("u2", "b")
    await driver.prepare("u2")
    driver.store_api.allocate("u3", "c")
    await driver.prepare("u3")
    driver.store.set_admin_fault(share_key(STUB, Device("c")), CORDON, "cordoned")
    async with driver.running():
        await driver.use("u1", "a")
        await driver.preparation.release("u3")

    assert [each.uid for each in driver.records.all()] == ["u2"]
    assert driver.resets.begun == []

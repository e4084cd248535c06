"""Devices are reset once their claim is released, if the plugin says that this is worth it."""

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


class It(Driver):
    """A driver whose plugin wants resets after a release."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.plugin.reset_when_released = True
        self.resets = FakeResets()
        self.restart()

    def restart(self) -> None:
        """Begin again, as another process does."""
        self.parts = self.parts._replace(resets=self.resets)  # type: ignore[arg-type] # as far as it is used
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
async def it(directory: Path) -> AsyncIterator[It]:
    """Make a driver with two devices."""
    driver = It(directory)
    driver.scan(device("a"), device("b"))
    async with driver.running_component():
        yield driver


async def test_a_released_device_has_a_taint_until_it_is_reset(it: It) -> None:
    """The scheduler gives it to no claim meanwhile, and no pod counts as its user; the other device is free."""
    async with it.running():
        await it.use("u1", "a")

        assert it.taints() == {"a": "being reset, after claim team/claim-u1 was released"}
        assert it.records.holders() == {}
        assert it.cdi_files() == []
        await wait_until(lambda: it.resets.begun, "the reset")
        it.resets.go_on.set()
        await wait_until(lambda: not it.taints(), "no taint")

    assert it.records.all() == []
    assert it.resets.begun == [share_key(STUB, Device("a"))]


async def test_without_the_attribute_nothing_is_reset(it: It) -> None:
    """A device is then reset for its next container only."""
    it.plugin.reset_when_released = False
    async with it.running():
        await it.use("u1", "a")

    assert it.taints() == {}
    assert it.records.all() == []


async def test_a_failed_reset_leaves_the_device_unhealthy_with_the_reason(it: It) -> None:
    """It stays so until a reset of it succeeds; the record of the claim is gone anyway."""
    it.resets.outcome = Outcome.FAILED
    it.resets.go_on.set()
    async with it.running():
        await it.use("u1", "a")
        await wait_until(lambda: not it.records.all(), "no record")

    key = share_key(STUB, Device("a"))
    assert it.taints() == {"a": f"reset of {key}: failed"}
    assert RESET in it.store.record(key).faults
    it.store_api.allocate("u2", "a")
    with pytest.raises(ClaimRejected, match="device a is not healthy: reset of"):
        await it.prepare("u2")


async def test_a_claim_waits_for_the_reset_and_needs_no_other(it: It, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was allocated before the scheduler saw the taint; if it were rejected, its pod would wait for a minute."""
    waits, settle = asyncio.Event(), it.released.settle

    async def settle_seen(uid: str, devices: Iterable[tuple[str, Device]]) -> Collection[str]:
        waits.set()
        return await settle(uid, devices)

    monkeypatch.setattr(it.released, "settle", settle_seen)
    async with it.running():
        await it.use("u1", "a")
        it.resets.before.clear()
        waits.clear()
        it.store_api.allocate("u2", "a", "b")
        preparing = asyncio.ensure_future(it.prepare("u2"))
        await waits.wait()
        await wait_until(lambda: it.resets.begun, "the reset")
        assert not preparing.done()
        it.resets.go_on.set()

        assert await preparing == ["a", "b"]

    assert it.resets.before == ["b"]


async def test_a_claim_is_reset_again_if_nothing_waited_for_the_reset(it: It) -> None:
    """A device is clean either way: another process may have used it since."""
    it.resets.go_on.set()
    async with it.running():
        await it.use("u1", "a")
        await wait_until(lambda: not it.records.all(), "no record")
        it.resets.before.clear()
        it.store_api.allocate("u2", "a")
        await it.prepare("u2")

    assert it.resets.before == ["a"]


async def test_another_pod_can_have_the_same_claim_after_its_reset(it: It) -> None:
    """Claims outlive pods, unless they are from a template."""
    async with it.running():
        await it.use("u1", "a")
        preparing = asyncio.ensure_future(it.prepare("u1"))
        await wait_until(lambda: it.resets.begun, "the reset")
        it.resets.go_on.set()

        assert await preparing == ["a"]
        (record,) = it.records.all()
        assert record.state is ClaimState.PREPARED


async def test_a_claim_that_another_process_still_resets_is_refused(it: It) -> None:
    """Its record is not replaced: it protects the device until the other process has ended the reset."""
    await it.use("u1", "a")
    it.restart()

    with pytest.raises(ClaimRejected, match="its devices are still being reset"):
        await it.prepare("u1")
    it.store_api.allocate("u2", "a")
    with pytest.raises(ClaimRejected, match="device a is being reset, after claim team/claim-u1"):
        await it.prepare("u2")


async def test_a_restart_resumes(it: It, monkeypatch: pytest.MonkeyPatch) -> None:
    """The devices have their taint from the start on, and the record ends with the reset."""
    monkeypatch.setattr(released, "KILL_TIMEOUT", 0)
    async with it.running():
        await it.use("u1", "a")
        await wait_until(lambda: it.resets.begun, "the reset")

    it.restart()
    it.released.find()
    assert "a" in it.taints()
    it.resets.go_on.set()
    async with it.running():
        await wait_until(lambda: not it.taints(), "no taint")
    assert it.records.all() == []
    assert len(it.resets.begun) == 2


async def test_a_repeated_release_changes_nothing(it: It) -> None:
    """The kubelet repeats it after its restart."""
    async with it.running():
        await it.use("u1", "a")
        await it.preparation.release("u1")
        (record,) = it.records.all()
        assert record.state is ClaimState.RESETTING


async def test_only_one_process_resets_a_device(it: It) -> None:
    """During an upgrade, the other hub's process leaves it alone as long as the first one lives."""
    await it.use("u1", "a")
    with existing_lock(it.directory / "claims/u1.json", writable=True) as file:
        assert try_lock(file)
        it.restart()
        async with it.running():
            await wait_until(lambda: "a" in it.taints(), "the taint")
            await asyncio.sleep(0.05)
    assert it.resets.begun == []


async def test_a_device_with_another_user_or_a_cordon_is_not_reset(it: It, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another claim may have a share of it, and an administrator may want to look at it as it is."""
    monkeypatch.setattr(AnyPlugin, "reset_blocked", lambda _plugin, _shares: "", raising=False)
    it.scan(device("a", physical="card"), device("b", physical="card"), device("c"))
    it.store_api.allocate("u2", "b")
    await it.prepare("u2")
    it.store_api.allocate("u3", "c")
    await it.prepare("u3")
    it.store.set_admin_fault(share_key(STUB, Device("c")), CORDON, "cordoned")
    async with it.running():
        await it.use("u1", "a")
        await it.preparation.release("u3")

    assert [each.uid for each in it.records.all()] == ["u2"]
    assert it.resets.begun == []

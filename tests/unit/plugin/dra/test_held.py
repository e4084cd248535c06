"""Devices that another API or another driver has allocated."""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from hub.base.changecount import ChangeCounter
from hub.plugin.dra.allocating import ClaimRejected
from hub.plugin.dra.held import HeldDevices
from hub.plugin.health.record import HELD
from hub.plugin.ownership import Role
from hub.testing.waiting import wait_until
from tests.unit.plugin.dra.drakit import DRIVER, Driver, device
from tests.unit.plugin.plugin_setup import STUB

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY = (STUB, "a")


class FakeHolders:
    """What the kubelet says about containers with devices.

    Attributes:
        answer: The next response; None if there is none.
    """

    def __init__(self) -> None:
        self.changes = ChangeCounter()
        self.known = False
        self.containers: Mapping[tuple[str, str], str] = {}
        self.answer: Mapping[tuple[str, str], str] | None = {}

    async def refresh(self) -> bool:
        """Query the kubelet."""
        self.known, self.containers = self.answer is not None, self.answer or {}
        return self.known

    def refresh_soon(self) -> None:
        """Do nothing: the test itself queries the kubelet."""


class HeldDriver(Driver):
    """A driver on a node whose kubelet reports what the test specifies."""

    def __init__(self, directory: Path) -> None:
        self.kubelet = FakeHolders()
        super().__init__(directory)

    def protect(self) -> HeldDevices:
        """Protect what the kubelet reports as held; return the held devices."""
        self.parts = self.parts._replace(holders=self.kubelet)  # type: ignore[arg-type] # it has all that is used
        self.held = HeldDevices(self.parts, ChangeCounter())
        self.preparation = self.new_preparation()
        return self.held


@pytest.fixture
async def driver(directory: Path) -> HeldDriver:
    """Create a driver with two devices."""
    driver = HeldDriver(directory)
    driver.scan(device("a"), device("b"))
    return driver


def _taints(driver: Driver) -> dict[str, list[tuple[str, str]]]:
    driver.inventory.publish()
    return {
        each.name: [(taint["key"], taint["value"]) for taint in each.content.get("taints", ())]
        for each in driver.devices.all()
    }


async def test_what_a_container_has_is_tainted_until_it_has_ended(driver: HeldDriver) -> None:
    """The reason names the container; a kubelet that does not answer changes nothing."""
    held = driver.protect()
    driver.kubelet.answer = {KEY: "team/pod/main", ("example.com/other", "b"): "team/pod/main"}
    await held.refresh()
    assert _taints(driver) == {"a": [(f"{DRIVER}/held", HELD)], "b": []}
    assert (
        driver.resource.list.health["a"].reason == "used by team/pod/main, which got it through the device plugin API"
    )

    driver.kubelet.answer = None
    await held.refresh()
    assert _taints(driver)["a"]

    driver.kubelet.answer = {}
    await held.refresh()
    assert _taints(driver) == {"a": [], "b": []}


async def test_a_fault_and_a_container_are_two_taints(driver: HeldDriver) -> None:
    """Each is removed when its own reason is gone."""
    held = driver.protect()
    driver.kubelet.answer = {KEY: "team/pod/main"}
    driver.scan(device("a", unhealthy="too hot"), device("b"))
    await held.refresh()

    assert _taints(driver)["a"] == [(f"{DRIVER}/unhealthy", "plugin"), (f"{DRIVER}/held", HELD)]
    assert driver.resource.list.health["a"].reason.startswith("too hot; used by")


async def test_a_claim_waits_for_a_container_and_not_for_an_old_answer(driver: HeldDriver) -> None:
    """The kubelet is queried again before a claim is rejected, and a toleration does not help."""
    held = driver.protect()
    driver.kubelet.answer = {KEY: "team/pod/main"}
    await held.refresh()
    driver.store_api.allocate("u1", "a", tolerations=[{"operator": "Exists"}])
    async with driver.running_component():
        with pytest.raises(ClaimRejected, match="device a is used by team/pod/main, which got it through"):
            await driver.prepare("u1")

        driver.kubelet.answer = {}
        assert await driver.prepare("u1") == ["a"]


async def test_a_driver_that_is_not_used_any_more_only_repeats_and_releases(driver: HeldDriver) -> None:
    """A pod that has a claim can start its sandbox again, and can end; a new claim is rejected with the reason."""
    driver.store_api.allocate("u1", "a")
    driver.store_api.allocate("u2", "b")
    async with driver.running_component():
        await driver.prepare("u1")
        driver.is_retired = True
        driver.preparation = driver.new_preparation()

        assert await driver.prepare("u1") == ["a"]
        with pytest.raises(ClaimRejected, match=f"no longer serves the DRA driver {DRIVER}"):
            await driver.prepare("u2")
        await driver.preparation.release("u1")
    assert driver.records.all() == []
    assert driver.cdi_files() == []


class OtherHub:
    """Another hub, which serves some resources through the device plugin API."""

    role = Role.ACTIVE

    def __init__(self) -> None:
        self.resources: set[str] = {STUB}

    def neighbors_of(self, resource: str) -> set[str]:
        """Return the hub if it serves the resource."""
        return {"older"} if resource in self.resources else set()


async def test_nothing_is_given_away_while_another_hub_offers_it(driver: HeldDriver) -> None:
    """When that hub has gone, only what its containers have stays protected: the kubelet is queried first."""
    other = OtherHub()
    changed = ChangeCounter()
    fakes = {"ownership": other, "holders": driver.kubelet}
    driver.parts = driver.parts._replace(**fakes)  # type: ignore[arg-type] # they have all that is used
    held = HeldDevices(driver.parts, changed)
    await held.refresh()
    assert all(_taints(driver).values())
    assert "another hub still offers it" in driver.resource.list.health["a"].reason

    task = asyncio.ensure_future(held.run())
    await asyncio.sleep(0)
    driver.kubelet.answer = {KEY: "team/pod/main"}
    other.resources.clear()
    changed.bump()
    await wait_until(lambda: _taints(driver) == {"a": [(f"{DRIVER}/held", HELD)], "b": []}, "one taint")
    assert "used by team/pod/main" in driver.resource.list.health["a"].reason
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

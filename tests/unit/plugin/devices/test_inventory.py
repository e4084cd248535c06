"""The inventory: what scans and health do to the devices of a plugin, tested in this process."""

import asyncio
from collections.abc import Iterable

from structlog.testing import capture_logs

from hub.api.device import Device
from hub.api.health import RecoveryPolicy
from hub.plugin.devices.devicelist import ScannedDevices
from hub.plugin.devices.scan import Scan
from hub.plugin.health.record import BROKEN, CORDON, SCAN, Health
from hub.testing.waiting import WAIT_SECONDS
from tests.unit.plugin.plugin_setup import FAILED, STUB, CountingStore, Setup


def _reasons(it: Setup) -> Iterable[str]:
    """Return why each device is not healthy."""
    return [health.reason for health in it.resource.list.health.values()]


def _transitions(it: Setup) -> dict[str, float]:
    """Return the number of changes of health by source, or by the health where there is no source."""
    (metric,) = (each for each in it.metrics.metrics() if "transitions" in each.name)
    counts = {}
    for sample in metric.samples:
        assert isinstance(sample.value, (int, float))
        counts[sample.labels["source"] or sample.labels["health"]] = sample.value
    return counts


async def test_each_change_evaluates_each_device_once() -> None:
    """The stream, log, counters and report share one evaluation after each scan, failed scan or change of health."""
    it = Setup()
    it.scan(Device("a"), Device("b", unhealthy="too hot"))
    assert it.store.evaluations == 2
    # A scan publishes at once, which clears the mark that the scan's report has set in the store.
    await _turn()
    assert it.store.evaluations == 2
    it.store.set_admin_fault(f"{STUB} a", CORDON, "cordoned")
    it.store.fail(f"{STUB} a", BROKEN, "smoke was seen")
    assert it.store.evaluations == 2
    await _turn()
    assert it.store.evaluations == 4
    assert _reasons(it) == ["cordoned; smoke was seen", "too hot"]
    it.inventory.update(FAILED)
    assert it.store.evaluations == 6
    await _turn()
    assert it.store.evaluations == 6


async def test_a_recovery_ends_on_time() -> None:
    """Nothing else has to happen, neither a scan nor a regular check."""
    it = Setup(lambda path, _policy, owner: CountingStore(path, RecoveryPolicy(stable_for=0.05), owner))
    it.scan(Device("a", unhealthy="too hot"))
    it.scan(Device("a"))
    version = it.resource.list.version
    assert [each.health for each in it.resource.list.health.values()] == [Health.RECOVERING]
    async with asyncio.timeout(WAIT_SECONDS):
        await it.resource.wait_beyond(version)
    assert [each.health for each in it.resource.list.health.values()] == [Health.HEALTHY]


async def test_a_version_is_what_a_kubelet_sees() -> None:
    """A different reason is a change in the report, but the kubelet does not get a new list."""
    it = Setup()
    it.scan(Device("a"), Device("b", unhealthy="too hot"))
    version = it.resource.list.version
    it.scan(Device("b", unhealthy="on fire"), Device("a"))
    assert it.resource.list.version == version
    assert _reasons(it) == ["on fire", ""]
    it.scan(Device("a"), Device("b", numa=[1], unhealthy="on fire"))
    assert it.resource.list.version == version + 1
    it.scan(Device("a"))
    assert it.resource.list.version == version + 2


async def test_a_failed_scan_keeps_the_devices() -> None:
    """None of them is healthy, and one that has a reason of its own keeps it; the next scan restores them."""
    it = Setup()
    it.scan(Device("a"), Device("b", unhealthy="too hot"))
    it.inventory.update(FAILED)
    health = it.resource.list.health
    assert [(each.health, each.reason, each.source) for each in health.values()] == [
        (Health.UNHEALTHY, "no driver", SCAN),
        (Health.UNHEALTHY, "too hot", "plugin"),
    ]
    assert it.resource.list.reason == "no driver"
    it.scan(Device("a"), Device("b", unhealthy="too hot"))
    assert _reasons(it) == ["", "too hot"]
    assert _transitions(it) == {"plugin": 1, SCAN: 1, "healthy": 1}


async def test_devices_that_share_a_reason_share_a_line() -> None:
    """When the driver has gone there may be thousands of them; a reason is logged once."""
    it = Setup()
    it.scan(*(Device(f"d{n}") for n in range(20)))
    with capture_logs() as log:
        it.inventory.update(FAILED)
        it.inventory.update(FAILED)
    (line,) = (line for line in log if line["event"] == "devices unhealthy")
    assert line["devices"] == ", ".join(f"d{n}" for n in range(16)) + " and 4 more"
    assert line["reason"] == "no driver"


async def test_a_resource_without_a_valid_name_is_left_out() -> None:
    """It is invalid until a scan no longer finds it; a failed scan does not change that."""
    it = Setup()
    with capture_logs() as log:
        for _ in range(2):
            it.inventory.update(Scan({"plain": ScannedDevices.of([Device("a")])}))
    assert list(it.inventory) == []
    assert 'resource "plain" needs a domain' in it.inventory.invalid["plain"].reason
    assert [line["event"] for line in log] == ["resource invalid"]
    it.inventory.update(FAILED)
    assert list(it.inventory.invalid) == ["plain"]
    it.scan(Device("a"))
    assert it.inventory.invalid == {}


async def test_shares_of_a_physical_device_are_found_by_it() -> None:
    """They are found in all resources; a whole device is its own only share."""
    it = Setup()
    it.scan(Device("a", physical="card"), Device("b", physical="card"), Device("c"))
    found = it.inventory.physical_devices()
    assert {key: [device.id for device in devices] for key, devices in found.items()} == {
        "card": ["a", "b"],
        f"{STUB} c": ["c"],
    }


async def _turn() -> None:
    """Let the event loop run what is due."""
    await asyncio.sleep(0)
    await asyncio.sleep(0)

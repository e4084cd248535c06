"""What happens when a pod gets a claim, and when it ends."""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import msgspec
import pytest

from hub.api.device import Allocation, Device
from hub.api.plugin import RequestRejected
from hub.model.dra import ClaimResult
from hub.plugin.devices.devicelist import ScannedDevices
from hub.plugin.devices.scan import Scan
from hub.plugin.dra import component
from hub.plugin.dra.allocating import ClaimRejected
from hub.plugin.dra.claimrecord import ClaimRecord, ClaimState, PreparedDevice
from hub.plugin.health.keys import share_key
from hub.plugin.health.record import CORDON
from tests.unit.plugin.dra.drakit import DRIVER, Driver, device
from tests.unit.plugin.plugin_setup import STUB


@pytest.fixture
async def driver(directory: Path) -> AsyncIterator[Driver]:
    """Create a driver with two devices."""
    driver = Driver(directory)
    driver.scan(device("a"), device("b"))
    async with driver.running_component():
        yield driver


async def test_a_claim_gets_its_devices_as_one_cdi_device_for_each_request(driver: Driver) -> None:
    """The first device of a request carries the name, so a container gets the edits once."""
    driver.store_api.allocate("u1", "a", "b")

    first, second = await driver.preparation.prepare("team", "claim-u1", "u1")

    assert (first.result.device, first.cdi) == ("a", (f"{DRIVER}/claim=u1-main",))
    assert (second.result.device, second.cdi) == ("b", ())
    (name,) = driver.cdi_files()
    spec = json.loads((driver.cdi / name).read_text())
    assert spec["kind"] == f"{DRIVER}/claim"
    assert [each["name"] for each in spec["devices"]] == ["u1-main"]
    nodes = spec["devices"][0]["containerEdits"]["deviceNodes"]
    assert [(node["path"], node["hostPath"]) for node in nodes] == [("/dev/a", "/dev/null"), ("/dev/b", "/dev/null")]


async def test_no_request_gets_the_cdi_device_of_another(driver: Driver) -> None:
    """This holds for any names; a request with devices of two resources has a second CDI device, with a number."""
    other = ScannedDevices.of([device("b")])
    driver.inventory.update(Scan({STUB: ScannedDevices.of([device("a"), device("c")]), "example.com/other": other}))
    second = next(each.name for each in driver.devices.all() if each.device.id == "b")
    claim = driver.store_api.allocate("u1", "a", second, "c")
    for result, request in zip(claim["status"]["allocation"]["devices"]["results"], ("x", "x", "x-1"), strict=True):
        result["request"] = request

    found = await driver.preparation.prepare("team", "claim-u1", "u1")

    names = [name for each in found for name in each.cdi]
    (file,) = driver.cdi_files()
    devices = json.loads((driver.cdi / file).read_text())["devices"]
    paths = {
        f"{DRIVER}/claim={each['name']}": [node["path"] for node in each["containerEdits"]["deviceNodes"]]
        for each in devices
    }
    assert [paths[name] for name in names] == [["/dev/a"], ["/dev/b"], ["/dev/c"]]


async def test_a_repeated_call_gets_the_same_answer_without_another_allocation(driver: Driver) -> None:
    """A restarted kubelet makes the call again. This also works after a plugin restart, and without the API server."""
    driver.store_api.allocate("u1", "a")
    before = await driver.preparation.prepare("team", "claim-u1", "u1")
    driver.store_api.claims.clear()
    driver.preparation = driver.new_preparation()
    driver.scan()

    assert await driver.preparation.prepare("team", "claim-u1", "u1") == before


async def test_a_missing_cdi_file_is_written_again(driver: Driver) -> None:
    """This happens at the plugin's start and at each call, because the directory is lost when the node reboots."""
    driver.store_api.allocate("u1", "a")
    await driver.prepare("u1")
    files = driver.cdi_files()
    (driver.cdi / files[0]).unlink()
    (driver.cdi / f"{DRIVER}-claim-old.json").write_text("{}")

    driver.new_preparation().restore()
    assert driver.cdi_files() == files

    (driver.cdi / files[0]).unlink()
    await driver.prepare("u1")
    assert driver.cdi_files() == files


async def test_a_device_of_another_claim_is_refused_until_it_is_released(driver: Driver) -> None:
    """The scheduler may allocate it while the kubelet still has to release it, such as after a forced deletion."""
    driver.store_api.allocate("u1", "a")
    driver.store_api.allocate("u2", "a")
    await driver.prepare("u1")

    with pytest.raises(ClaimRejected, match="device a is held by claim team/claim-u1, which is still prepared"):
        await driver.prepare("u2")

    await driver.preparation.release("u1")
    assert await driver.prepare("u2") == ["a"]


async def test_an_administrators_claim_may_have_a_device_that_is_in_use(driver: Driver) -> None:
    """It only inspects the device while another claim uses it, and does not hold it."""
    driver.store_api.allocate("u1", "a")
    driver.store_api.allocate("u2", "a", adminAccess=True)
    await driver.prepare("u1")

    assert await driver.prepare("u2") == ["a"]
    assert driver.records.holders() == {(STUB, "a"): "team/pod-u1/claim:claim-u1"}


async def test_claims_are_counted_by_state(driver: Driver) -> None:
    """The metrics use these counts."""
    driver.store_api.allocate("u1", "a")
    await driver.prepare("u1")
    driver.records.reserve(ClaimRecord("u2", "team", "claim-u2", ClaimState.PREPARING, time.time()))

    assert driver.records.counts() == {"preparing": 1, "prepared": 1, "resetting": 0}


async def test_release_removes_everything_and_needs_no_api_server(driver: Driver) -> None:
    """The claim may be gone by then; a claim that is not known needs nothing."""
    driver.store_api.allocate("u1", "a")
    await driver.prepare("u1")
    driver.store_api.claims.clear()

    await driver.preparation.release("u1")
    await driver.preparation.release("unknown")

    assert driver.cdi_files() == []
    assert driver.records.all() == []


async def test_a_device_that_cannot_be_used_is_refused_with_the_reason(driver: Driver) -> None:
    """The reason is the one that `dphub devices` shows; a claim that tolerates the taint gets the device."""
    driver.store.set_admin_fault(share_key(STUB, Device("a")), CORDON, "cordoned: for a test")
    driver.inventory.publish()
    driver.store_api.allocate("u1", "a")
    driver.store_api.allocate("u2", "a", tolerations=[{"key": f"{DRIVER}/cordon"}])

    with pytest.raises(ClaimRejected, match="device a is not healthy: cordoned: for a test"):
        await driver.prepare("u1")
    assert await driver.prepare("u2") == ["a"]


async def test_a_device_that_does_not_exist_is_refused(driver: Driver) -> None:
    """It may have vanished since the scheduler saw it."""
    driver.store_api.allocate("u1", "c")

    with pytest.raises(ClaimRejected, match="device c does not exist"):
        await driver.prepare("u1")


async def test_a_failed_allocation_holds_nothing(driver: Driver) -> None:
    """Another claim can have the device, and the next attempt begins from the start."""

    def fail(_devices: Sequence[Device]) -> Allocation:
        raise RuntimeError("no power")

    driver.plugin.answer = fail
    driver.store_api.allocate("u1", "a")

    with pytest.raises(ClaimRejected, match="no power"):
        await driver.prepare("u1")

    assert driver.cdi_files() == []
    assert driver.records.all() == []


async def test_a_plugin_is_failing_after_three_failed_allocations_and_no_longer_after_one_that_works(
    driver: Driver,
) -> None:
    """This is the same as with the other API; a request that the plugin rejects is the pod's fault."""
    errors: list[type[Exception]] = []

    def fail(_devices: Sequence[Device]) -> Allocation:
        raise errors[-1]("no power")

    driver.plugin.answer = fail
    driver.store_api.allocate("u1", "a")
    for error in (RequestRejected, RuntimeError):
        errors.append(error)
        for _ in range(3):
            with pytest.raises(ClaimRejected, match="no power"):
                await driver.prepare("u1")
        assert tuple(driver.preparation.failing) == ((STUB,) if error is RuntimeError else ())
    assert "the last 3 allocations failed: " in driver.preparation.failing[STUB]

    driver.plugin.answer = Allocation.merge
    await driver.prepare("u1")
    assert driver.preparation.failing == {}


async def test_annotations_are_refused(driver: Driver) -> None:
    """Dynamic resource allocation has no place for them, and a container without them would fail silently."""
    driver.plugin.answer = lambda _devices: Allocation(annotations={"a": "b"})
    driver.store_api.allocate("u1", "a")

    with pytest.raises(ClaimRejected, match="annotations"):
        await driver.prepare("u1")


async def test_calls_for_one_claim_run_one_after_the_other(driver: Driver) -> None:
    """A retry overlaps a call that takes too long; release waits for both."""
    begun, go_on, calls = threading.Event(), threading.Event(), []

    def answer(devices: Sequence[Device]) -> Allocation:
        calls.append(devices)
        begun.set()
        go_on.wait(10)
        return Allocation.merge(devices)

    driver.plugin.answer = answer
    driver.store_api.allocate("u1", "a")
    first, second = (asyncio.ensure_future(driver.prepare("u1")) for _ in range(2))
    await asyncio.to_thread(begun.wait, 10)
    release = asyncio.ensure_future(driver.preparation.release("u1"))
    go_on.set()

    assert await first == await second == ["a"]
    await release
    assert len(calls) == 1
    assert driver.records.all() == []


async def test_a_late_retry_after_the_release_is_refused(driver: Driver) -> None:
    """Otherwise the device would be held forever, since nothing releases it again."""
    record = ClaimRecord("u1", "team", "claim-u1", ClaimState.PREPARING, time.time())
    driver.records.reserve(record)
    driver.store_api.allocate("u1", "a")
    await driver.preparation.release("u1")

    with pytest.raises(ClaimRejected, match="a late retry"):
        await driver.prepare("u1")

    late = driver.records.get("u1")
    assert late
    driver.records.reserve(msgspec.structs.replace(late, since=time.time() - 61))
    assert await driver.prepare("u1") == ["a"]


async def test_a_deleted_claim_whose_preparation_was_interrupted_holds_nothing(driver: Driver) -> None:
    """The process was killed during the call, and the pod was deleted: the kubelet may never call again."""
    claim = driver.store_api.allocate("u1", "a")
    results = PreparedDevice(ClaimResult("main", "node-1", "a"))
    driver.records.reserve(ClaimRecord("u1", "team", "claim-u1", ClaimState.PREPARING, time.time(), devices=(results,)))
    driver.store_api.allocate("u2", "a")

    with pytest.raises(ClaimRejected, match="still preparing"):
        await driver.prepare("u2")

    claim["metadata"]["uid"] = "another"
    assert await driver.prepare("u2") == ["a"]


async def test_without_the_component_a_claim_says_what_to_do(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error is in the pod's events."""
    monkeypatch.setattr(component, "CLAIM_SECONDS", 0.3)
    driver = Driver(directory)
    driver.scan(device("a"))

    with pytest.raises(ClaimRejected, match=r"the DRA process is not running: it needs a section \[watcher:dra\]"):
        await driver.prepare("u1")


async def test_a_component_that_restarts_does_not_fail_a_pod(directory: Path) -> None:
    """The call waits for the next one: the kubelet itself would wait for a minute or more before it calls again."""
    driver = Driver(directory)
    driver.scan(device("a"))
    driver.store_api.allocate("u1", "a")
    call = asyncio.create_task(driver.prepare("u1"))
    await asyncio.sleep(0)
    async with driver.running_component():
        assert await call == ["a"]

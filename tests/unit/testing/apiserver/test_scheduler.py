"""The fake scheduler allocates what a real one would, as far as a driver can see."""

import pytest

from hub.testing.apiserver import CLAIMS, CLASSES, NODES, SLICES, AllocationError, FakeApiServer, Object, Scheduler
from tests.unit.testing.apiserver.apikit import DRIVER, NODE, device, resource_slice, taint

CLASS = "gpu"


def _cluster(*slices: Object, **options: str) -> tuple[FakeApiServer, Scheduler]:
    server = FakeApiServer(**options)
    server.add_node(NODE)
    for each in slices:
        server.store.create(SLICES, each)
    selector = {"cel": {"expression": f'device.driver == "{DRIVER}"'}}
    spec = {"selectors": [selector], "extendedResourceName": "example.com/gpu"}
    server.store.create(CLASSES, {"metadata": {"name": CLASS}, "spec": spec})
    return server, Scheduler(server)


def _claim(server: FakeApiServer, name: str, *requests: Object, **devices: object) -> None:
    made = [{"name": f"r{index}", "exactly": {"deviceClassName": CLASS, **each}} for index, each in enumerate(requests)]
    server.store.create(
        CLAIMS, {"metadata": {"name": name}, "spec": {"devices": {"requests": made, **devices}}}, "default"
    )


def _devices(claim: Object) -> list[str]:
    return [each["device"] for each in claim["status"]["allocation"]["devices"]["results"]]


def test_the_first_free_devices_are_allocated_in_the_order_of_the_slices() -> None:
    """The order in the slices is the preference."""
    server, scheduler = _cluster(
        resource_slice(device("c"), name="1", count=2), resource_slice(device("b"), device("a"), name="0", count=2)
    )
    _claim(server, "one", {"count": 1})
    _claim(server, "two", {"count": 2})

    assert _devices(scheduler.allocate("one", NODE)) == ["b"]
    assert _devices(scheduler.allocate("two", NODE)) == ["a", "c"]


def test_a_device_is_allocated_once() -> None:
    """Without a free device there is no allocation, until a pod has released one."""
    server, scheduler = _cluster(resource_slice(device("a")))
    for name in ("one", "two"):
        _claim(server, name, {"count": 1})
    scheduler.allocate("one", NODE)
    scheduler.reserve("one", "pod", "uid")
    with pytest.raises(AllocationError):
        scheduler.allocate("two", NODE)
    scheduler.release("one", "uid")

    assert _devices(scheduler.allocate("two", NODE)) == ["a"]


def test_a_tainted_device_is_left_out_unless_it_is_tolerated() -> None:
    """A taint stops new allocations only."""
    server, scheduler = _cluster(resource_slice(device("a", taints=[taint(value="cordon")]), device("b")))
    _claim(server, "plain", {"count": 1})
    tolerations = [{"key": f"{DRIVER}/unhealthy", "operator": "Exists"}]
    _claim(server, "tolerant", {"count": 1, "tolerations": tolerations})

    assert _devices(scheduler.allocate("plain", NODE)) == ["b"]
    assert _devices(scheduler.allocate("tolerant", NODE)) == ["a"]


@pytest.mark.parametrize("slices", [[(1, 2)], [(1, 1), (2, 2)]])
def test_nothing_is_allocated_from_an_incomplete_pool(slices: list[tuple[int, int]]) -> None:
    """Until all slices of the latest generation are there, the pool has no devices."""
    made = [
        resource_slice(device(f"d{generation}"), name=str(generation), generation=generation, count=count)
        for generation, count in slices
    ]
    server, scheduler = _cluster(*made)
    _claim(server, "one", {"count": 1})
    with pytest.raises(AllocationError, match="cannot allocate all devices"):
        scheduler.allocate("one", NODE)


def test_a_constraint_can_require_a_common_attribute() -> None:
    """A constraint finds the devices that match each other, not the first ones."""
    root = [{"resource.kubernetes.io/pcieRoot": {"string": each}} for each in ("x", "y", "y")]
    devices = [device(f"d{index}", attributes=each) for index, each in enumerate(root)]
    server, scheduler = _cluster(resource_slice(*devices))
    _claim(server, "one", {"count": 2}, constraints=[{"matchAttribute": "resource.kubernetes.io/pcieRoot"}])

    assert _devices(scheduler.allocate("one", NODE)) == ["d1", "d2"]


def test_a_selector_selects_by_attributes() -> None:
    """An attribute without a domain is in its driver's domain."""
    devices = [device(name, attributes={"model": {"string": name}}) for name in ("a", "b")]
    server, scheduler = _cluster(resource_slice(*devices))
    selector = {"cel": {"expression": f"device.attributes['{DRIVER}'].model == 'b'"}}
    _claim(server, "one", {"count": 1, "selectors": [selector]})

    assert _devices(scheduler.allocate("one", NODE)) == ["b"]


def test_an_extended_resource_becomes_a_claim() -> None:
    """A pod that requests a resource without a device plugin gets a claim with a request for each container."""
    server, scheduler = _cluster(resource_slice(device("a"), device("b")))
    claim = scheduler.extend("pod", {"main": {"example.com/gpu": 2}}, NODE)

    assert claim is not None
    assert claim.name.startswith("pod-extended-resources-")
    assert [tuple(each) for each in claim.mappings] == [("main", "example.com/gpu", "container-0-request-0")]
    assert _devices(server.store.get(CLAIMS, claim.name, "default")) == ["a", "b"]


def test_a_device_plugin_that_has_devices_serves_them() -> None:
    """Where the node has allocatable devices of a resource, the scheduler does not use claims."""
    server, scheduler = _cluster(resource_slice(device("a")))
    node = server.store.get(NODES, NODE)
    node["status"]["allocatable"]["example.com/gpu"] = "4"
    server.store.replace(NODES, node)

    assert scheduler.extend("pod", {"main": {"example.com/gpu": 1}}, NODE) is None


def test_extended_resources_need_their_gate() -> None:
    """Before 1.36, a pod that requests an extended resource needs a device plugin."""
    _, scheduler = _cluster(resource_slice(device("a")), version="1.35")
    with pytest.raises(AllocationError, match="the feature gate DRAExtendedResource is off"):
        scheduler.extend("pod", {"main": {"example.com/gpu": 1}}, NODE)


def test_noexecute_ends_the_pods_that_hold_a_device() -> None:
    """Only a taint with this effect ends pods that run."""
    server, scheduler = _cluster(resource_slice(device("a")))
    _claim(server, "one", {"count": 1})
    scheduler.allocate("one", NODE)
    scheduler.reserve("one", "pod", "uid")
    found = server.store.get(SLICES, "s")
    for effect, evicted in (("NoSchedule", []), ("NoExecute", [("default", "uid")])):
        found["spec"]["devices"][0]["taints"] = [taint(effect)]
        found = server.store.replace(SLICES, found)
        assert scheduler.evicted() == evicted

"""What is written so that the API server has a plugin's devices."""

from typing import Any

from hub.dra.pool import Pool, plan, replacement, same

POOL = Pool("stub.dphub.dev", "node-1", "uid-of-node-1")


def device(n: int, **more: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    """Return a device."""
    return {"name": f"d-{n}", "attributes": {}, **more}


def devices(count: int) -> list[dict[str, Any]]:
    """Return devices."""
    return [device(n) for n in range(count)]


def found(*slices: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return slices as the API server has them."""
    return {each["metadata"]["name"]: each for each in slices}


def test_slices_have_64_devices_and_say_how_many_they_are() -> None:
    """With more devices, a taint on any of them would make a slice too large; devices are in the plugin's order."""
    slices = POOL.slices(devices(130), 3)

    assert [len(each["spec"]["devices"]) for each in slices] == [64, 64, 2]
    assert {str(each["spec"]["pool"]) for each in slices} == {
        "{'name': 'node-1', 'generation': 3, 'resourceSliceCount': 3}"
    }
    assert [each["metadata"]["name"] for each in slices] == sorted(each["metadata"]["name"] for each in slices)
    assert slices[0]["metadata"]["ownerReferences"][0]["uid"] == "uid-of-node-1"


def test_a_driver_without_devices_has_an_empty_slice() -> None:
    """The slice shows the cluster that the driver is there."""
    (only,) = POOL.slices([], 1)

    assert only["spec"]["devices"] == []


def test_a_long_name_of_a_node_still_gives_a_valid_name_of_a_slice() -> None:
    """A name is at most 253 characters long, and those of two slices differ."""
    pool = Pool("stub.dphub.dev", "n" * 250, "uid")

    names = {pool.slice_name(index) for index in range(3)}

    assert len(names) == 3
    assert all(len(name) <= 253 for name in names)


def test_nothing_is_written_if_nothing_differs() -> None:
    """A restart of the plugin or of the hub therefore writes nothing; the time of a taint is the server's."""
    tainted = device(0, taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}])
    (known,) = POOL.slices([device(0, taints=[{**tainted["taints"][0], "timeAdded": "t"}])], 5)

    assert plan(POOL, [tainted], found(known), 1).is_empty


def test_a_changed_device_changes_one_slice_and_no_generation() -> None:
    """Meanwhile, the scheduler can allocate all other devices."""
    before = POOL.slices(devices(130), 5)
    after = [device(70, attributes={"x": {"bool": True}}) if n == 70 else device(n) for n in range(130)]

    todo = plan(POOL, after, found(*before), 1)

    assert [each["metadata"]["name"] for each in todo.updates] == [POOL.slice_name(1)]
    assert todo.updates[0]["spec"]["pool"]["generation"] == 5
    assert not todo.creates
    assert not todo.deletes


def test_devices_that_move_between_slices_get_a_new_generation() -> None:
    """Otherwise a device could be in two slices for a moment."""
    before = POOL.slices(devices(130), 5)

    todo = plan(POOL, devices(130)[1:], found(*before), 1)

    assert len(todo.updates) == 3
    assert {each["spec"]["pool"]["generation"] for each in todo.updates} == {6}


def test_a_slice_that_is_no_longer_needed_is_deleted_first() -> None:
    """The remaining slices are complete without it."""
    before = POOL.slices(devices(130), 5)

    todo = plan(POOL, devices(64), found(*before), 1)

    assert [each["metadata"]["name"] for each in todo.deletes] == [POOL.slice_name(1), POOL.slice_name(2)]
    assert todo.updates[0]["spec"]["pool"] == {"name": "node-1", "generation": 6, "resourceSliceCount": 1}


def test_deleted_slices_are_created_again_in_the_latest_generation() -> None:
    """A kubelet deletes them when it starts."""
    before = POOL.slices(devices(130), 5)

    todo = plan(POOL, devices(130), found(before[0], before[2]), 1)

    assert [each["metadata"]["name"] for each in todo.creates] == [POOL.slice_name(1)]
    assert not todo.updates
    assert {each["spec"]["pool"]["generation"] for each in plan(POOL, devices(130), {}, 5).creates} == {5}


def test_a_replacement_keeps_the_times_of_taints() -> None:
    """The time at which a device was tainted is a fact that an update must not change."""
    taint = {"key": "k", "value": "v", "effect": "NoSchedule"}
    (known,) = POOL.slices([device(0, taints=[{**taint, "timeAdded": "t"}])], 5)
    known["metadata"]["resourceVersion"] = "7"
    (wanted,) = POOL.slices([device(0, taints=[taint]), device(1)], 5)

    content = replacement(known, wanted)

    assert content["spec"]["devices"][0]["taints"] == [{**taint, "timeAdded": "t"}]
    assert content["metadata"]["resourceVersion"] == "7"
    assert same(content, wanted)

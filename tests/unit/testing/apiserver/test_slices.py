"""The fake API server refuses the slices that a real one refuses, in its words, and drops the same fields."""

import pytest

from hub.testing.apiserver import Object
from tests.unit.testing.apiserver.apikit import SLICES, Client, api, device, resource_slice, taint

LONG = "x" * 67


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (device("GPU_0"), 'spec.devices[0].name: Invalid value: "GPU_0": a lowercase RFC 1123 label must consist of'),
        (
            device("a", attributes={"model": {"string": LONG}}),
            "spec.devices[0].attributes[model].string: Too long: may not be more than 64 bytes",
        ),
        (
            device("a", attributes={"numa-1": {"int": 1}}),
            'spec.devices[0].attributes: Invalid value: "numa-1": a valid C identifier must start with',
        ),
        (device("a", attributes={"x": {"int": 1, "bool": True}}), "exactly one value must be specified"),
        (device("a", attributes={"v": {"version": "12.4"}}), "must be a string compatible with semver.org spec 2.0.0"),
        (
            device("a", attributes={f"x{number}": {"int": 1} for number in range(33)}),
            "spec.devices[0]: Invalid value: 33: the total number of attributes and capacities must not exceed 32",
        ),
        (device("a", taints=[taint()] * 17), "spec.devices[0].taints: Too many: 17: must have at most 16 items"),
        (device("a", taints=[taint(value="two words")]), "spec.devices[0].taints[0].value: Invalid value"),
        (device("a", taints=[taint("Evict")]), 'spec.devices[0].taints[0].effect: Unsupported value: "Evict"'),
    ],
)
async def test_one_bad_device_invalidates_the_whole_slice(found: Object, words: str) -> None:
    """The server says where the mistake is, and stores nothing."""
    async with api() as (_, client):
        answer = await client.call("POST", SLICES, resource_slice(found))
        assert (answer.status, answer.content["reason"]) == (422, "Invalid")
        assert words in answer.message
        assert 'ResourceSlice.resource.k8s.io "s" is invalid: ' in answer.message
        assert (await client.call("GET", SLICES)).content["items"] == []


@pytest.mark.parametrize(
    ("version", "tainted", "status"), [("1.36", False, 201), ("1.36", True, 422), ("1.34", True, 201)]
)
async def test_the_first_taint_halves_a_slice(version: str, tainted: bool, status: int) -> None:  # noqa: FBT001 - a parameter
    """A slice of 65 devices is valid only while none of them has a taint that the server keeps."""
    devices = [device(f"d{number}") for number in range(65)]
    if tainted:
        devices[3]["taints"] = [taint()]
    async with api(version=version) as (_, client):
        answer = await client.call("POST", SLICES, resource_slice(*devices))

    assert answer.status == status
    if status == 422:
        assert "spec.devices: Too many: 65: must have at most 64 items" in answer.message


async def test_taints_are_silently_dropped_before_1_36() -> None:
    """A driver has to compare the response with what it has sent."""
    async with api(version="1.35") as (_, client):
        answer = await client.call("POST", SLICES, resource_slice(device("a", taints=[taint()])))

    assert answer.status == 201
    assert answer.content["spec"]["devices"] == [device("a")]


async def test_a_gate_can_be_off_in_any_version() -> None:
    """An administrator may have turned a gate off."""
    content = resource_slice(device("a", allowMultipleAllocations=True, capacity={"m": {"value": "1"}}))
    async with api(gates=[]) as (_, client):
        answer = await client.call("POST", SLICES, content)

    assert answer.content["spec"]["devices"] == [device("a", capacity={"m": {"value": "1"}})]


@pytest.mark.parametrize("field", ["driver", "nodeName"])
async def test_driver_and_node_never_change(field: str) -> None:
    """A slice always belongs to the same driver and node."""
    async with api() as (server, _):
        client = Client(server, server.kubelet_token("node-1"))
        created = (await client.call("POST", SLICES, resource_slice())).content
        created["spec"][field] = "other.example.com"
        answer = await client.call("PUT", f"{SLICES}/s", created)

    assert f'spec.{field}: Invalid value: "other.example.com": field is immutable' in answer.message


async def test_devices_of_one_slice_have_distinct_names() -> None:
    """A name that appears twice is refused."""
    async with api() as (_, client):
        answer = await client.call("POST", SLICES, resource_slice(device("a"), device("a")))

    assert answer.message == 'ResourceSlice.resource.k8s.io "s" is invalid: spec.devices[1]: Duplicate value: "a"'

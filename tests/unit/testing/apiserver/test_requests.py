"""The fake API server answers as a real one does, so that what a driver learns from it is true in a cluster."""

import asyncio

import pytest

from hub.testing.apiserver import Fault
from tests.unit.testing.apiserver.apikit import NODE, SLICES, Client, api, device, resource_slice, taint


async def test_a_change_from_an_old_version_is_a_conflict() -> None:
    """A driver that has not seen the last change to a slice cannot overwrite it."""
    async with api() as (_, client):
        first = (await client.call("POST", SLICES, resource_slice(device("a")))).content
        changed = {**first, "spec": {**first["spec"], "devices": [device("b")]}}
        assert (await client.call("PUT", f"{SLICES}/s", changed)).status == 200
        late = await client.call("PUT", f"{SLICES}/s", first)

    assert (late.status, late.content["reason"]) == (409, "Conflict")
    assert "the object has been modified" in late.message


async def test_a_write_without_a_change_keeps_the_version() -> None:
    """A driver that writes a slice as it is changes nothing, so no watch reports it."""
    async with api() as (_, client):
        first = (await client.call("POST", SLICES, resource_slice(device("a")))).content
        again = (await client.call("PUT", f"{SLICES}/s", first)).content

    assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_second_object_with_a_name_is_refused() -> None:
    """A fixed name makes the creation of a slice safe to repeat."""
    async with api() as (_, client):
        await client.call("POST", SLICES, resource_slice())
        second = await client.call("POST", SLICES, resource_slice())

    assert (second.status, second.content["reason"]) == (409, "AlreadyExists")
    assert second.message == 'resourceslices.resource.k8s.io "s" already exists'


async def test_preconditions_protect_a_newer_object_from_deletion() -> None:
    """A slice that another process has recreated is not deleted by mistake."""
    async with api() as (_, client):
        await client.call("POST", SLICES, resource_slice())
        other = await client.call("DELETE", f"{SLICES}/s", {"preconditions": {"uid": "another"}})
        gone = await client.call("DELETE", f"{SLICES}/s")
        missing = await client.call("GET", f"{SLICES}/s")

    assert (other.status, gone.status, missing.status) == (409, 200, 404)


async def test_a_field_selector_selects_and_refuses_unknown_fields() -> None:
    """A kubelet deletes the slices of one driver on its node, and no others."""
    async with api() as (server, client):
        admin = Client(server, server.kubelet_token(NODE))
        for name, node in (("a", NODE), ("b", "node-2")):
            await admin.call("POST", SLICES, resource_slice(name=name, node=node))
        await admin.call("DELETE", f"{SLICES}?fieldSelector=spec.nodeName%3D{NODE}")
        left = (await client.call("GET", SLICES)).content["items"]
        unknown = await client.call("GET", f"{SLICES}?fieldSelector=spec.pool%3Da")

    assert [each["metadata"]["name"] for each in left] == ["b"]
    assert (unknown.status, unknown.message) == (400, 'field label not supported: "spec.pool"')


async def test_a_driver_has_only_its_permissions_and_its_node() -> None:
    """A driver cannot list claims, and cannot publish devices for another node."""
    async with api() as (_, client):
        listed = await client.call("GET", "/apis/resource.k8s.io/v1/resourceclaims")
        other = await client.call("POST", SLICES, resource_slice(node="node-2"))

    assert (listed.status, other.status) == (403, 403)
    assert 'cannot list resource "resourceclaims" in API group "resource.k8s.io"' in listed.message


async def test_a_revoked_token_is_unauthorized() -> None:
    """A driver whose token was replaced has to read the new one."""
    async with api() as (server, _):
        token = server.driver_token(NODE)
        client = Client(server, token)
        before = await client.call("GET", SLICES)
        server.access.revoke(token)
        after = await client.call("GET", SLICES)

    assert (before.status, after.status) == (200, 401)


async def test_a_fault_happens_once_to_the_request_that_it_concerns() -> None:
    """A test can let any request fail, and the next one succeeds."""
    async with api() as (server, client):
        server.faults.add(Fault(503, {"Retry-After": "1"}, method="POST"))
        read = await client.call("GET", SLICES)
        failed = await client.call("POST", SLICES, resource_slice())
        created = await client.call("POST", SLICES, resource_slice())

    assert (read.status, failed.status, created.status) == (200, 503, 201)


async def test_an_answer_can_be_lost_after_its_effect() -> None:
    """A driver that gets no response does not know whether its slice exists."""
    async with api() as (server, client):
        server.faults.add(Fault(lose=True))
        with pytest.raises(asyncio.IncompleteReadError):
            await client.call("POST", SLICES, resource_slice())
        again = await client.call("POST", SLICES, resource_slice())

    assert again.status == 409


async def test_a_node_takes_its_slices_with_it() -> None:
    """A slice whose owner is the node is deleted with the node."""
    async with api() as (server, client):
        uid = (await client.call("GET", f"/api/v1/nodes/{NODE}")).content["metadata"]["uid"]
        owner = {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": uid}
        content = resource_slice()
        content["metadata"]["ownerReferences"] = [owner]
        await client.call("POST", SLICES, content)
        await Client(server, server.kubelet_token(NODE)).call("DELETE", f"/api/v1/nodes/{NODE}")
        left = (await client.call("GET", SLICES)).content["items"]

    assert left == []


async def test_a_taint_gets_the_time_of_its_addition() -> None:
    """A driver that compares slices has to leave this time out."""
    async with api() as (_, client):
        answer = await client.call("POST", SLICES, resource_slice(device("a", taints=[taint()])))

    assert answer.content["spec"]["devices"][0]["taints"][0]["timeAdded"].endswith("Z")

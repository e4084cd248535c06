"""The watches of the fake API server report what a driver has to follow."""

from tests.unit.testing.apiserver.apikit import DRIVER, NODE, SLICES, Client, api, device, resource_slice

SELECTED = f"fieldSelector=spec.nodeName%3D{NODE},spec.driver%3D{DRIVER}"


async def test_a_watch_reports_every_change_after_its_version() -> None:
    """A driver that lists and then watches misses nothing in between."""
    async with api() as (server, client):
        version = (await client.call("GET", SLICES)).content["metadata"]["resourceVersion"]
        created = (await client.call("POST", SLICES, resource_slice())).content
        async with client.watch(f"resourceVersion={version}&{SELECTED}") as events:
            await client.call("PUT", f"{SLICES}/s", {**created, "spec": resource_slice(device("a"))["spec"]})
            await Client(server, server.kubelet_token(NODE)).call("DELETE", f"{SLICES}?{SELECTED}")
            seen = [await events.next() for _ in range(3)]

    assert [each and each["type"] for each in seen] == ["ADDED", "MODIFIED", "DELETED"]


async def test_a_watch_reports_nothing_of_other_nodes() -> None:
    """A watch's field selector works like a list's."""
    async with api() as (server, client), client.watch(f"resourceVersion=2&{SELECTED}") as events:
        admin = Client(server, server.kubelet_token(NODE))
        await admin.call("POST", SLICES, resource_slice(name="other", node="node-2"))
        await admin.call("POST", SLICES, resource_slice(name="own"))
        event = await events.next()

    assert event is not None
    assert event["object"]["metadata"]["name"] == "own"


async def test_a_watch_from_a_forgotten_version_ends_with_410() -> None:
    """A driver has to list again when the server has dropped the changes it asks for."""
    async with api() as (server, client):
        await client.call("POST", SLICES, resource_slice())
        server.watches.expire()
        async with client.watch("resourceVersion=1") as events:
            error, end = await events.next(), await events.next()

    assert error is not None
    assert (error["type"], error["object"]["code"]) == ("ERROR", 410)
    assert end is None


async def test_an_open_watch_can_expire() -> None:
    """The error 410 can also come within a watch."""
    async with api() as (server, client), client.watch(f"resourceVersion={server.store.version}") as events:
        while not server.watches.open:
            await client.call("GET", SLICES)
        server.watches.expire()
        error = await events.next()

    assert error is not None
    assert error["object"]["reason"] == "Expired"


async def test_a_watch_ends_after_its_time_with_bookmarks_before() -> None:
    """A driver continues from the version of the last bookmark."""
    async with api(bookmark_interval=0.001) as (server, client):
        query = f"resourceVersion={server.store.version}&allowWatchBookmarks=true&timeoutSeconds=0.05"
        async with client.watch(query) as events:
            seen = [event async for event in _all(events)]

    assert {each["type"] for each in seen} == {"BOOKMARK"}
    assert seen[-1]["object"]["metadata"]["resourceVersion"] == str(server.store.version)


async def _all(events):  # noqa: ANN001, ANN202 - of the test
    while event := await events.next():
        yield event

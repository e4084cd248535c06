"""How the hub responds over HTTP."""

import asyncio
import contextlib
import gzip
import json
from itertools import product

import psutil
from tornado.httpclient import AsyncHTTPClient

from hub.testing.waiting import wait_until
from tests.harness.operated import OperatedNode
from tests.harness.project import PROJECT


async def test_an_odd_file_affects_only_its_plugin(node: OperatedNode) -> None:
    """An unreadable file is a problem of its plugin, and everything else is shown; the plugin then replaces it."""
    before = await node.without_problems()
    stub = psutil.Process(next(plugin.process.pid for plugin in before.plugins if plugin.name == "stub"))
    stub.suspend()
    try:
        node.run_dir.report("stub").write_text("{}")
        said = await node.dphub("status", width=300)
        assert (said.code, "dphub.stub.json is not what this version" in said.out) == (1, True), said
        assert "rdma/hca" in said.out
        assert (await node.get("/metrics"))[0] == 200
    finally:
        stub.resume()
    await node.without_problems()


async def test_floods(node: OperatedNode) -> None:
    """Unauthenticated clients can use only limited memory and few connections, and the hub still answers."""
    # The hub closes the connection without reading the rest; whether its response arrives first is random.
    with contextlib.suppress(ConnectionError):
        code, _ = await node.get("/status", method="POST", body=b"x" * 1_000_000)
        assert code in {400, 405, 599}
    status = node.status()
    assert status
    host, _, port = status.hub.report.http.partition(":")
    streams = [await asyncio.open_connection(host, int(port)) for _ in range(200)]
    closed = await wait_until(lambda: sum(reader.at_eof() for reader, _ in streams) >= 100, "refused connections")
    assert closed
    for _, writer in streams:
        writer.close()
    await until_answered(node)


async def until_answered(node: OperatedNode) -> None:
    """Wait until the hub answers again, once the clients are gone."""
    for _ in range(100):
        code, _ = await node.get("/healthz")
        if code == 200:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the hub does not answer")


async def test_json_is_what_the_schema_says(node: OperatedNode) -> None:
    """`dphub status --json` and `/status` are the same document, which matches the published schema."""
    import jsonschema  # noqa: PLC0415 - slow to import, used here only

    node.stub_faults(unhealthy={"stub-2": "pulled out"})
    await node.dphub("reset", "stub-1")
    await node.status_until(lambda status: not status.ok, "a problem to report")
    schema = json.loads((PROJECT / "docs" / "status.schema.json").read_text())
    said = json.loads((await node.dphub("status", "--json")).out)
    code, text = await node.get("/status")
    for document in (said, json.loads(text)):
        jsonschema.validate(document, schema)
    assert (code, said.keys()) == (200, json.loads(text).keys())
    part = {"$schema": schema["$schema"], "$defs": schema["$defs"]}
    one = json.loads((await node.dphub("status", "stub", "--json")).out)
    jsonschema.validate(one, part | {"$ref": "#/$defs/PluginStatus"})
    devices = [json.loads(line) for line in (await node.dphub("devices", "--json")).out.splitlines()]
    for device in devices:
        jsonschema.validate(device, part | {"$ref": "#/$defs/DeviceStatus"})
    assert (one["name"], {device["plugin"] for device in devices}) == ("stub", {"gpu", "ib", "stub"})


async def test_the_status_is_packed(node: OperatedNode) -> None:
    """Clients that accept it get it compressed: thousands of devices are megabytes, requested every two seconds."""
    status = node.status()
    assert status
    client, url = AsyncHTTPClient(), f"http://{status.hub.report.http}/status"
    packed = await client.fetch(url, decompress_response=False, headers={"Accept-Encoding": "gzip, br"})
    plain = await client.fetch(url, decompress_response=False)
    assert (packed.headers["Content-Encoding"], "Content-Encoding" in plain.headers) == ("gzip", False)
    assert len(packed.body) < len(plain.body) / 3
    unpacked = json.loads(gzip.decompress(packed.body))
    assert unpacked["plugins"][0]["report"] == json.loads(plain.body)["plugins"][0]["report"]


async def test_other_addresses(node: OperatedNode) -> None:
    """The hub has no other addresses, and they accept only read requests."""
    code, text = await node.get("/admin")
    assert (code, "the paths are /, /status, /history, /metrics, /healthz and /readyz" in text) == (404, True)
    assert await node.get("/healthz") == (200, "ok\n")
    code, _ = await node.get("/status", method="POST", body="")
    assert code == 405


async def test_no_other_page_can_frame_it(node: OperatedNode) -> None:
    """Every response, even to a HEAD request, forbids browsers to show it in another site's page.

    Nor may that page load it as an image or a script, which succeeds or fails with the status code of /readyz.
    """
    status = node.status()
    assert status
    for method, path in product(("GET", "HEAD"), ("", "status", "readyz", "healthz", "metrics", "nothing")):
        url = f"http://{status.hub.report.http}/{path}"
        answer = await AsyncHTTPClient().fetch(url, method=method, raise_error=False)
        assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"], path
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin", path

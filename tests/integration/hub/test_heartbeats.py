"""Heartbeats of the plugins and of the hub, and the calls of the kubelet."""

import json
import os
import signal
import time

from hub.model.heartbeat import UNRESPONSIVE_AFTER
from hub.testing.waiting import wait_until
from tests.harness.operated import STUB, OperatedNode


async def test_every_plugin_reports_its_last_heartbeat(node: OperatedNode) -> None:
    """The status and a metric have the heartbeat's time, which advances as long as the plugin works."""
    said = json.loads((await node.dphub("status", "--json")).out)
    signs = {plugin["name"]: plugin["last_heartbeat"] for plugin in said["plugins"]}
    assert sorted(signs) == ["gpu", "ib", "stub"]
    assert all(time.time() - 60 < sign <= time.time() for sign in signs.values())
    assert await node.metric("dphub_plugin_last_heartbeat_timestamp_seconds", plugin="stub") >= signs["stub"]
    await node.next_heartbeat()
    document = json.loads((await node.get("/status"))[1])
    assert all(plugin["last_heartbeat"] > signs[plugin["name"]] for plugin in document["plugins"])


async def test_a_frozen_hub(node: OperatedNode) -> None:
    """Commands report a hub as dead if its sockets accept calls but never respond, and as running once it resumes."""
    assert node.hub
    node.hub.send_signal(signal.SIGSTOP)
    try:
        long_ago = time.monotonic_ns() - int((UNRESPONSIVE_AFTER + 1) * 1e9)
        os.utime(node.run_dir.hub_heartbeat, ns=(long_ago, long_ago))
        said = await node.dphub("status", width=300)
        text = f"the hub does not respond: the event loop of process {node.hub.pid} is blocked"
        assert (said.code, text in said.out) == (1, True), said
        document = json.loads((await node.dphub("status", "--json")).out)
        assert (document["hub"]["running"], document["hub"]["unresponsive"], document["ready"]) == (False, True, False)
        for command in (["health"], ["restart", "stub"]):
            said = await node.dphub(*command)
            assert (said.code, "does not respond" in said.err) == (2, True), said
    finally:
        node.hub.send_signal(signal.SIGCONT)
    await wait_until(lambda: node.run_dir.hub_heartbeat.stat().st_mtime_ns > long_ago, "a heartbeat of the hub")
    assert (await node.dphub("health")).code == 0
    assert (await node.dphub("status")).code == 0


async def test_streams_of_lists_are_counted(node: OperatedNode) -> None:
    """A stream is counted when it ends, with the way it ended; so calls of all of the kubelet's methods are counted."""
    assert await node.metric("dphub_rpc_duration_seconds_count", method="ListAndWatch") == 0
    await node.kubelet.restart()
    await node.kubelet.wait_for(STUB, 4)
    await node.next_heartbeat()
    ended = await node.metric("dphub_rpc_duration_seconds_count", method="ListAndWatch", code="CANCELLED")
    assert ended == await node.metric("dphub_rpc_duration_seconds_count", method="ListAndWatch") == 3


async def test_zero_problems_are_reported_too(node: OperatedNode) -> None:
    """All severities are present even without a problem, because a series that disappears cannot be queried."""
    _, text = await node.get("/metrics")
    for severity in ("error", "warning", "info"):
        assert f'dphub_problems{{severity="{severity}"}}' in text
    assert await node.metric("dphub_problems") == 0

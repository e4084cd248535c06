"""Another program on the node reports to the hub, on its socket, that a device cannot be used."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hub.testing.waiting import wait_until
from tests.harness.hub_process import MakeHub
from tests.harness.hub_process import wait_until as wait
from tests.harness.operated import OperatedNode

_ASK = """
import contextlib, os, socket, sys
{}
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1])
with contextlib.suppress(BrokenPipeError):
    client.sendall(b'{{"device": "GPU-1", "source": "x", "reason": "y"}}\\n')
print(client.makefile().readline())
"""
"""A client that accepts a refusal even before it has sent its request."""


def _ask(path: Path, **request: object) -> str:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(path))
        client.sendall(json.dumps(request).encode() + b"\n")
        answer = json.loads(client.makefile().readline())
    assert answer["ok"], answer
    return str(answer["message"])


async def test_a_device_comes_and_goes_with_a_report(node: OperatedNode) -> None:
    """The status shows the device as unhealthy, with the source, until the program withdraws the report."""

    def reasons() -> list[str]:
        plugin = node.plugin("stub")
        assert plugin
        return [each.reason for resource in plugin.report.resources for each in resource.devices if not each.healthy]

    path = node.run_dir.external_socket
    assert _ask(path, device="stub-1", source="memory-test", reason="row 7 is bad") == "stored"
    await wait_until(lambda: reasons() == ["reported by memory-test: row 7 is bad"], "the device to be unhealthy")
    assert _ask(path, device="stub-1", source="memory-test", withdraw=True) == "withdrawn"
    await wait_until(lambda: not reasons(), "the device to be healthy")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_is_refused(make_hub: MakeHub) -> None:
    """The kernel refuses the connection, and so does the hub if the permissions of the socket were changed."""
    hub = make_hub("[watcher:a]\ncmd = sleep 1000\n").start()
    hub.wait_plugins("a")
    path = hub.run_dir / "external.sock"
    wait(path.is_socket, "the socket")
    code = _ASK.format("os.setgid(65534); os.setuid(65534)")
    hub.directory.chmod(0o755)
    found = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)
    assert "PermissionError" in found.stderr
    hub.run_dir.chmod(0o755)
    path.chmod(0o666)
    found = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert json.loads(found.stdout)["message"].startswith("only root can use this socket, not user ")
    assert hub.wait_event("external request rejected")["user"] == 65534
    assert not (hub.run_dir / "external").exists()

"""A stub whose resets fail, and are retried at short intervals."""

import pytest

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.model.plugin import DeviceStatus
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB, PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.node import Node, dialled

QUICK = (
    "from hub.api.health import ResetRetryPolicy\n"
    "from plugins.stub import Stub\n"
    "class P(Stub):\n"
    "    reset_retry = ResetRetryPolicy(interval=0.1, max_interval=0.2, startup_delay={settling})\n"
)

CONFIG = "{reset: true, reset_timeout: 5}"


async def resetting_plugin(
    node: Node, kubelet: FakeKubelet, *, settling: float = 0, devices: int = 4, more: str = "", config: str = CONFIG
) -> PluginProcess:
    """Start the stub with resets, and wait until the kubelet can allocate its devices."""
    plugin = node.start_plugin(node.write_plugin(QUICK.format(settling=settling) + more), config=config)
    await kubelet.wait_for(STUB, devices)
    return plugin


async def fail_resets(node: Node, *devices: str, times: int = 3) -> None:
    """Request this many resets of each device; each of them must fail."""
    for device in devices:
        for _ in range(times):
            async with dialled(node.sockets()[0]) as client:
                with pytest.raises(Exception, match=f"reset of {device}"):
                    await client.PreStartContainer(wire.PreStartContainerRequest(devices_ids=[device]))


def reset_count(plugin: PluginProcess, outcome: str) -> int:
    """Return how many resets had this outcome, according to the report."""
    state = plugin.state()
    return state.reset_counts.get(outcome, 0) if state else 0


async def until_failed(plugin: PluginProcess, times: int) -> None:
    """Wait until this many resets have failed."""
    await wait_until(lambda: reset_count(plugin, "failed") >= times, f"{times} failures")


def device_of(plugin: PluginProcess, n: int = 0) -> DeviceStatus | None:
    """Return a device as it is in the report; None if it is not there yet."""
    resource = plugin.resource()
    return resource.devices[n] if resource and len(resource.devices) > n else None

"""The GPU plugin with quick probes, and the reasons that it reports."""

from hub.model.plugin import DeviceStatus
from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.gpu_support import GPU, GpuNode

QUICK = "dphub: {health: {interval: 0.1, stable_for: 0}}"
CALM = "dphub: {health: {interval: 1000, stable_for: 1000}}"
"""Settings with which no probe and no recovery happens during the test."""


async def until_reported(plugin: PluginProcess, uuid: str, words: str) -> DeviceStatus:
    """Wait until a device's reason contains these words, and return the device."""

    def reported() -> DeviceStatus | None:
        state = plugin.state()
        devices = [device for resource in state.resources for device in resource.devices] if state else []
        return next((device for device in devices if device.id == uuid and words in device.reason), None)

    return await wait_until(reported, words)


async def start(gpus: GpuNode, kubelet: FakeKubelet, config: str = QUICK, **env: str) -> PluginProcess:
    """Start the plugin, and wait until the kubelet can allocate all GPUs."""
    plugin = gpus.start(config, **env)
    await kubelet.wait_for(GPU, len(gpus.driver.gpus))
    return plugin

"""The health of Intel GPUs as xpumd reports it and a kubelet sees it."""

from hub.testing.kubelet import FakeKubelet
from tests.harness.node import Node
from tests.integration.intel.test_plugin import I915, intel_root, start_intel
from tests.simulators.inteltree import two_flex
from tests.simulators.xpumd import Severity, Xpumd

FIRST, SECOND = "0000:4d:00.0", "0000:b7:00.0"


async def test_a_gpu_that_xpumd_reports(node: Node, kubelet: FakeKubelet) -> None:
    """This GPU is not allocated, and the log says why; without xpumd, or while it hangs, GPUs are allocated."""
    root = intel_root(node)
    two_flex(root)
    plugin = start_intel(node, xpumd_endpoint="/run/xpumd.sock")
    await kubelet.wait_for(I915, 2)
    async with Xpumd(root / "run/xpumd.sock") as xpumd:
        await xpumd.report({FIRST: [("memory", Severity.FAILED, "EccErrors")], SECOND: [("memory", Severity.OK, "ok")]})
        plugin.hup()
        line = await plugin.logged("devices unhealthy")
        assert line["reason"] == "xpumd reports memory: failed (EccErrors)"
        await kubelet.wait_for(I915, 1)
        assert {device.id for device in kubelet.devices(I915) if device.healthy} == {SECOND}
        await kubelet.admit("job", {I915: 1})

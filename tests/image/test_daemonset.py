"""The DaemonSet's pod, as its manifest describes it, with this image in it."""

from pathlib import Path

from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from tests.image.manifest import pod_of, read_base
from tests.image.pod import GRACE, StartPod


async def test_its_pod_serves_a_node(node: Path, start_pod: StartPod) -> None:
    """The manifest's mounts, arguments and privileges suffice: resources register, and the probes succeed."""
    manifest = read_base()
    wanted = pod_of(manifest, node / "host")
    async with FakeKubelet(node / "host/var/lib/kubelet/device-plugins") as kubelet:
        pod = start_pod(wanted)
        await kubelet.wait_until(lambda kubelet: {"nvidia.com/gpu", "rdma/hca"} <= kubelet.capacity().keys(), GRACE)
        (hub,) = manifest["spec"]["template"]["spec"]["containers"]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            code, said = await pod.exec(*hub[probe]["exec"]["command"])
            assert code == 0, said
        assert await pod.exec("dphub", "health") == (0, "ok\n")
        code, said = await pod.exec("dphub", "start", "stub")
        assert code == 0, said
        await kubelet.wait_for(STUB, 4, GRACE)
        await kubelet.admit("trainer", {STUB: 2})
        pod.signal("TERM")
        assert await pod.ended(manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]) == 0, pod.log

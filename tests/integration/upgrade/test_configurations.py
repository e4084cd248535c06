"""A node's label selects a different configuration: one DaemonSet's pod terminates while another's is starting."""

import pytest

from tests.harness.operated import GPU, HCA, STUB, OperatedNode

SHARED = f"{GPU}.shared"
SHARING = """
sharing: {timeSlicing: {renameByDefault: true, resources: [{name: nvidia.com/gpu, replicas: 2}]}}
dphub: {health: {interval: 0.2, stable_for: 0, driver_timeout: 5}}
"""


@pytest.mark.parametrize("at_once", [True, False], ids=["at-once", "one-after-the-other"])
async def test_the_pod_of_another_configuration_takes_over(node: OperatedNode, at_once: bool) -> None:  # noqa: FBT001 - a parameter of the test
    """The new resources have all their devices, those of the old configuration have none, and the others are as before.

    The DaemonSet controller does not wait for one pod before it starts or ends the other.
    """
    older = node.hub
    assert older
    gpus = node.kubelet.capacity()[GPU].allocatable
    (node.directory / "gpu.yaml").write_text(SHARING)
    if at_once:
        await node.start_hub("hub-shared-x7k2p")
        older.terminate()
        assert await older.wait() == 0
    else:
        await node.stop_hub()
        await node.start_hub("hub-shared-x7k2p")
    await node.kubelet.wait_for(SHARED, 2 * gpus)
    await node.kubelet.wait_until(lambda kubelet: kubelet.capacity()[GPU].allocatable == 0)
    for resource in (SHARED, HCA, STUB):
        await node.kubelet.wait_until(lambda kubelet, name=resource: kubelet.capacity()[name].allocatable > 0)
    pod = await node.kubelet.admit("after", {SHARED: 1, HCA: 1, STUB: 1})
    assert len(pod.containers["main"].allocations) == 3

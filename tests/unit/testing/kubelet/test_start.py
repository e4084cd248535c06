"""The fake kubelet announces the start of containers as a real one does."""

import asyncio

import grpc.aio
import pytest

from hub.testing.kubelet import AdmissionError, ContainerStartError
from hub.testing.plugin import STUB
from hub.testing.scripted import devices, hang, refuse
from tests.harness.kubelet import node

OTHER = "example.com/other"


async def test_prestart_is_called_at_every_start() -> None:
    """The plugins that request it are notified, with all ids that the container holds."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(2), pre_start=True)
        silent = await it.plugin(OTHER, "other.sock", listed=devices(1), pre_start=False)
        pod = await it.kubelet.admit("pod", {STUB: 2, OTHER: 1})
        await it.kubelet.start_container(pod)
        assert [sorted(entry.devices_ids) for entry in plugin.requests("PreStartContainer")] == [["d0", "d1"]] * 2
        assert silent.requests("PreStartContainer") == []


async def test_a_refused_start_leaves_the_pod_its_devices() -> None:
    """The container does not run; a later start may succeed."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(2), pre_start=True)
        accept, plugin.on_pre_start = plugin.on_pre_start, refuse(grpc.StatusCode.INTERNAL, "reset failed")
        with pytest.raises(ContainerStartError, match=r"PreStartContainer rpc failed .*desc = reset failed") as caught:
            await it.kubelet.admit("pod", {STUB: 2})
        pod = it.kubelet.pods["default/pod"]
        assert caught.value.pod is pod
        main = pod.containers["main"]
        assert (main.started, main.error) == (False, caught.value.message)
        with pytest.raises(AdmissionError, match="Available: 0"):
            await it.kubelet.admit("next", {STUB: 1})
        plugin.on_pre_start = accept
        await it.kubelet.start_container(pod)
        assert (main.started, main.error) == (True, "")


async def test_one_container_that_does_not_start_leaves_the_others_running() -> None:
    """The error names it."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(2), pre_start=True)
        plugin.on_pre_start = refuse(grpc.StatusCode.INTERNAL, "no")
        with pytest.raises(ContainerStartError, match="pod default/pod, container bad: "):
            await it.kubelet.admit("pod", containers={"bad": {STUB: 1}, "good": {}})
        assert it.kubelet.pods["default/pod"].containers["good"].started


@pytest.mark.fake_kubelet("the deadline is shorter")
async def test_prestart_has_a_deadline_and_delays_no_other_pod() -> None:
    """The deadline is 30 s with a real kubelet."""
    async with node(pre_start_timeout=0.5) as it:
        plugin = await it.plugin(listed=devices(2), pre_start=True)
        plugin.on_pre_start = hang
        plugin.called.clear()
        slow = asyncio.create_task(it.kubelet.admit("slow", {STUB: 1}))
        await it.kubelet.wait_until(lambda kubelet: "default/slow" in kubelet.pods)
        await it.kubelet.admit("next")
        with pytest.raises(ContainerStartError, match="code = DeadlineExceeded"):
            await slow


async def test_after_a_restart_prestart_is_skipped_until_the_plugin_is_back() -> None:
    """The kubelet does not know its options yet, and lets the container start."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(1), pre_start=True)
        pod = await it.kubelet.admit("pod", {STUB: 1})
        await it.kubelet.restart()
        await it.kubelet.start_container(pod)
        assert len(plugin.requests("PreStartContainer")) == 1


async def test_a_container_does_not_start_while_its_plugin_is_gone() -> None:
    """Its plugin requested the PreStartContainer call, and cannot be called."""
    async with node() as it:
        plugin = await it.plugin(listed=devices(1), pre_start=True)
        pod = await it.kubelet.admit("pod", {STUB: 1})
        await plugin.close()
        await it.kubelet.wait_for(STUB, allocatable=0)
        with pytest.raises(ContainerStartError, match=r"endpoint .* has been stopped"):
            await it.kubelet.start_container(pod)

"""What commands print in odd situations: hostile strings, dead hubs, narrow terminals and unknown devices."""

import json
import os
import re
import time

import pytest

from hub.status.reader import Reader
from hub.testing.waiting import wait_until
from tests.harness.operated import GPU, HCA, STUB, OperatedNode, operated

QUICK = {"gpu.yaml": "dphub: {health: {interval: 0.2, stable_for: 0}}"}


def _flaps(node: OperatedNode) -> bool:
    gpu = node.plugin("gpu")
    return bool(gpu) and "flapping" in {
        device.source for resource in gpu.report.resources for device in resource.devices
    }


async def _until_it_flaps(node: OperatedNode, total: int) -> None:
    """Make the first GPU fail and recover until its recoveries are no longer trusted."""
    while not _flaps(node):
        seen = len(node.kubelet.lists(GPU))
        node.gpus.xid(0, 12)
        await wait_until(lambda seen=seen: len(node.kubelet.lists(GPU)) > seen, "the GPU to be unhealthy")
        await wait_until(
            lambda: node.kubelet.capacity()[GPU].allocatable == total or _flaps(node), "the GPU to be healthy"
        )


@pytest.mark.parametrize("replicas", [1, 2])
async def test_a_gpu_that_flaps_is_released(replicas: int) -> None:
    """The GPU is unhealthy until it is released by its UUID or PCI address, as one device or as several shares."""
    sharing = "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 2}]}}\n" if replicas > 1 else ""
    files = {"gpu.yaml": f"version: v1\n{sharing}{QUICK['gpu.yaml']}"}
    total = 8 * replicas
    async with operated(files=files, wanted={GPU: total}) as node:
        await _until_it_flaps(node, total)
        gpu = node.gpus.gpus[0]
        status = await node.dphub("status", "gpu")
        assert f"dphub uncordon {gpu.uuid}" in status.out
        released = await node.dphub("uncordon", gpu.pci.lower()[-12:])
        assert released.code == 0, released
        await node.kubelet.wait_for(GPU, total)


async def test_external_text_is_shown_unchanged() -> None:
    """Text that looks like markup is shown unchanged, and nothing that would move the cursor reaches the terminal."""
    async with operated() as node:
        said = await node.dphub("cordon", "stub-1", "--reason", "see [/ticket] [red]now \x1b[2J")
        assert said.code == 0, said
        for command in (["status"], ["status", "stub"], ["devices"]):
            shown = await node.dphub(*command)
            assert shown.code == 0, shown
            assert "\x1b" not in shown.out
        assert "see [/ticket] [red]now" in (await node.dphub("status")).out
        refused = await node.dphub("cordon", "stub-2", "--reason", "x" * 501)
        assert (refused.code, "at most 500" in refused.err) == (2, True)


async def test_a_hub_that_was_killed() -> None:
    """All output is marked as the last known state, and the exit code differs from a healthy node's."""
    async with operated() as node:
        assert node.hub
        node.hub.kill()
        await node.hub.wait()
        for command in (["status"], ["status", "stub"]):
            shown = await node.dphub(*command)
            assert shown.code == 1
            _is_marked_as_past(shown.out)
        listed = await node.dphub("devices")
        assert (listed.code, listed.err) == (1, ""), listed
        _is_marked_as_past(listed.out)
        assert "stub-3" in listed.out
        status = json.loads((await node.dphub("status", "--json")).out)
        assert (status["hub"]["running"], status["hub"]["last_heartbeat"] <= status["time"]) == (False, True)
        assert json.loads((await node.dphub("status", "stub", "--json")).out)["hub_running"] is False
        lines = (await node.dphub("devices", "stub", "--json")).out.splitlines()
        assert [json.loads(line)["hub_running"] for line in lines] == [False] * 4


async def test_the_devices_of_a_hub_that_was_stopped() -> None:
    """After a clean stop, the devices are still listed, as the last known state."""
    async with operated() as node:
        await node.stop_hub()
        listed = await node.dphub("devices")
        _is_marked_as_past(listed.out)
        assert "stub-3" in listed.out
        assert "stub-3" in (await node.dphub("devices", "stub-3")).out
        _is_marked_as_past((await node.dphub("status")).out)


def _is_marked_as_past(shown: str) -> None:
    """Check that the first line marks the state as past and gives its age, and that the problem and remedy follow."""
    first, *others = shown.splitlines()
    assert re.fullmatch(r"Last known state, \d+ (s|min( \d+ s)?) old: the hub is not running\.", first), shown
    assert re.search(r"hub\s+the hub is not running\s+→ start one with dphub run", " ".join(others)), shown


async def test_how_old_the_last_known_state_is() -> None:
    """The age is counted from the hub's last heartbeat, or from its file if the heartbeat is from an earlier boot."""
    async with operated() as node:
        await node.stop_hub()
        minutes_ago = time.time() - 3 * 60 - 5
        os.utime(node.run_dir.hub_report, (minutes_ago, minutes_ago))
        node.run_dir.hub_heartbeat.unlink()
        status = Reader(node.run_dir).status(running=False)
        assert status.hub.last_heartbeat == pytest.approx(max(minutes_ago, status.hub.report.started), abs=1)
        future = time.monotonic_ns() + 10**15
        node.run_dir.hub_heartbeat.touch()
        os.utime(node.run_dir.hub_heartbeat, ns=(future, future))
        assert Reader(node.run_dir).status(running=False).hub.last_heartbeat == status.hub.last_heartbeat


async def test_a_plugin_without_a_kubelet_is_not_ready() -> None:
    """The plugin's status gives the reason, and the exit code says that the node is not ready."""
    async with operated() as node:
        await node.kubelet.stop()
        await node.status_until(lambda status: not status.ok, "the missing kubelet in the status")
        shown = await node.dphub("status", "stub")
        assert (shown.code, "there is no kubelet" in shown.out) == (1, True)


async def test_devices_of_a_plugin_that_does_not_run() -> None:
    """These devices are not just left out: the output says why they are unknown."""
    async with operated() as node:
        assert (await node.dphub("stop", "stub")).code == 0
        refused = await node.dphub("cordon", "stub-1")
        assert refused.code == 2
        words = "the devices of stub are unknown (stopped; start it with dphub start stub)"
        assert words in refused.err
        for wanted in ([], ["stub"]):
            assert (await node.dphub("devices", *wanted)).err == f"Incomplete: {words}.\n"


async def test_a_device_whose_file_is_missing() -> None:
    """The command says, as the status does, that no container with the device can start."""
    async with operated() as node:
        node.rewrite("stub.yaml", "resources: [{devices: 2, nodes: [{host_path: /dev/no-such-file}]}]")
        assert (await node.dphub("restart", "stub")).code == 0
        await node.status_until(lambda status: bool(status.plugins[2].report.resources[0].warnings), "the warning")
        said = await node.dphub("devices", "stub-1", width=200)
        words = "/dev/no-such-file does not exist, so no container with device stub-0, stub-1 can start"
        assert re.search(f"^warning +{words}$", said.out, re.MULTILINE), said.out


async def test_what_a_script_reads() -> None:
    """Ids and addresses are in one piece, allocated and missing devices are listed, and nonsense is refused."""
    async with operated() as node:
        listed = await node.dphub("devices", width=60)
        for gpu in node.gpus.gpus:
            assert gpu.uuid in listed.out
        pod = await node.kubelet.admit("job", {HCA: 1})
        (device,) = pod.held(HCA)
        name = node.hcas.name_of(device)
        node.hcas.remove(name)
        devices = node.kubelet.devices
        await wait_until(
            lambda: device not in {each.id for each in devices(HCA) if each.healthy}, "the HCA to disappear"
        )
        lines = [json.loads(line) for line in (await node.dphub("devices", HCA, "--json")).out.splitlines()]
        (gone,) = [line for line in lines if line["id"] == device]
        assert (gone["healthy"], gone["holder"]) == (False, "default/job/main")
        for command in (["devices", "--json", "--watch"], ["status", "--json", "--watch"], ["logs", "-n", "-5"]):
            assert (await node.dphub(*command)).code == 2


async def test_a_narrow_terminal() -> None:
    """No line is wider than the terminal, and no word is broken."""
    async with operated() as node:
        await node.dphub("cordon", "stub-1", "--reason", "the fan is loud")
        shown = await node.dphub("status", width=50)
        assert max(map(len, shown.out.splitlines())) <= 50
        for word in ("condition", "registered", "registration", "allocated", STUB, "cordoned"):
            assert word in shown.out
        shown = await node.dphub("devices", width=50)
        assert max(map(len, shown.out.splitlines())) <= 50
        assert "cordoned: the fan is loud" in " ".join(shown.out.split())

"""The hub in a pod: a read-only root file system, no capability, and a kubelet outside."""

import json
import time
from pathlib import Path

from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import STUB
from hub.testing.waiting import wait_until
from tests.image.pod import GRACE, ContainerSpec, Image, StartPod

RESOURCES = {"nvidia.com/gpu", "rdma/hca", STUB}

OWN_PLUGIN = '''
"""Serves what the circus.ini in the same directory specifies."""

from hub import Device, Plugin


class Own(Plugin):
    resource = "example.com/own"

    def devices(self):
        yield Device("own-0")
'''
OWN_CONFIG = """
[watcher:own]
cmd = python -m hub.plugin own.py:Own
"""


def _listed(kubelet: FakeKubelet) -> set[str]:
    """Return the resources that the running kubelet knows."""
    return {update.resource for update in kubelet.lists() if update.start == kubelet.starts}


async def _all_listed(kubelet: FakeKubelet) -> None:
    await kubelet.wait_until(lambda kubelet: _listed(kubelet) >= RESOURCES, GRACE, "every resource")


async def test_registration_allocation_restart_and_stop(
    kubelet: FakeKubelet, start_pod: StartPod, volumes: dict[str, Path], node: Path
) -> None:
    """All resources register, a pod gets its devices, and the hub survives a kubelet restart and exits on SIGTERM."""
    pod = start_pod(ContainerSpec(volumes=volumes))
    await kubelet.wait_for(STUB, 4, GRACE)
    await _all_listed(kubelet)
    admitted = await kubelet.admit("trainer", {STUB: 2})
    assert admitted.containers["main"].response.envs == {"STUB_DEVICES": "stub-0,stub-1"}

    await kubelet.restart()
    await _all_listed(kubelet)
    await kubelet.wait_for(STUB, 4, GRACE)

    begin = time.monotonic()
    pod.signal("TERM")
    assert await pod.ended(GRACE) == 0, pod.log
    assert time.monotonic() - begin < GRACE / 2
    assert not [path.name for path in (node / "device-plugins").glob("dphub*")]


async def test_it_writes_nowhere_but_in_its_volumes(
    kubelet: FakeKubelet, start_pod: StartPod, volumes: dict[str, Path]
) -> None:
    """Even where the hub could write to its root file system, it writes neither bytecode nor temporary files."""
    pod = start_pod(ContainerSpec(volumes=volumes, read_only=False))
    await kubelet.wait_for(STUB, 4, GRACE)
    await _all_listed(kubelet)
    await kubelet.admit("trainer", {STUB: 2})
    assert (await pod.exec("dphub", "status"))[0] == 0
    pod.signal("TERM")
    assert await pod.ended(GRACE) == 0, pod.log
    assert pod.written() == []


async def test_a_pod_that_can_only_read_asks_the_hub(
    kubelet: FakeKubelet, start_pod: StartPod, volumes: dict[str, Path]
) -> None:
    """The pod of `helm test` does so: it has no capability, and mounts only the run directory, read-only."""
    start_pod(ContainerSpec(volumes=volumes))
    await kubelet.wait_for(STUB, 4, GRACE)
    await _all_listed(kubelet)
    run = {"/run/dphub": volumes["/run/dphub"]}
    test = start_pod(ContainerSpec(args=["status"], volumes=run, read_only_volumes=frozenset(run)))
    assert await test.ended(GRACE) == 0, test.output
    assert "No problems found" in test.output


async def test_commands_work_by_exec(kubelet: FakeKubelet, start_pod: StartPod, volumes: dict[str, Path]) -> None:
    """`kubectl exec` finds dphub by its name, and the output is about this node, including the pods."""
    pod = start_pod(ContainerSpec(volumes=volumes))
    await kubelet.wait_for(STUB, 4, GRACE)
    await _all_listed(kubelet)
    await kubelet.admit("trainer", {STUB: 1})
    code, shown = await pod.exec("dphub", "status")
    assert code == 0, shown
    assert "No problems" in shown
    assert "default/trainer" in (await pod.exec("dphub", "devices"))[1]


async def test_the_health_check_distinguishes_a_running_hub_from_a_hung_one(
    kubelet: FakeKubelet, start_pod: StartPod, volumes: dict[str, Path], image: Image
) -> None:
    """The image's own health check passes while the hub answers, and fails within its time limit if it hangs."""
    check = image.config["Healthcheck"]
    kind, *command = check["Test"]
    assert kind == "CMD"
    pod = start_pod(ContainerSpec(volumes=volumes))
    await kubelet.wait_for(STUB, 4, GRACE)
    assert await pod.exec(*command) == (0, "ok\n")

    hub = pod.processes()[0]
    hub.suspend()
    begin = time.monotonic()
    code, said = await pod.exec(*command)
    assert code != 0, said
    assert time.monotonic() - begin < check["Timeout"] / 1e9
    hub.resume()
    assert await pod.exec(*command) == (0, "ok\n")


async def test_processes_without_a_parent_leave_no_zombie(
    kubelet: FakeKubelet, start_pod: StartPod, volumes: dict[str, Path]
) -> None:
    """The hub is the first process of its pod, so it reaps every process there whose parent has exited."""
    pod = start_pod(ContainerSpec(volumes=volumes))
    await _all_listed(kubelet)
    before = {process.pid for process in pod.processes()}
    assert len(before) == 1 + len(RESOURCES)
    assert await pod.exec("sh", "-c", "sleep 1000 >/dev/null 2>&1 &") == (0, "")
    (orphan,) = (process for process in pod.processes() if process.pid not in before)
    assert orphan.ppid() == pod.processes()[0].pid
    orphan.kill()
    await wait_until(lambda: {process.pid for process in pod.processes()} == before, "the end of the orphan")


async def test_a_mounted_directory_brings_configuration_and_plugins(
    kubelet: FakeKubelet, start_pod: StartPod, volumes: dict[str, Path], node: Path
) -> None:
    """A circus.ini in /etc/dphub replaces the shipped one, and plugins next to it are found."""
    mounted = node / "config"
    mounted.mkdir()
    (mounted / "circus.ini").write_text(OWN_CONFIG)
    (mounted / "own.py").write_text(OWN_PLUGIN)
    start_pod(ContainerSpec(volumes={**volumes, "/etc/dphub": mounted}))
    await kubelet.wait_for("example.com/own", 1, GRACE)
    assert set(kubelet.capacity()) == {"example.com/own"}


async def test_the_demo_runs_in_it(start_pod: StartPod) -> None:
    """`dphub demo` needs nothing but a temporary directory."""
    pod = start_pod(ContainerSpec(args=["demo", "--json"], scratch=["/tmp"]))  # noqa: S108 - the pod's
    assert await pod.ended(100) == 0, pod.log
    document = json.loads(pod.output)
    assert document["ok"] is True
    assert len(document["steps"]) > 1

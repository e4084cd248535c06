"""GPUs shared by MPS: a control daemon for each resource, which outlives the plugin."""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.gpu_support import GPU, GpuNode, answer
from tests.harness.node import Node, random_source
from tests.simulators.nvml.library import HERE as SIMULATOR

PROGRAM = SIMULATOR / "nvidia-cuda-mps-control"


def _config(replicas: int = 2, name: str = GPU, devices: object = "all") -> str:
    entry = f"{{name: {name}, replicas: {replicas}, devices: {devices}}}"
    return (
        f"version: v1\nsharing: {{mps: {{resources: [{entry}]}}}}\ndphub: {{health: {{interval: 0.2, stable_for: 0}}}}"
    )


class MpsNode(GpuNode):
    """A node with NVIDIA's MPS program, and the commands that its daemons received."""

    def __init__(self, node: Node, profile: str = "pair") -> None:
        super().__init__(node, profile)
        shutil.copy(PROGRAM, self.root / "usr/bin")
        self._root = self.root / "run/nvidia/mps"

    def daemon(self, resource: str = GPU) -> int:
        """Return the process of a resource's daemon; 0 if there is none."""
        with suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
            pid = int((self._root / resource / "pipe/nvidia-cuda-mps-control.pid").read_text())
            return pid if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE else 0
        return 0

    def commands(self) -> list[str]:
        """Return the commands, without those that check whether the daemon is running."""
        journal = self.root / "simulator/mps-journal"
        lines = journal.read_text().splitlines() if journal.exists() else []
        return [line for line in lines if "get_" not in line]

    def order(self, action: str) -> None:
        """Make the program `fail` or `hang`, or work if there is no argument."""
        path = self.root / "simulator/mps-orders"
        if action:
            path.write_text(action)
        else:
            path.unlink(missing_ok=True)


@pytest.fixture
def gpus(node: Node) -> Iterator[MpsNode]:
    """Create a node with two GPUs; no daemons remain afterwards."""
    gpus = MpsNode(node)
    yield gpus
    for plugin in node.plugins:
        plugin.kill()
    gpus.end_daemons()


async def _unhealthy(plugin: PluginProcess, words: str, resource: str = GPU) -> None:
    await plugin.resource_until(
        lambda state: bool(state.devices) and all(words in device.reason for device in state.devices), resource
    )


async def test_a_daemon_and_its_limits(gpus: MpsNode, kubelet: FakeKubelet) -> None:
    """The daemon is started, each client has its part of memory and threads, and the GPUs are in exclusive mode."""
    gpus.start(_config(4))
    await kubelet.wait_for(GPU, 8)
    assert gpus.daemon()
    assert gpus.commands() == [
        "gpu set_default_device_pinned_mem_limit 0 20480M",
        "gpu set_default_device_pinned_mem_limit 1 20480M",
        "gpu set_default_active_thread_percentage 25",
    ]
    assert [gpus.driver.value(number, "compute_mode") for number in range(2)] == [3, 3]
    got = answer(await kubelet.admit("client", {GPU: 1}))
    assert got.envs["CUDA_MPS_PIPE_DIRECTORY"] == "/mps/nvidia.com/gpu/pipe"
    mounts = {mount.container_path: mount.host_path for mount in got.mounts}
    assert (gpus.root / mounts["/mps/nvidia.com/gpu/pipe"].lstrip("/") / "control").is_socket()
    assert (gpus.root / mounts["/dev/shm"].lstrip("/")).is_dir()  # noqa: S108 - in the container


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
async def test_the_daemon_outlives_the_plugin(gpus: MpsNode, kubelet: FakeKubelet, number: signal.Signals) -> None:
    """Running containers need the daemon; the next plugin process keeps using it, and repeats no command."""
    plugin = gpus.start(_config())
    await kubelet.wait_for(GPU, 4)
    daemon, commands = gpus.daemon(), gpus.commands()
    plugin.signal(number)
    await plugin.exited()
    gpus.start(_config())
    await kubelet.wait_for(GPU, 4)
    assert (gpus.daemon(), gpus.commands()) == (daemon, commands)
    assert len(gpus.daemons()) == 1


async def test_a_daemon_that_died(gpus: MpsNode, kubelet: FakeKubelet) -> None:
    """A daemon that has died is replaced by another one."""
    gpus.start(_config())
    await kubelet.wait_for(GPU, 4)
    daemon = gpus.daemon()
    os.kill(daemon, signal.SIGKILL)
    await wait_until(lambda: gpus.daemon() not in {0, daemon}, "another daemon")
    await kubelet.wait_for(GPU, 4)


async def test_a_daemon_that_cannot_be_started(gpus: MpsNode, kubelet: FakeKubelet) -> None:
    """The devices of its resource are unhealthy, with the program's error, until it can be started."""
    gpus.order("fail")
    plugin = gpus.start(_config())
    await _unhealthy(plugin, "MPS: nvidia-cuda-mps-control failed (exit code 1): MPS is out of order")
    await kubelet.wait_for(GPU, 0)
    gpus.order("")
    await kubelet.wait_for(GPU, 4)
    assert len(plugin.lines("mps failed")) == 1


async def test_a_program_that_is_missing(gpus: MpsNode, kubelet: FakeKubelet) -> None:
    """The reason is clear, and is reported for this resource alone."""
    (gpus.root / "usr/bin/nvidia-cuda-mps-control").unlink()
    plugin = gpus.start(_config(devices="[0]").replace("replicas: 2", "replicas: 2, rename: nvidia.com/part"))
    await _unhealthy(plugin, "MPS: nvidia-cuda-mps-control is missing on this node", "nvidia.com/part")
    await kubelet.wait_for(GPU, 1)


async def test_a_program_that_hangs(gpus: MpsNode, kubelet: FakeKubelet) -> None:
    """Scans and allocations continue; the reason says what does not answer."""
    plugin = gpus.start(_config(devices="[0]").replace("replicas: 2", "replicas: 2, rename: nvidia.com/part"))
    await kubelet.wait_for("nvidia.com/part", 2)
    gpus.order("hang")
    await _unhealthy(plugin, "nvidia-cuda-mps-control did not finish within", "nvidia.com/part")
    await kubelet.admit("other", {GPU: 1})
    gpus.driver.xid(1, 94)
    await kubelet.wait_for(GPU, 0)


async def test_other_limits(gpus: MpsNode, kubelet: FakeKubelet) -> None:
    """A running daemon gets the new limits when the configuration has changed."""
    plugin = gpus.start(_config(2))
    await kubelet.wait_for(GPU, 4)
    daemon = gpus.daemon()
    await plugin.stop()
    gpus.start(_config(5))
    await kubelet.wait_for(GPU, 10)
    assert gpus.daemon() == daemon
    assert gpus.commands()[-1] == "gpu set_default_active_thread_percentage 20"


async def test_mps_that_is_no_longer_configured(gpus: MpsNode, kubelet: FakeKubelet) -> None:
    """The daemon of an earlier configuration is stopped, and the GPUs are available to all processes again."""
    plugin = gpus.start(_config())
    await kubelet.wait_for(GPU, 4)
    await plugin.stop()
    gpus.start("version: v1")
    await kubelet.wait_for(GPU, 2)
    await wait_until(lambda: not gpus.daemons(), "the daemon's exit")
    await wait_until(lambda: gpus.driver.value(1, "compute_mode") == 0, "the compute mode as before")
    assert gpus.commands()[-1] == "gpu quit"


@pytest.mark.parametrize("attack", ["limits of another GPU", "a zero byte in a name", "a pipe", "a link"])
async def test_what_a_container_writes_into_the_shared_memory(gpus: MpsNode, kubelet: FakeKubelet, attack: str) -> None:
    """No daemon or GPU is taken from such files: the settings of other GPUs stay, and daemons keep running."""
    marker = gpus.root / "run/nvidia/mps/shm/x/.dphub"
    marker.parent.mkdir(parents=True)
    names = {"limits of another GPU": gpus.uuids()[1], "a zero byte in a name": "a\0b"}
    if attack in names:
        marker.write_text(json.dumps({"gpus": {"1": names[attack]}, "memory": {}, "replicas": 1}))
    elif attack == "a pipe":
        os.mkfifo(marker)
    else:
        marker.symlink_to("/dev/zero")
    gpus.driver.set(1, compute_mode=2)
    gpus.start(_config(devices="[0]").replace("replicas: 2", "replicas: 2, rename: nvidia.com/part"))
    await kubelet.wait_for("nvidia.com/part", 2)
    assert gpus.driver.value(1, "compute_mode") == 2
    daemon = gpus.daemon("nvidia.com/part")
    os.kill(daemon, signal.SIGKILL)
    await wait_until(lambda: gpus.daemon("nvidia.com/part") not in {0, daemon}, "another daemon")
    assert gpus.driver.value(1, "compute_mode") == 2


async def test_more_clients_than_mps_serves(gpus: MpsNode, kubelet: FakeKubelet) -> None:
    """The number of replicas is checked against the maximum of the GPU's generation."""
    plugin = gpus.start(_config(49))
    await _unhealthy(plugin, "MPS serves at most 48 clients per NVIDIA H100 80GB HBM3, but replicas is 49")
    await kubelet.wait_for(GPU, 0)
    assert not gpus.daemons()


async def test_kills_at_any_moment(gpus: MpsNode, kubelet: FakeKubelet) -> None:
    """Plugin and daemon are killed in turn at random; in the end there is one daemon, with the right limits."""
    random = random_source()
    for _ in range(6):
        plugin = gpus.start(_config())
        with suppress(AssertionError):
            await wait_until(gpus.daemon, "a daemon", random.uniform(0.05, 0.6))
        if random.random() < 0.5 and (daemon := gpus.daemon()):
            os.kill(daemon, signal.SIGKILL)
        plugin.kill()
    gpus.start(_config())
    await kubelet.wait_for(GPU, 4)
    assert len(gpus.daemons()) == 1
    assert gpus.commands()[-1] == "gpu set_default_active_thread_percentage 50"

"""Virtual functions are reset before a container starts, in the order that the hardware requires."""

import asyncio
import os
import select
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from hub import ResetDevice, ResetFailed
from hub.reset.result import Outcome, ResetResult
from hub.reset.runner import ResetRunner
from hub.testing.kubelet import ContainerStartError, FakeKubelet, Pod
from hub.testing.plugin import PluginProcess
from hub.testing.waiting import WAIT_SECONDS, wait_until
from plugins.ib.reset import unbound
from plugins.ib.reset.settings import VfResetSettings, VfTimeouts
from tests.harness.node import Node
from tests.simulators.rdma.tree import RdmaTree

VF = "0000:07:00.1"
PATIENT = VfTimeouts(unbind=5, reset=5, bind=5, ready=5)
"""Limits that no step reaches."""


class Kernel:
    """A kernel that reacts to what is written into sysfs, where pipes stand for the files.

    Args:
        tree: The node.
    """

    def __init__(self, tree: RdmaTree) -> None:
        self.tree = tree
        self.did: list[str] = []
        self.ignored: set[str] = set()
        """The files that the kernel does not react to."""
        self.renames = False
        """Whether another device takes the function's number while it is unbound."""
        driver = tree.root / "sys/bus/pci/drivers/mlx5_core"
        self._pipes: dict[int, str] = {}
        # In the order in which a reset writes them, so that the first one is checked first.
        for path in (driver / "unbind", tree.root / "sys/bus/pci/devices" / VF / "reset", driver / "bind"):
            os.mkfifo(path)
            # Opened for writing as well, so that reading it does not end while no other process has it open.
            self._pipes[os.open(path, os.O_RDWR)] = path.name
        self._stop, self._stopping = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """Stop reacting."""
        os.close(self._stopping)
        self._thread.join()
        for file in (self._stop, *self._pipes):
            os.close(file)

    def _serve(self) -> None:
        while self._stop not in (ready := select.select([*self._pipes, self._stop], [], [])[0]):
            file = next(file for file in self._pipes if file in ready)
            file_name, text = self._pipes[file], os.read(file, 100).decode()
            if file_name not in self.ignored:
                self.did.append(file_name)
                self._react(file_name, text)

    def _react(self, file_name: str, text: str) -> None:
        name = self.tree.name_of(VF)
        if file_name == "unbind":
            assert text == VF
            self.tree.unbind(name)
            if self.renames:
                self.tree.add("mlx5_9", "0000:09:00.0")
        elif file_name == "bind":
            self.tree.bind(name)


@pytest.fixture
def kernel(node: Node) -> Iterator[Kernel]:
    """Create a node with a virtual function that is up, and a kernel that reacts to sysfs."""
    (node.directory / "root").mkdir()
    tree = RdmaTree(node.directory / "root")
    tree.add("mlx5_0", "0000:07:00.0")
    tree.add_vf("mlx5_1", VF, "mlx5_0", 0, state="ACTIVE")
    kernel = Kernel(tree)
    yield kernel
    kernel.close()


async def _reset(kernel: Kernel, pci: str = VF, limits: VfTimeouts = PATIENT) -> ResetResult:
    files = ("infiniband/uverbs1", "infiniband/umad2", "infiniband/rdma_cm", "vhost-net", "net/tun")
    device = ResetDevice(pci, [f"/dev/{file}" for file in files], str(kernel.tree.root))
    resetter = ResetRunner("plugins.ib.reset:reset", lambda: VfResetSettings(limits), term_timeout=0.1)
    return (await resetter.reset([device], 20))[pci]


async def test_the_steps_of_a_reset(kernel: Kernel) -> None:
    """The function is unbound, reset and bound; then the device is there again under the same names."""
    result = await _reset(kernel)
    assert result.outcome is Outcome.OK, result.message
    assert kernel.did == ["unbind", "reset", "bind"]
    assert (kernel.tree.root / "dev/infiniband/uverbs1").exists()


async def test_a_function_that_cannot_reset_itself(kernel: Kernel) -> None:
    """The driver is unbound and bound again, and nothing else is done."""
    (kernel.tree.root / "sys/bus/pci/devices" / VF / "reset_method").write_text("bus\n")
    assert (await _reset(kernel)).outcome is Outcome.OK
    assert kernel.did == ["unbind", "bind"]


async def test_a_physical_function(kernel: Kernel) -> None:
    """A physical function is never reset."""
    assert "it is a physical function" in (await _reset(kernel, "0000:07:00.0")).message
    assert kernel.did == []


def _open_by_a_process(kernel: Kernel, number: str = "1:3") -> Path:
    """Make a process hold /dev/null open, and give the function the device number of /dev/null, or another one."""
    directory = kernel.tree.root / "sys/bus/pci/devices" / VF / "infiniband_verbs/uverbs1"
    (directory / "dev").write_text(f"{number}\n")
    process = kernel.tree.root / "proc/4711"
    (process / "fd").mkdir(parents=True, exist_ok=True)
    (process / "comm").write_text("trainer\n")
    (process / "fd/3").unlink(missing_ok=True)
    (process / "fd/3").symlink_to("/dev/null")
    (process / "fdinfo").mkdir(exist_ok=True)
    with Path(os.devnull).open() as file:
        (process / "fdinfo/3").write_text(Path(f"/proc/self/fdinfo/{file.fileno()}").read_text())
    return process


async def test_a_function_that_is_open_elsewhere(kernel: Kernel) -> None:
    """The function is not reset, and the reason names the process; the name of the device file does not matter."""
    _open_by_a_process(kernel)
    assert "other processes have it open: process 4711 (trainer)" in (await _reset(kernel)).message
    assert kernel.did == []
    _open_by_a_process(kernel, "231:193")
    assert (await _reset(kernel)).outcome is Outcome.OK


async def test_processes_that_only_look_like_holders(kernel: Kernel) -> None:
    """Any user can choose the names of processes and files, so none of them keeps a function from being reset."""
    process = _open_by_a_process(kernel, "231:193")
    (process / "comm").write_bytes(b"\xff\xfe\n")
    (process / "fd" / os.fsdecode(b"\xff")).symlink_to(os.fsdecode(b"/tmp/\xff/dev/infiniband/uverbs1"))
    file = kernel.tree.root / "tmp/dev/infiniband/uverbs1"
    file.parent.mkdir(parents=True)
    file.touch()
    (process / "fd/4").symlink_to(file)
    os.mkfifo(kernel.tree.root / "tmp/pipe")
    (process / "fd/5").symlink_to(kernel.tree.root / "tmp/pipe")
    result = await _reset(kernel)
    assert result.outcome is Outcome.OK, result.message


async def test_the_name_of_a_holder_need_not_be_text(kernel: Kernel) -> None:
    """The reason gives the name even if it is not valid text."""
    (_open_by_a_process(kernel) / "comm").write_bytes(b"\xff\n")
    assert "process 4711 (\\xff)" in (await _reset(kernel)).message


async def test_a_driver_that_is_not_unbound(kernel: Kernel) -> None:
    """The error names the step and its time limit."""
    kernel.ignored.add("unbind")
    limits = replace(PATIENT, unbind=1)
    assert "the driver was not unbound within 1 s" in (await _reset(kernel, limits=limits)).message


async def test_a_reset_that_hangs(kernel: Kernel) -> None:
    """The driver is bound again, and the reason says so."""
    reset = kernel.tree.root / "sys/bus/pci/devices" / VF / "reset"
    reset.unlink()
    os.mkfifo(reset)  # and no process reads it
    message = (await _reset(kernel, limits=replace(PATIENT, reset=1))).message
    assert "the reset of the function did not finish within 1 s; its driver was bound again" in message
    assert kernel.did == ["unbind", "bind"]


async def test_a_driver_that_is_not_bound_again(kernel: Kernel) -> None:
    """The bind is retried until its time limit."""
    kernel.ignored.add("bind")
    assert "the driver was not bound" in (await _reset(kernel, limits=replace(PATIENT, bind=1))).message


async def test_a_first_bind_that_fails(kernel: Kernel) -> None:
    """A bind may fail with an input/output error, and is then retried."""
    bind = kernel.tree.root / "sys/bus/pci/drivers/mlx5_core/bind"
    bind.rename(bind.with_name("later"))
    bind.mkdir()  # so that writing to it fails
    later = threading.Timer(0.4, lambda: (bind.rmdir(), bind.with_name("later").rename(bind)))
    later.start()
    result = await _reset(kernel)
    later.join()
    assert result.outcome is Outcome.OK, result.message


async def test_a_port_that_does_not_come_up(kernel: Kernel) -> None:
    """The reset waits for a port that was up before, and for no other."""
    kernel.tree._facts["mlx5_1"]["state"] = "DOWN"
    limits = replace(PATIENT, ready=0.5)
    assert (
        "its ports were ACTIVE before the reset and did not become ACTIVE again within 0.5 s"
        in (await _reset(kernel, limits=limits)).message
    )
    assert (await _reset(kernel)).outcome is Outcome.OK


async def test_device_files_with_other_names(kernel: Kernel) -> None:
    """The container was given files that now belong to another device, so it must not start."""
    kernel.renames = True
    assert "the names of its device files changed: uverbs1 no longer exist" in (await _reset(kernel)).message.replace(
        "umad2, ", ""
    )


def _spawn(node: Node, kernel: Kernel) -> PluginProcess:
    config = "configList: [{resourceName: vf, mode: vf, reset: true, selectors: {pfNames: [mlx5_0]}}]"
    return node.start_plugin("plugins.ib:IB", name="ib", config=config, env={"DPHUB_HOST_ROOT": str(kernel.tree.root)})


async def test_through_the_kubelet(node: Node, kubelet: FakeKubelet, kernel: Kernel) -> None:
    """If the pool has resets, a container starts once its function has been reset, and not if that fails."""
    _spawn(node, kernel)
    await kubelet.wait_for("rdma/vf", 1)
    pod = await kubelet.admit("job", {"rdma/vf": 1})
    assert kernel.did == ["unbind", "reset", "bind"]
    _open_by_a_process(kernel)
    async with asyncio.timeout(WAIT_SECONDS):
        while "does not exist" in (error := await _start_error(kubelet, pod)):  # noqa: ASYNC110 - each is a call
            # Without its driver, the function is not a device for a moment.
            await asyncio.sleep(0.05)
    assert "other processes have it open" in error


async def _start_error(kubelet: FakeKubelet, pod: Pod) -> str:
    with pytest.raises(ContainerStartError) as refused:
        await kubelet.start_container(pod)
    return str(refused.value)


async def test_a_plugin_that_is_killed_in_a_reset(node: Node, kubelet: FakeKubelet, kernel: Kernel) -> None:
    """At that moment the function has no driver and is not an RDMA device; the next plugin binds its driver again."""
    killed = _spawn(node, kernel)
    await kubelet.wait_for("rdma/vf", 1)
    kernel.ignored.add("bind")
    admission = asyncio.create_task(kubelet.admit("job", {"rdma/vf": 1}))
    await wait_until(lambda: kernel.did == ["unbind", "reset"], "the function has no driver")
    family = psutil.Process(killed.pid).children(recursive=True)
    killed.kill()
    with pytest.raises(ContainerStartError):
        await admission
    # The reset of the killed plugin may be about to bind.
    psutil.wait_procs(family, timeout=WAIT_SECONDS)
    kernel.ignored.clear()
    _spawn(node, kernel)
    await wait_until(lambda: kernel.did == ["unbind", "reset", "bind"], "the function has its driver")
    await kubelet.wait_for("rdma/vf", 1)


async def test_a_driver_that_is_never_bound_again(node: Node, kubelet: FakeKubelet, kernel: Kernel) -> None:
    """The missing function is reported with the reason; the bind is tried again, and no other device waits for it."""
    kernel.tree.add_vf("mlx5_2", "0000:07:00.2", "mlx5_0", 1, state="ACTIVE")
    notes = node.run_dir.path / "node/ib.unbound"
    notes.mkdir(parents=True)
    (notes / VF).write_text("mlx5_core")
    kernel.tree.unbind("mlx5_1")
    # The bind file is a directory, so each bind fails at once.
    bind = kernel.tree.root / "sys/bus/pci/drivers/mlx5_core/bind"
    bind.rename(bind.with_name("later"))
    bind.mkdir()
    plugin = _spawn(node, kernel)
    await kubelet.wait_for("rdma/vf", 1)
    missing = await wait_until(lambda: _left_out(plugin).get(VF), "the function among what is left out")
    assert "an interrupted reset left it without its driver: binding the driver failed" in missing
    bind.rmdir()
    bind.with_name("later").rename(bind)
    await kubelet.wait_for("rdma/vf", 2)
    await wait_until(lambda: VF not in _left_out(plugin), "it is not left out any more")


def _left_out(plugin: PluginProcess) -> dict[str, str]:
    state = plugin.state()
    return {each.id: each.reason for each in state.excluded} if state else {}


def test_a_function_in_use_by_another_process_is_not_touched(node: Node) -> None:
    """During a reset, or while a driver hangs, no other process touches the function, and no reset begins."""
    notes = str(node.run_dir.path)
    with unbound.record(notes, VF, "mlx5_core"):
        assert [unbound.is_abandoned(notes, note) for note in unbound.records(notes)] == [False]
        with unbound.claim(notes, VF) as note:
            assert note is None
        with (
            pytest.raises(ResetFailed, match="another process is binding its driver"),
            unbound.record(notes, VF, "mlx5_core"),
        ):
            pass
    with unbound.claim(notes, VF) as note:
        assert note is None, "nothing is left to do"
    with unbound.record(notes, VF, "a_driver_with_a_long_name"), unbound.record(notes, "0000:07:00.2", "short"):
        pass
    (node.run_dir.path / VF).write_text("iavf\nit does not want to")
    assert unbound.records(notes) == [unbound.UnboundRecord(VF, "iavf", "it does not want to")]
    assert unbound.is_abandoned(notes, unbound.records(notes)[0])

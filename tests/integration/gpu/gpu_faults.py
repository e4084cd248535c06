"""Random faults in the GPUs, the driver, the plugin and the kubelet, and the state when they are over."""

import asyncio
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from hub.testing.kubelet import FakeKubelet
from hub.testing.plugin import PluginProcess
from tests.harness.gpu_support import GPU, GpuNode
from tests.harness.node import Node
from tests.simulators.nvml import LOST, UNKNOWN, SimulatedGpu, make_gpu

PLUGIN = """
from plugins.gpu import GPU
class P(GPU):
    def __init__(self, *args):
        super().__init__(*args)
        self.recovery = RecoveryPolicy(stable_for=0, max_recoveries=10**9)
"""
CONFIG = "dphub: {health: {interval: 0.05, stable_for: 0, driver_timeout: 1}}"
HARMLESS, PASSING = (13, 31, 43), (94, 63, 999)
TIMEOUT = 60.0
"""Seconds until the list has to be correct; far more than needed."""


@dataclass
class RandomFaults:
    """A node on which everything fails, one thing after another.

    Args:
        node: The node.
        kubelet: Its kubelet.
        rng: Decides what fails.
    """

    node: Node
    kubelet: FakeKubelet
    rng: random.Random
    gpus: GpuNode = field(init=False)
    plugin: PluginProcess = field(init=False)
    unplugged: list[SimulatedGpu] = field(default_factory=list)
    caused: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.gpus = GpuNode(self.node, "switch8")
        self._target = self.node.write_plugin(PLUGIN)
        self._start()

    async def sequence(self) -> None:
        """Cause a few faults, restore the driver, and check that the kubelet's list is correct."""
        self.caused.clear()
        for _ in range(self.rng.randint(2, 8)):
            fault = self.rng.choice(_FAULTS)
            self.caused.append(fault.__name__.strip("_"))
            await _finished(fault(self))
            await asyncio.sleep(self.rng.choice([0, 0, 0.01, 0.1]))
            self._keep_alive()
        self.gpus.driver.clear_faults()
        self.node.plugins[:] = self.node.plugins[-3:]
        await self._wait_for_expected()

    async def _wait_for_expected(self) -> None:
        end = asyncio.get_running_loop().time() + TIMEOUT
        while not self._is_as_expected():
            self._keep_alive()
            if asyncio.get_running_loop().time() > end:
                found = {device.id: device.healthy for device in self.kubelet.devices(GPU)}
                raise AssertionError(
                    f"after {self.caused}: expected {self._expected()}, found {found}\n{self.plugin.log}"
                )
            await asyncio.sleep(0.01)

    def _expected(self) -> dict[str, bool]:
        return {gpu.uuid: not (gpu.failures or _is_damaged(gpu)) for gpu in self.gpus.driver.gpus}

    def _is_as_expected(self) -> bool:
        """Return whether the list is correct; a new process may not list a GPU that does not answer."""
        expected = self._expected()
        silent = {gpu.uuid for gpu in self.gpus.driver.gpus if gpu.failures}
        found = {device.id: device.healthy for device in self.kubelet.devices(GPU)}
        return expected == dict.fromkeys(silent, False) | found

    def _start(self) -> None:
        self.plugin = self.gpus.start(CONFIG, target=self._target)

    def _keep_alive(self) -> None:
        """Restart the plugin, as the hub does."""
        if self.plugin.process.poll() is not None:
            self._start()

    # The faults, and how they end.

    def _some(self) -> int:
        return self.rng.randrange(len(self.gpus.driver.gpus))

    def _xid(self) -> None:
        if self.gpus.driver.gpus:
            self.gpus.driver.xid(self._some(), self.rng.choice(HARMLESS + PASSING))

    def _lose(self) -> None:
        if self.gpus.driver.gpus:
            self.gpus.driver.gpus[self._some()].failures["*"] = self.rng.choice([LOST, UNKNOWN])
            self.gpus.driver.apply()

    def _damage(self) -> None:
        if self.gpus.driver.gpus:
            damage = self.rng.choice(["remap_failed", "recovery", "ecc_volatile"])
            self.gpus.driver.set(self._some(), **{damage: 1})

    def _lose_device_file(self) -> None:
        if self.gpus.driver.gpus:
            self.gpus.driver.gpus[self._some()].node = False
            self.gpus.driver.apply()

    def _repair(self) -> None:
        if self.gpus.driver.gpus:
            self.gpus.driver.repair(self._some())

    def _unplug(self) -> None:
        if len(self.gpus.driver.gpus) > 1:
            self.unplugged.append(self.gpus.driver.unplug(self._some()))

    def _plug(self) -> None:
        if self.unplugged:
            self.gpus.driver.plug(self.unplugged.pop())
        elif len(self.gpus.driver.gpus) < 12:
            used = {gpu.uuid for gpu in self.gpus.driver.gpus}
            fresh = next(gpu for n in range(8, 16) if (gpu := make_gpu(n, 32)).uuid not in used)
            self.gpus.driver.plug(fresh)

    def _unload(self) -> None:
        self.gpus.driver.unload()

    def _mismatch(self) -> None:
        self.gpus.driver.mismatch()

    def _clear_faults(self) -> None:
        self.gpus.driver.clear_faults()

    async def _hang(self) -> None:
        """Make the driver hang for a time below or above the plugin's limit."""
        self.gpus.driver.hang(self.rng.choice(["*", "nvmlDeviceGetName", "nvmlEventSetWait_v2"]))
        await asyncio.sleep(self.rng.choice([0.05, 0.3, 1.3]))
        self._keep_alive()
        self.gpus.driver.clear_faults()

    def _hup(self) -> None:
        # SIGHUP would kill a process that has just been started; the hub starts its plugins with the signal blocked.
        if self.plugin.lines("process started"):
            self.plugin.hup()

    def _kill(self) -> None:
        self.plugin.signal(signal.SIGKILL)
        self.plugin.process.wait()

    async def _restart_kubelet(self) -> None:
        await self.kubelet.restart()


_FAULTS: list[Callable[[RandomFaults], object]] = [
    RandomFaults._xid,
    RandomFaults._xid,
    RandomFaults._lose,
    RandomFaults._damage,
    RandomFaults._lose_device_file,
    RandomFaults._repair,
    RandomFaults._repair,
    RandomFaults._unplug,
    RandomFaults._plug,
    RandomFaults._unload,
    RandomFaults._mismatch,
    RandomFaults._clear_faults,
    RandomFaults._hang,
    RandomFaults._hup,
    RandomFaults._kill,
    RandomFaults._restart_kubelet,
]


async def _finished(result: object) -> None:
    if asyncio.iscoroutine(result):
        await result


def _is_damaged(gpu: SimulatedGpu) -> bool:
    return bool(gpu.values.get("remap_failed") or gpu.values.get("recovery") or not gpu.node)

"""Faults in real processes: fewer than in one event loop in the same time, but on a complete node.

The plugin and the DRA process are killed, the kubelet is restarted, and the API server fails, while pods get and
release claims of a stub with resets.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial

from hub.testing.apiserver import SLICES, AllocationError
from hub.testing.apiserver.faults import Fault
from hub.testing.plugin import STUB, PluginProcess
from hub.testing.waiting import wait_until
from tests.harness.claimfaults.hardware import Hardware
from tests.harness.claimnode import CONTAINER, ClaimNode, claim_node

PLUGIN = "stub"
DEVICES = 4
SETTINGS = f"{{resources: [{{devices: {DEVICES}}}], reset: true, reset_when_released: true}}"


class ProcessFaults:
    """A source of faults on a node.

    Args:
        node: The node.
        rng: The source of all random choices.

    Attributes:
        hardware: The devices and their users.
        faults: The number of faults so far.
        pods: The number of pods so far.
        runs: The number of pods that have got their devices.
        is_over: Whether no more pods are to run.
    """

    def __init__(self, node: ClaimNode, rng: random.Random) -> None:
        self.hardware = Hardware(rng)
        self.faults = 0
        self.pods = 0
        self.runs = 0
        self.is_over = False
        self._node = node
        self._rng = rng
        self._plugin = self._start()

    def _start(self) -> PluginProcess:
        return self._node.start_driver("plugins.stub:Stub", PLUGIN, config=SETTINGS)

    async def cause(self, count: int) -> None:
        """Cause faults, one after another."""
        kinds: Sequence[Callable[[], Awaitable[None]]] = (
            *(self._kill_plugin, self._kill_plugin, self._kill_plugin),
            *(self._kill_component, self._restart_kubelet, self._fail_api),
        )
        while self.faults < count:
            with suppress(AssertionError):
                # A pod must run between most faults, even on a busy machine, but some faults follow each other at once.
                await wait_until(partial(self._has_run_since, self.runs), "a pod", self._rng.choice((0, 0, 5)))
            await asyncio.sleep(self._rng.random())
            await self._rng.choice(kinds)()
            self.faults += 1

    def _has_run_since(self, runs: int) -> bool:
        return self.runs > runs

    async def _kill_plugin(self) -> None:
        self._plugin.kill()
        self._plugin = self._start()

    async def _kill_component(self) -> None:
        await asyncio.to_thread(self._node.stop_component)
        self._node.start_component()

    async def _restart_kubelet(self) -> None:
        await self._node.kubelet.crash()
        await self._node.kubelet.start()

    async def _fail_api(self) -> None:
        fault = Fault(self._rng.choice((409, 429, 500, 503)), lose=self._rng.random() < 0.2)
        self._node.api.faults.add(fault, self._rng.randrange(1, 4))

    async def run_pods(self, number: int) -> None:
        """Run one pod after another, until `is_over` is set."""
        while not self.is_over:
            claim = f"claim-{number}-{self.pods}"
            self.pods += 1
            wanted = {"plugin": PLUGIN, "resource": STUB, "count": self._rng.randrange(1, 3)}
            self._node.claim(claim, {"devices": wanted})
            while not self.is_over:
                try:
                    pod = self._node.schedule(claim)
                except AllocationError:
                    await asyncio.sleep(0.1)
                    continue
                names = await self._node.kubelet.run(pod)
                given = self._node.given(names[CONTAINER]).env.get("STUB_DEVICES", "")
                self._begin_use(claim, given)
                await asyncio.sleep(self._rng.random())
                self.hardware.end_use(given.split(","))
                await self._node.kubelet.end(pod)
                self._node.scheduler.release(claim, pod.uid)
                break

    def _begin_use(self, claim: str, given: str) -> None:
        """Record that a claim has devices, as its container sees them."""
        self.runs += 1
        count = len(self._node.allocated(claim))
        if not given or len(given.split(",")) != count:
            self.hardware.faults.append(f"{claim} got {given or 'nothing'}, expected {count} devices")
        # Which devices were reset is not known here.
        self.hardware.dirty.clear()
        self.hardware.begin_use(claim, given.split(","))

    def left(self) -> list[str]:
        """Return what is left although no pod runs."""
        node = self._node
        found = [f"record {path.name}" for path in node.run_dir.claims(PLUGIN).glob("*.json")]
        found += [f"CDI file {path.name}" for path in node.cdi_files]
        found += [f"taints {name}: {taints}" for name, taints in node.taints(PLUGIN).items()]
        if len(node.devices(PLUGIN)) != DEVICES:
            found.append(f"{len(node.devices(PLUGIN))} devices in {len(node.api.store.list(SLICES))} slices")
        return found

    async def settle(self) -> Sequence[str]:
        """Return what is left in the end."""
        self._node.api.faults.clear()
        try:
            await wait_until(lambda: not self.left(), "nothing left")
        except AssertionError:
            return self.left()
        return ()


@asynccontextmanager
async def process_faults(rng: random.Random) -> AsyncIterator[ProcessFaults]:
    """Run a node on which faults can be caused."""
    async with claim_node() as node:
        faults = ProcessFaults(node, rng)
        await node.published(PLUGIN, DEVICES)
        yield faults

"""A node with devices, whose driver is killed again and again, and a kubelet that runs pods on it."""

import asyncio
import json
import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hub.apiserver.errors import ApiError
from hub.base.changecount import ChangeCounter
from hub.plugin.dra.allocating import ClaimRejected
from hub.plugin.dra.records import ClaimRecords
from hub.plugin.dra.released import ReleasedClaims
from hub.plugin.health.record import RESET
from tests.harness.claimfaults.hardware import Hardware, Resets
from tests.harness.claimfaults.killing import Killed, Process
from tests.unit.plugin.dra.drakit import DRIVER, Driver, device

NAMES = ("a", "b", "c", "d", "e")


class Running(Driver):
    """One process of the driver, from its start.

    Args:
        directory: The node's directory.
        hardware: The devices.
        api: The previous process, whose API server this one keeps; None for the first.
        process: The process that can be killed.
    """

    def __init__(self, directory: Path, hardware: Hardware, api: "Running | None", process: Process) -> None:
        super().__init__(directory)
        self.process = process
        if api:
            self.store_api, self.client = api.store_api, api.client
        self.plugin.reset_when_released = True
        self.resets = Resets(hardware)
        self.parts = self.parts._replace(resets=self.resets)  # type: ignore[arg-type] # it has all methods used
        self.released = ReleasedClaims(self.parts, DRIVER, self.records)
        self.preparation = self.new_preparation()

    async def serve(self) -> None:
        """Do the work of the process from its start."""
        self.records.begin(DRIVER)
        self.preparation.restore()
        self.scan(*map(device, NAMES))
        self.released.find()
        self.process.start(self.released.run())
        self.process.start(self._check())

    async def _check(self) -> None:
        """Notice what an older hub's process has left, and reset the devices whose resets have failed."""
        while True:
            await asyncio.sleep(0.003)
            self.released.changes.bump()
            for key in self.store.failing(RESET):
                is_used = key.split(" ")[-1] in {name for _, name in self.records.holders()}
                if not is_used and not (await self.resets.reset_now(key)).message.endswith("failed"):
                    self.store.clear(key, RESET)
                    self.store.advance()


class World:
    """The node.

    Args:
        directory: An empty directory.
        rng: The source of all random choices.
        upgrades: Whether drivers are also replaced while they are still running.

    Attributes:
        hardware: The devices.
        driver: The process of the driver.
        faults: The number of faults so far.
        pods: The number of pods so far.
        runs: How many pods have got their devices.
        is_over: Whether no more pods are to run.
    """

    def __init__(self, directory: Path, rng: random.Random, *, upgrades: bool = False) -> None:
        self._upgrades = upgrades
        self.directory = directory
        self.hardware = Hardware(rng)
        self.faults = 0
        self.pods = 0
        self.runs = 0
        self.is_over = False
        self._rng = rng
        self._records = ClaimRecords(directory / "claims")
        self._claims: dict[str, Sequence[str]] = {}
        """The devices of each claim, as the scheduler has allocated them."""
        self._up = asyncio.Event()
        self.driver: Running | None = None
        self._running: list[Running] = []
        self._calls = ChangeCounter()
        """The kubelet's calls."""
        self._upgrade = asyncio.Event()
        self._component_fails = asyncio.Event()

    async def keep_driver(self) -> None:
        """Start the driver again whenever it has been killed, or another one alongside it for an upgrade."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._upgrade.clear()
                process = Process(self._note_error)
                self.driver = Running(self.directory, self.hardware, self.driver, process)
                self._running.append(self.driver)
                self._see_each_other()
                with suppress(Killed):
                    await process.start(self.driver.serve())
                    self._up.set()
                    await self._end_or_upgrade(process)
                self._up.clear()
                if process.dead.is_set():
                    await self._end(self.driver)
                    await asyncio.sleep(self._rng.random() * 0.002)
                else:
                    group.create_task(self._end_later(self.driver))

    def _note_error(self, error: Exception) -> None:
        if not isinstance(error, ClaimRejected):
            self.hardware.faults.append(f"a task of the driver failed: {error!r}")

    async def _end_or_upgrade(self, process: Process) -> None:
        waits = [asyncio.ensure_future(event.wait()) for event in (process.dead, self._upgrade)]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _end_later(self, driver: Running) -> None:
        """Kill the process of the older hub later; until then it continues the work that it has begun."""
        await asyncio.sleep(self._rng.random() * 0.02)
        await self._end(driver)

    async def _end(self, driver: Running) -> None:
        await driver.process.kill()
        self._running.remove(driver)
        self._see_each_other()

    def _see_each_other(self) -> None:
        for driver in self._running:
            driver.ownership.others = ["other"] if len(self._running) > 1 else []

    async def keep_component(self) -> None:
        """Start the DRA process again whenever it has been killed."""
        while True:
            self._component_fails.clear()
            await self._up.wait()
            if self.driver:
                async with self.driver.running_component():
                    await self._component_fails.wait()
            await asyncio.sleep(self._rng.random() * 0.005)

    async def cause_faults(self, count: int) -> None:
        """Cause faults, each after a few calls, however long these take on a busy machine."""
        while self.faults < count:
            wanted = self._calls.number + self._rng.randrange(2, 10)
            while self._calls.number < wanted:
                await self._calls.wait_beyond(self._calls.number)
            await asyncio.sleep(self._rng.random() * 0.004)
            await self._up.wait()
            if self.driver:
                kinds = (self._kill_soon, self._kill_soon, self._kill_now, self._fail_api, self._fail_component)
                self._rng.choice((*kinds, self._replace) if self._upgrades else kinds)(self.driver)
                self.faults += 1

    def _kill_soon(self, driver: Running) -> None:
        driver.process.kill_after(self._rng.randrange(12))

    def _kill_now(self, driver: Running) -> None:
        driver.process.dead.set()

    def _fail_component(self, _driver: Running) -> None:
        self._component_fails.set()

    def _replace(self, _driver: Running) -> None:
        self._upgrade.set()

    def _fail_api(self, driver: Running) -> None:
        code = self._rng.choice((409, 429, 500, 503))
        driver.client.errors.append(ApiError(code, "a fault"))

    async def run_pods(self, number: int) -> None:
        """Run one pod after another, until `is_over` is set."""
        while not self.is_over:
            self.pods += 1
            uid = f"u{number}-{self.pods}"
            if not (devices := self._free_devices()):
                await asyncio.sleep(0.002)
                continue
            self._claims[uid] = devices
            await self._run_pods_of(uid, devices)

    def _free_devices(self) -> Sequence[str]:
        """Return devices that the scheduler can allocate: they are in no other claim and have no taint."""
        taken = {name for names in self._claims.values() for name in names}
        tainted = (
            {each.name for each in self.driver.devices.all() if each.content.get("taints")} if self.driver else set()
        )
        free = [name for name in NAMES if name not in taken | tainted]
        return self._rng.sample(free, min(len(free), self._rng.randrange(1, 4)))

    async def _run_pods_of(self, uid: str, devices: Sequence[str]) -> None:
        """Run one or two pods with a claim, and delete it."""
        await self._up.wait()
        assert self.driver
        self.driver.store_api.allocate(uid, *devices)
        is_forced = self._rng.random() < 0.2
        for _ in range(self._rng.choice((1, 1, 2))):
            is_running = await self._prepare(uid, devices)
            if is_running:
                await asyncio.sleep(self._rng.random() * 0.004)
                if self._rng.random() < 0.2:
                    await self._ask(uid)
                if is_forced:
                    # The scheduler gives the devices to others before the containers have exited.
                    self._forget(uid)
                    await asyncio.sleep(self._rng.random() * 0.02)
                self.hardware.end_use(devices)
            await self._release(uid)
            if uid not in self._claims:
                return
            if not is_running:
                # Another pod would have to wait for a minute, since a late call may still prepare the claim.
                break
        self._forget(uid)

    def _forget(self, uid: str) -> None:
        assert self.driver
        self._claims.pop(uid, None)
        for path in [path for path, claim in self.driver.store_api.claims.items() if claim["metadata"]["uid"] == uid]:
            del self.driver.store_api.claims[path]

    async def _prepare(self, uid: str, devices: Sequence[str]) -> bool:
        """Have a claim prepared, retrying calls as the kubelet does; return whether that succeeded."""
        for _ in range(self._rng.choice((1, 3, 50))):
            if await self._ask(uid, patience=self._rng.choice((0.0, 0.005, 10.0))):
                self.runs += 1
                self._check_file(uid)
                self.hardware.begin_use(f"pod of {uid}", devices)
                return True
            await asyncio.sleep(0.002)
        return False

    async def _ask(self, uid: str, patience: float = 10.0) -> bool:
        """Call Prepare; a call that takes too long continues while the next one begins."""
        await self._up.wait()
        self._calls.bump()
        assert self.driver
        call = self.driver.process.start(self.driver.prepare(uid))
        try:
            await asyncio.wait_for(asyncio.shield(call), patience)
        except (ClaimRejected, Killed, TimeoutError):
            return False
        except asyncio.CancelledError:
            if call.cancelled():
                return False
            raise
        return True

    def _check_file(self, uid: str) -> None:
        path = self.directory / "host/var/run/cdi" / f"{DRIVER}-claim-{uid}.json"
        if not path.exists() or not json.loads(path.read_text())["devices"]:
            self.hardware.faults.append(f"{uid} has no CDI file")

    async def _release(self, uid: str) -> None:
        """Call Unprepare until it succeeds."""
        while True:
            await self._up.wait()
            self._calls.bump()
            assert self.driver
            call = self.driver.process.start(self.driver.preparation.release(uid))
            try:
                await asyncio.shield(call)
            except Killed:
                continue
            except asyncio.CancelledError:
                if not call.cancelled():
                    raise
                continue
            return

    def left(self) -> list[str]:
        """Return what is left although no pod runs: claims that hold devices, CDI files, and devices with a taint."""
        assert self.driver
        found = [f"record of {record.uid}: {record.state}" for record in self._records.active()]
        found += [f"CDI file {name}" for name in self.driver.cdi_files()]
        tainted = [each for each in self.driver.devices.all() if each.content.get("taints")]
        return found + [f"taint of {each.name}: {each.health.reason}" for each in tainted]

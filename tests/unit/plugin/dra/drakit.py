"""The parts of a DRA driver in one event loop, with the DRA process on its socket and claims in memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from hub.api.device import Allocation, Device, DeviceNode
from hub.api.host import Host
from hub.api.plugin import Plugin
from hub.base.changecount import ChangeCounter
from hub.base.tasks import Tasks
from hub.dra.claims import read_claim
from hub.model.dra import ClaimQuery
from hub.plugin.dra.component import Component
from hub.plugin.dra.held import HeldDevices
from hub.plugin.dra.preparation import Preparation
from hub.plugin.dra.publication import DraDevices
from hub.plugin.dra.records import ClaimRecords
from hub.plugin.dra.released import ReleasedClaims
from hub.plugin.holders import Holders
from hub.plugin.kubeletapi import ApiParts
from hub.plugin.resets.service import ResetService
from tests.simulators.drastore import DraStore
from tests.unit.dra.apiclient import MemoryClient
from tests.unit.plugin.plugin_setup import STUB, Setup

DRIVER = "stub.dphub.dev"


class AnyPlugin(Plugin):
    """A plugin whose allocations a test decides."""

    resource = STUB
    answer: Callable[[Sequence[Device]], Allocation] = staticmethod(Allocation.merge)

    def devices(self) -> list[Device]:
        """Return no devices: the test determines what a scan finds."""
        return []

    def allocate(self, devices: Sequence[Device]) -> Allocation:
        """Respond as the test specifies."""
        return self.answer(devices)


def device(name: str, **fields: object) -> Device:
    """Return a device with a device file."""
    return Device(name, nodes=[DeviceNode("/dev/null", f"/dev/{name}")], **fields)  # type: ignore[arg-type] # any of them


class Driver(Setup):
    """A DRA driver.

    Args:
        directory: The directory of its node.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.directory = directory
        self.is_retired = False
        self.cdi = directory / "host/var/run/cdi"
        self.store_api = DraStore()
        self.client = MemoryClient(self.store_api)
        self.plugin = AnyPlugin(host=Host(directory / "host"))
        self.records = ClaimRecords(directory / "claims")
        self.holders = Holders(Path("/nonexistent"), self.inventory, self.status, self.history, self.records.holders)
        self.devices = DraDevices(self.plugin, DRIVER, self.inventory)
        self.component = Component(directory / "dra", DRIVER)
        self.parts = ApiParts(
            self.plugin,
            Path("/nonexistent"),
            inventory=self.inventory,
            resets=ResetService(self.plugin, self.store, self.inventory, self.metrics, self.status),
            holders=self.holders,
            health=self.store,
            ownership=self.ownership,
            metrics=self.metrics,
            status=self.status,
            tasks=Tasks(self.status),
        )
        self.held = HeldDevices(self.parts, ChangeCounter())
        self.released = ReleasedClaims(self.parts, DRIVER, self.records)
        self.preparation = self.new_preparation()

    def new_preparation(self) -> Preparation:
        """Return another preparation, such as that of a restarted process."""
        return Preparation(
            self.parts,
            DRIVER,
            devices=self.devices,
            component=self.component,
            records=self.records,
            released=self.released,
            held=None if self.is_retired else self.held,
        )

    def cdi_files(self) -> list[str]:
        """Return the names of the CDI files."""
        return sorted(path.name for path in self.cdi.glob("*.json"))

    async def prepare(self, uid: str) -> list[str]:
        """Prepare a claim, and return its devices."""
        found = await self.preparation.prepare("team", f"claim-{uid}", uid)
        return [each.result.device for each in found]

    @asynccontextmanager
    async def running_component(self) -> AsyncIterator[None]:
        """Answer queries about claims until the block ends."""
        calls = set()

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            calls.add(asyncio.current_task())
            try:
                # The line is empty if the process that asks has been killed.
                if line := await reader.readline():
                    query = msgspec.json.decode(line, type=ClaimQuery)
                    writer.write(msgspec.json.encode(await read_claim(self.client, query)) + b"\n")  # type: ignore[arg-type] # as above
            finally:
                writer.close()
                calls.discard(asyncio.current_task())

        server = await asyncio.start_unix_server(answer, self.directory / "dra")
        try:
            yield
        finally:
            server.close()
            left = [call for call in calls if call]
            for call in left:
                call.cancel()
            await asyncio.gather(*left, return_exceptions=True)

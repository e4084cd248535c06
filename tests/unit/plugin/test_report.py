"""What a plugin process reports about itself."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hub.api.device import Device
from hub.api.host import Host
from hub.api.plugin import Plugin, Settings
from hub.base.tasks import Tasks
from hub.model.plugin import RegistrationStatus
from hub.plugin.holders import Holders
from hub.plugin.kubeletapi import ResourceView
from hub.plugin.report import Reporter
from hub.plugin.resets.service import ResetService
from tests.unit.plugin.plugin_setup import STUB, Setup


class _Api:
    """An API that serves what a test says."""

    def __init__(self) -> None:
        self.views: list[ResourceView] = []

    def __iter__(self) -> Iterator[ResourceView]:
        return iter(self.views)


async def test_a_plugin_whose_resources_are_not_yet_served_is_starting(tmp_path: Path) -> None:
    """It never seems to have no resources, which `dphub restart` would report as the outcome."""
    it, api = Setup(), _Api()
    plugin: Any = _StubPlugin(Settings(), Host(tmp_path), None)
    reporter = Reporter(
        plugin,
        "stub",
        None,
        inventory=it.inventory,
        api=api,  # type: ignore[arg-type] # all that it uses
        health=it.store,
        holders=Holders(tmp_path, it.inventory, it.status, it.history),
        resets=ResetService(plugin, it.store, it.inventory, it.metrics, it.status),
        ownership=it.ownership,
        tasks=Tasks(it.status),
    )
    assert not reporter.build().scanned
    it.scan(Device("a"))
    await asyncio.sleep(0)
    before = reporter.build()
    assert (before.scanned, before.resources) == (False, ())
    api.views = [ResourceView(it.resource, "socket", RegistrationStatus.WAITING, 0, 0)]
    after = reporter.build()
    assert (after.scanned, [each.name for each in after.resources]) == (True, [STUB])


class _StubPlugin(Plugin):
    def devices(self) -> list[Device]:
        """Return no device."""
        return []

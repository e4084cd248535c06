"""Which other hub serves a resource, or can take it over from a plugin that leaves."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path

import pytest

from hub.base.jsonfile import replace_file
from hub.base.paths import RunDir
from hub.base.sockets import socket_name
from hub.model.hub import HubReport, InstanceReport, ProcessReport, RunState
from hub.model.plugin import PluginReport
from hub.plugin.ownership import Ownership, Role
from hub.testing.waiting import WAIT_SECONDS
from tests.unit.plugin.upgrade_setup import PLUGIN, Upgrade, serving


async def test_it_is_woken_when_another_one_leaves(upgrade: Upgrade) -> None:
    """A waiting plugin notices at once, before its next check, that another plugin has released its lock."""
    newer = Ownership(upgrade.third, PLUGIN, upgrade.third.path)
    newer.acquire()
    async with asyncio.timeout(WAIT_SECONDS), aclosing(upgrade.ownership.changes()) as changes:
        waiting = asyncio.ensure_future(anext(changes))
        await asyncio.sleep(0)
        newer.release()
        await waiting


RESOURCE = "example.com/stub"


@pytest.fixture
def socket_of_third(tmp_path: Path) -> Iterator[socket.socket]:
    """Let the third hub listen on the socket of the resource."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / socket_name(RESOURCE, "third", tmp_path)))
        listening.listen()
        yield listening


@pytest.mark.usefixtures("socket_of_third")
def test_the_newest_hub_that_serves_the_resource_is_named(service: Upgrade) -> None:
    """It may be the node's service, alongside the hubs of two pods in an upgrade."""
    with serving(service.first), serving(service.third), socket.socket(socket.AF_UNIX) as listening:
        service.ownership.refresh()
        assert service.ownership.newer_of(RESOURCE) == "third"
        listening.bind(str(service.first.path / socket_name(RESOURCE, "first", service.first.path)))
        listening.listen()
        assert service.ownership.newer_of(RESOURCE) == "first"


@pytest.mark.usefixtures("socket_of_third")
def test_a_hub_that_serves_the_resource_can_take_it_over(upgrade: Upgrade) -> None:
    """It can as long as its plugin holds its lock; a plugin with the socket but without the lock is about to exit."""
    upgrade.ownership.acquire()
    with serving(upgrade.third):
        assert upgrade.role() is Role.SUPERSEDED
        assert upgrade.ownership.may_be_taken_over(RESOURCE)
        assert upgrade.ownership.newer_of(RESOURCE) == "third"
        assert upgrade.ownership.neighbors_of(RESOURCE) == {"third"}
    _write_report(upgrade.third, RunState.STOPPED)
    upgrade.ownership.refresh()
    assert not upgrade.ownership.may_be_taken_over(RESOURCE)
    assert upgrade.ownership.newer_of(RESOURCE) == ""
    assert upgrade.ownership.neighbors_of(RESOURCE) == {"third"}


@pytest.mark.parametrize(
    ("run", "can"), [(None, True), (RunState.STARTING, True), (RunState.RUNNING, True), (RunState.STOPPED, False)]
)
def test_a_newer_hub_that_starts_the_plugin_can_take_over(
    upgrade: Upgrade,
    run: RunState | None,
    can: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """It need not have written a report yet; an older hub whose plugin is not serving is ignored."""
    upgrade.ownership.acquire()
    if run:
        _write_report(upgrade.third, run)
    upgrade.ownership.refresh()
    assert upgrade.ownership.may_be_taken_over(RESOURCE) is can


@pytest.mark.parametrize("standby", [True, False])
def test_a_newer_plugin_that_waits_for_our_end_is_not_awaited(
    upgrade: Upgrade,
    standby: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """It is in standby with a fault, and serves only when no older hub does."""
    upgrade.ownership.acquire()
    _write_report(upgrade.third, RunState.RUNNING)
    replace_file(upgrade.third.report(PLUGIN), PluginReport(PLUGIN, pid=7, standby=standby))
    upgrade.ownership.refresh()
    assert upgrade.ownership.may_be_taken_over(RESOURCE) is not standby


def test_a_newer_hub_without_the_plugin_is_not_awaited(upgrade: Upgrade) -> None:
    """Its configuration has no such section, so it will not serve."""
    upgrade.ownership.acquire()
    _write_report(upgrade.third, RunState.RUNNING, plugin="another")
    upgrade.ownership.refresh()
    assert not upgrade.ownership.may_be_taken_over(RESOURCE)


def _write_report(run_dir: RunDir, run: RunState, plugin: str = PLUGIN) -> None:
    hub = HubReport("1", 1, 0.0, run_dir.instance, "", "", "")
    replace_file(run_dir.hub_report, InstanceReport(hub, (ProcessReport(plugin, run, pid=7),)))

"""Which hub's plugin owns the devices: the roles of a process in a rolling upgrade, tested in this process."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import ExitStack, aclosing, contextmanager
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.api.device import Device
from hub.api.health import RecoveryPolicy
from hub.api.plugin import Plugin
from hub.base import instances
from hub.base.jsonfile import replace_file
from hub.base.nodedir import NODE_DIR
from hub.base.paths import SERVING_DIR, RunDir
from hub.base.sockets import socket_name
from hub.base.statusfile import StatusFile
from hub.kubelet.checkpoint import Checkpoint
from hub.model.hub import HubReport, InstanceReport, ProcessReport, RunState
from hub.model.plugin import PluginReport
from hub.plugin.devices.devicelist import ScannedDevices
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.scan import Scan
from hub.plugin.health.record import CORDON
from hub.plugin.health.store import HealthStore
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership, Role
from hub.testing.waiting import WAIT_SECONDS

PLUGIN = "stub"
FAULT = Scan(reason="no driver", fault=True, failed=True)
FOUND = Scan({"example.com/stub": ScannedDevices.of([Device("a")])})


@contextmanager
def serving(run_dir: RunDir) -> Iterator[None]:
    """Let the plugin of a hub serve."""
    lock = instances.ServingLock(run_dir, PLUGIN)
    assert lock.acquire()
    yield
    lock.release()


class Upgrade:
    """Three hubs on one node, in the order of their start; the process in the middle is the tested one."""

    def __init__(self, path: Path) -> None:
        (path / NODE_DIR).mkdir()
        (path / SERVING_DIR).mkdir()
        self.hubs = [RunDir(path, name) for name in ("first", "second", "third")]
        self.first, self.ours, self.third = self.hubs
        self.running = ExitStack()
        self.ownership = Ownership(self.ours, PLUGIN, path)

    def store(self) -> HealthStore:
        """Return the health of the devices, as the tested process sees it."""
        return HealthStore(self.ours.health(PLUGIN), RecoveryPolicy(), self.ownership)

    def role(self) -> Role:
        """Return the role after another check."""
        self.ownership.refresh()
        return self.ownership.role


@pytest.fixture
def upgrade(tmp_path: Path) -> Iterator[Upgrade]:
    """Make three running hubs, whose plugins do not serve yet."""
    it = Upgrade(tmp_path)
    with it.running:
        for hub in it.hubs:
            it.running.enter_context(instances.acquire_hub_lock(hub))
        yield it


def test_a_process_is_in_standby_until_it_serves(upgrade: Upgrade) -> None:
    """This holds whichever other hubs there are; then it is active if the newer hub's plugin does not serve."""
    assert upgrade.role() is Role.STANDBY
    with serving(upgrade.first):
        assert upgrade.role() is Role.STANDBY
        assert (upgrade.ownership.older, upgrade.ownership.newer) == (["first"], [])
        upgrade.ownership.acquire()
        assert upgrade.role() is Role.ACTIVE
    assert upgrade.role() is Role.ACTIVE
    assert upgrade.ownership.older == []


def test_a_newer_hub_supersedes_it_while_it_serves(upgrade: Upgrade) -> None:
    """The log says so once, and also when that hub has exited, which makes the process active again."""
    upgrade.ownership.acquire()
    with capture_logs() as log:
        with serving(upgrade.third):
            assert upgrade.role() is Role.SUPERSEDED
            assert upgrade.role() is Role.SUPERSEDED
            assert upgrade.ownership.newest == "third"
        assert upgrade.role() is Role.ACTIVE
    assert [(line["event"], line["hub"]) for line in log] == [
        ("superseded by newer hub", "third"),
        ("newer hub exited", "third"),
    ]


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Upgrade]:
    """Three hubs that run; the first one is the node's service."""
    it = Upgrade(tmp_path)
    with it.running:
        it.running.enter_context(instances.acquire_hub_lock(it.first, is_service=True))
        it.running.enter_context(instances.acquire_hub_lock(it.ours))
        it.running.enter_context(instances.acquire_hub_lock(it.third))
        yield it


def test_the_nodes_service_owns_the_devices_although_it_started_first(service: Upgrade) -> None:
    """A hub in a pod takes nothing from it, and continues when it is gone; the log says which."""
    service.ownership.acquire()
    with capture_logs() as log:
        with serving(service.first):
            assert service.role() is Role.SUPERSEDED
            assert service.ownership.newest == "first"
            assert service.ownership.describe("first") == "the node's service (hub first)"
            with serving(service.third):
                assert service.role() is Role.SUPERSEDED
                assert service.ownership.newest == "first"
        assert service.role() is Role.ACTIVE
    assert [(line["event"], line["hub"]) for line in log] == [
        ("superseded by node service", "first"),
        ("node service exited", "first"),
    ]


def test_a_service_that_does_not_serve_a_plugin_takes_nothing(service: Upgrade) -> None:
    """Its configuration may lack the plugin: a hub in a pod then serves it."""
    service.ownership.acquire()
    assert service.role() is Role.ACTIVE


def test_a_process_that_leaves_no_longer_counts(upgrade: Upgrade) -> None:
    """An older hub's plugin is active from then on, although the process is still running."""
    upgrade.ownership.acquire()
    newer = Ownership(upgrade.third, PLUGIN, upgrade.third.path)
    newer.acquire()
    assert upgrade.role() is Role.SUPERSEDED
    newer.release()
    assert newer.role is Role.LEAVING
    assert upgrade.role() is Role.ACTIVE
    assert upgrade.ownership.others == ["first", "third"]


async def test_it_is_woken_when_another_one_leaves(upgrade: Upgrade) -> None:
    """It notices at once, before its next check."""
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
    """The node's service is an example, next to the hubs of two pods in an upgrade."""
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
        assert upgrade.ownership.neighbours_of(RESOURCE) == {"third"}
    _write_report(upgrade.third, RunState.STOPPED)
    upgrade.ownership.refresh()
    assert not upgrade.ownership.may_be_taken_over(RESOURCE)
    assert upgrade.ownership.newer_of(RESOURCE) == ""
    assert upgrade.ownership.neighbours_of(RESOURCE) == {"third"}


@pytest.mark.parametrize(
    ("run", "can"), [(None, True), (RunState.STARTING, True), (RunState.RUNNING, True), (RunState.STOPPED, False)]
)
def test_a_newer_hub_that_starts_the_plugin_can_take_over(
    upgrade: Upgrade,
    run: RunState | None,
    can: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """It need not have written a report yet; an older one whose plugin does not serve is not awaited."""
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


def test_a_plugin_started_by_hand_is_alone(tmp_path: Path) -> None:
    """It has no run directory, and so no other hubs."""
    ownership = Ownership(None, PLUGIN, tmp_path)
    ownership.refresh()
    assert ownership.role is Role.STANDBY
    ownership.acquire()
    ownership.refresh()
    assert ownership.role is Role.ACTIVE


async def test_only_the_owner_writes_health(upgrade: Upgrade) -> None:
    """A process in standby, or one that is superseded, does not change the file."""
    store = upgrade.store()
    path = upgrade.ours.health(PLUGIN)
    store.set_admin_fault("a", CORDON, "in standby")
    assert not path.exists()
    upgrade.ownership.acquire()
    with serving(upgrade.third):
        store.set_admin_fault("a", CORDON, "superseded")
        assert not path.exists()
    store.set_admin_fault("b", CORDON, "active")
    assert b"active" in path.read_bytes()


async def test_the_owner_begins_with_what_the_one_before_it_has_written(upgrade: Upgrade) -> None:
    """It reads that at its first scan, and when a newer hub has exited, before it writes anything itself."""
    store = upgrade.store()
    older = HealthStore(upgrade.first.health(PLUGIN), RecoveryPolicy(), _active(upgrade.first))
    older.set_admin_fault("a", CORDON, "by the older hub")
    upgrade.ownership.acquire()
    assert store.refresh_role() is Role.ACTIVE
    assert store.reasons(["a"]) == "by the older hub"
    with serving(upgrade.third):
        assert store.refresh_role() is Role.SUPERSEDED
        older.set_admin_fault("a", CORDON, "by the newer hub")
    # There is no check of the other hubs between its end and this.
    store.save()
    assert store.reasons(["a"]) == "by the newer hub"
    assert b"by the newer hub" in upgrade.ours.health(PLUGIN).read_bytes()


def _active(run_dir: RunDir) -> Ownership:
    """Return the ownership of a process that knows no other hub."""
    ownership = Ownership(None, PLUGIN, run_dir.path)
    ownership.acquire()
    return ownership


@pytest.mark.parametrize("has_older", [True, False])
async def test_a_scan_that_fails_leaves_the_devices_to_an_older_hub(
    upgrade: Upgrade,
    has_older: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """That hub serves the plugin while this process cannot; without one, this process serves what it knows."""
    inventory = Inventory(
        Plugin,
        upgrade.store(),
        upgrade.ownership,
        checkpoint=Checkpoint(Path("/nonexistent")),
        metrics=ProcessMetrics(),
        status=StatusFile(None, dict),
    )
    with serving(upgrade.first) if has_older else ExitStack():
        inventory.update(FAULT)
        assert inventory.scanned
        assert upgrade.ownership.role is (Role.STANDBY if has_older else Role.ACTIVE)
        assert inventory.reason == ("no driver; an older hub keeps serving" if has_older else "no driver")
        inventory.update(FOUND)
        assert upgrade.ownership.role is Role.ACTIVE
        inventory.update(FAULT)
        assert upgrade.ownership.role is Role.ACTIVE
        assert inventory.reason == "no driver"

"""Which hub's plugin owns the devices: the roles of a process in a rolling upgrade, tested in this process."""

from contextlib import ExitStack
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.api.device import Device
from hub.api.health import RecoveryPolicy
from hub.api.plugin import Plugin
from hub.base.paths import RunDir
from hub.base.statusfile import StatusFile
from hub.kubelet.checkpoint import Checkpoint
from hub.plugin.devices.devicelist import ScannedDevices
from hub.plugin.devices.inventory import Inventory
from hub.plugin.devices.scan import Scan
from hub.plugin.health.record import CORDON
from hub.plugin.health.store import HealthStore
from hub.plugin.metrics.process import ProcessMetrics
from hub.plugin.ownership import Ownership, Role
from tests.unit.plugin.upgrade_setup import PLUGIN, Upgrade, serving

FAULT = Scan(reason="no driver", fault=True, failed=True)

FOUND = Scan({"example.com/stub": ScannedDevices.of([Device("a")])})


def test_a_process_is_in_standby_until_it_serves(upgrade: Upgrade) -> None:
    """This holds whichever other hubs there are; once it serves, it is active unless the newer hub's is serving."""
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


def test_the_nodes_service_owns_the_devices_although_it_started_first(service: Upgrade) -> None:
    """A hub in a pod takes nothing from it, and continues when it is gone; the log says that it is the service."""
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
    assert newer.role is Role.EXITING
    assert upgrade.role() is Role.ACTIVE
    assert upgrade.ownership.others == ["first", "third"]


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
    # There is no check of the other hubs between its exit and this.
    store.save()
    assert store.reasons(["a"]) == "by the newer hub"
    assert b"by the newer hub" in upgrade.ours.health(PLUGIN).read_bytes()


def _active(run_dir: RunDir) -> Ownership:
    """Return the ownership of a process without other hubs."""
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

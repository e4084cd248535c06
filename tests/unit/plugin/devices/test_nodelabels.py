"""The labels that a node gets from a plugin process."""

import errno
import os
import stat
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.api.device import Device
from hub.base.featurefiles import LIFETIME
from hub.plugin.devices import nodelabels
from hub.plugin.devices.devicelist import ScannedDevices
from hub.plugin.devices.labels import ScannedLabels
from hub.plugin.devices.nodelabels import NodeLabels
from hub.plugin.devices.scan import Scan
from hub.plugin.health.record import CORDON
from tests.simulators import nfd
from tests.unit.plugin.plugin_setup import FAILED, STUB, Setup

MODEL = {"example.com/model": "x1"}
HEALTHY = {"dphub.dev/stub.health": "healthy", "dphub.dev/stub.unhealthy": "0"}


class Labelled(Setup):
    """An inventory, and the labels of its plugin in a directory."""

    def __init__(self, directory: Path | None, plugin: str = "stub") -> None:
        super().__init__()
        self.labels = NodeLabels(directory, plugin, self.inventory, self.ownership)

    def find(self, *devices: Device, labels: Mapping[str, str] | None = None, problem: str = "") -> None:
        """Find these devices, and these labels."""
        scan = Scan({STUB: ScannedDevices.of(devices)}, labels=ScannedLabels(labels, problem))
        self.inventory.update(scan)
        self.labels.update(scan)

    def fail(self, scan: Scan = FAILED) -> None:
        """Find a fault."""
        self.inventory.update(scan)
        self.labels.update(scan)


def _health(directory: Path) -> tuple[str | None, str | None]:
    labels = nfd.labels(directory)
    return labels.get("dphub.dev/stub.health"), labels.get("dphub.dev/stub.unhealthy")


def _files(directory: Path) -> list[Path]:
    return list(directory.iterdir())


async def test_labels_of_a_node(tmp_path: Path) -> None:
    """The node has the plugin's labels and those about health, from a file that any user can read."""
    Labelled(tmp_path).find(Device("a"), labels=MODEL)
    assert nfd.labels(tmp_path) == MODEL | HEALTHY
    (file,) = _files(tmp_path)
    assert (file.name, stat.S_IMODE(file.stat().st_mode)) == ("dphub-stub", 0o644)


async def test_no_directory() -> None:
    """There are no labels, and the plugin is not queried for them."""
    it = Labelled(None)
    it.find(Device("a"), labels=MODEL)
    it.labels.expire()
    assert not it.labels.enabled


async def test_health_counts_physical_devices(tmp_path: Path) -> None:
    """A shared device counts once; a fault, or a cordon, of any of its shares makes it unhealthy."""
    it = Labelled(tmp_path)
    shares = [Device(f"{card}-{number}", physical=card) for card in "abc" for number in range(2)]
    it.find(*shares)
    assert _health(tmp_path) == ("healthy", "0")
    it.store.set_admin_fault("a", CORDON, "loud")
    it.inventory.publish()
    it.labels.refresh()
    assert _health(tmp_path) == ("degraded", "1")
    it.find(*(Device(each.id, physical=each.physical, unhealthy="hot") for each in shares))
    assert _health(tmp_path) == ("unhealthy", "3")


async def test_a_node_without_the_hardware(tmp_path: Path) -> None:
    """It gets no labels, and loses those that it had."""
    it = Labelled(tmp_path)
    it.find(labels={})
    assert _files(tmp_path) == []
    it.find(Device("a"), labels=MODEL)
    it.find(labels={})
    assert _files(tmp_path) == []


async def test_a_fault_keeps_the_labels_of_the_hardware(tmp_path: Path) -> None:
    """Only the health changes, even in a new process; hardware that cannot be used is not healthy."""
    it = Labelled(tmp_path)
    it.find(Device("a"), labels=MODEL)
    it.fail()
    unhealthy = {"dphub.dev/stub.health": "unhealthy", "dphub.dev/stub.unhealthy": "1"}
    assert nfd.labels(tmp_path) == MODEL | unhealthy
    it.labels.expire()
    Labelled(tmp_path).fail(Scan(reason="no driver", fault=True))
    assert nfd.labels(tmp_path) == MODEL | unhealthy | {"dphub.dev/stub.unhealthy": "0"}


async def test_unchanged_labels_are_not_written_again(tmp_path: Path) -> None:
    """Neither the same process nor the next one writes them again."""
    it = Labelled(tmp_path)
    it.find(Device("a"), labels=MODEL)
    os.utime(tmp_path / "dphub-stub", (1, 1))
    inode = (tmp_path / "dphub-stub").stat().st_ino
    it.find(Device("a"), labels=dict(MODEL))
    it.labels.refresh()
    Labelled(tmp_path).find(Device("a"), labels=MODEL)
    found = (tmp_path / "dphub-stub").stat()
    assert (found.st_ino, found.st_mtime) == (inode, 1)


async def test_a_restart_takes_no_label_away(tmp_path: Path) -> None:
    """They expire minutes after the process has stopped, unless another one has found devices by then."""
    it = Labelled(tmp_path)
    it.find(Device("a"), labels=MODEL)
    it.labels.expire()
    assert nfd.labels(tmp_path) == MODEL | HEALTHY
    late = datetime.now(UTC) + timedelta(seconds=LIFETIME + 2)
    assert nfd.labels(tmp_path, late) == {}
    following = Labelled(tmp_path)
    assert nfd.labels(tmp_path) == MODEL | HEALTHY
    following.find(Device("a"), labels=MODEL)
    assert nfd.labels(tmp_path, late) == MODEL | HEALTHY


async def test_a_crash_takes_no_label_away_at_once(tmp_path: Path) -> None:
    """The next process gives them ten more minutes, but only once, even if it crashes again and again before a scan."""
    Labelled(tmp_path).find(Device("a"), labels=MODEL)
    following = Labelled(tmp_path)
    following.labels.expire()
    late = datetime.now(UTC) + timedelta(seconds=LIFETIME + 2)
    assert (nfd.labels(tmp_path), nfd.labels(tmp_path, late)) == (MODEL | HEALTHY, {})
    inode = (tmp_path / "dphub-stub").stat().st_ino
    Labelled(tmp_path).labels.expire()
    assert (tmp_path / "dphub-stub").stat().st_ino == inode
    following.find(Device("a"), labels=MODEL)
    assert nfd.labels(tmp_path, late) == MODEL | HEALTHY


async def test_only_the_owner_of_the_devices_writes(tmp_path: Path) -> None:
    """A process that has not scanned yet, or that leaves its devices to another hub's, does not change any label."""
    it = Labelled(tmp_path)
    it.labels.refresh()
    it.labels.expire()
    assert _files(tmp_path) == []
    it.find(Device("a"), labels=MODEL)
    it.ownership.release()
    it.find(labels={})
    assert nfd.labels(tmp_path, datetime.now(UTC) + timedelta(days=1)) == MODEL | HEALTHY


async def test_a_process_that_leaves_lets_its_labels_expire(tmp_path: Path) -> None:
    """The next hub's plugin may not write labels; one that does so extends them at its next check."""
    it = Labelled(tmp_path)
    it.find(Device("a"), labels=MODEL)
    newer = Labelled(tmp_path)
    newer.find(Device("a"), labels=MODEL)
    it.ownership.newer = ["newer"]
    it.ownership.release()
    it.labels.expire()
    late = datetime.now(UTC) + timedelta(days=1)
    assert (nfd.labels(tmp_path), nfd.labels(tmp_path, late)) == (MODEL | HEALTHY, {})
    newer.labels.refresh()
    assert nfd.labels(tmp_path, late) == MODEL | HEALTHY


async def test_a_directory_that_cannot_be_reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The user may lack permission to enter it, for example; the plugin then serves without labels."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    it = Labelled(tmp_path)
    monkeypatch.setattr(nodelabels, "replace_bytes", refuse)
    monkeypatch.setattr(Path, "stat", refuse)
    it.find(Device("a"), labels=MODEL)
    it.labels.refresh()


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_text("x/y=z"), lambda path: path.chmod(0)])
async def test_what_others_do_to_the_file_is_undone(tmp_path: Path, damage: object) -> None:
    """If it is removed or changed, the next check restores it. As root, permissions make no difference."""
    it = Labelled(tmp_path)
    it.find(Device("a"), labels=MODEL)
    damage(tmp_path / "dphub-stub")  # type: ignore[operator]
    it.labels.refresh()
    assert nfd.labels(tmp_path) == MODEL | HEALTHY


async def test_a_link_in_place_of_the_file(tmp_path: Path) -> None:
    """The file that it names is neither read nor changed."""
    other = tmp_path / ".other"
    other.write_text("a/b=c")
    (tmp_path / "dphub-stub").symlink_to(other)
    Labelled(tmp_path).find(Device("a"), labels=MODEL)
    assert nfd.labels(tmp_path) == MODEL | HEALTHY
    assert other.read_text() == "a/b=c"


async def test_a_directory_that_does_not_exist(tmp_path: Path) -> None:
    """The log says so once, and says what to do. Labels are written as soon as the directory exists."""
    it = Labelled(tmp_path / "features.d")
    with capture_logs() as logs:
        it.find(Device("a"), labels=MODEL)
        it.labels.refresh()
    (line,) = (each for each in logs if each["event"] == "file not written")
    assert line["reason"] == f"{tmp_path}/features.d does not exist: create it, or in a pod mount the node's"
    (tmp_path / "features.d").mkdir()
    it.labels.refresh()
    assert nfd.labels(tmp_path / "features.d") == MODEL | HEALTHY


async def test_problems_of_labels_are_logged_once(tmp_path: Path) -> None:
    """They are not logged after each scan, but again after a change."""
    it = Labelled(tmp_path)
    with capture_logs() as logs:
        for problem in ("one", "one", "two", "", "one"):
            it.find(Device("a"), labels=MODEL, problem=problem)
    found = [(each["event"], each["reason"]) for each in logs if "labels" in each["event"]]
    assert found == [("plugin labels invalid", reason) for reason in ("one", "two", "one")]


async def test_the_name_of_a_plugin_may_be_too_long_for_labels(tmp_path: Path) -> None:
    """In this case, the labels about health are left out."""
    Labelled(tmp_path, "p" * 60).find(Device("a"), labels=MODEL)
    assert nfd.labels(tmp_path) == MODEL

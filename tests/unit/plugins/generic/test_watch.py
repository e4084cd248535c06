"""Changes are seen at once, in directories that exist and in those that appear later."""

from functools import partial
from pathlib import Path

from hub import Host
from plugins.generic.discovery.devwatch import dev_directories, watched_directories
from tests.harness.changes import watched
from tests.simulators.generictree import GenericTree


def test_files_that_come_and_go(tmp_path: Path) -> None:
    """They are seen even in directories that appear later, in and outside /dev."""
    tree, host = GenericTree(tmp_path), Host(tmp_path)
    (tmp_path / "run").mkdir()
    with watched(lambda: watched_directories(host, ["/dev/ttyUSB*", "/run/app/*/socket"])) as changes:
        assert changes.follow(lambda: tree.file("ttyUSB0"))
        assert changes.follow((tree.root / "dev/ttyUSB0").unlink)
        assert changes.follow(lambda: tree.file("bus/usb/001/002"))
        for name in ("ttyUSB1", "ttyUSB2"):
            assert changes.follow(partial(tree.link, f"serial/by-id/{name}", f"../../{name}"))


def test_which_directories(tmp_path: Path) -> None:
    """Directories of device files are watched, not those open to any user; elsewhere the nearest existing one is."""
    tree = GenericTree(tmp_path)
    for name in ("snd/timer", "shm/x/y", "pts/0", "disk/by-id/a"):
        tree.file(name)
    (tmp_path / "run/app/one").mkdir(parents=True)
    expected = {"/dev", "/dev/bus", "/dev/bus/usb", "/dev/disk", "/dev/disk/by-id", "/dev/snd"}
    assert set(dev_directories(Host(tmp_path))) == expected
    found = watched_directories(Host(tmp_path), ["/run/app/*/socket", "/var/lib/x/y"])
    others = {tmp_path / name for name in ("run/app", "run/app/one", ".")}
    assert found == {*others, *(tmp_path / directory[1:] for directory in expected)}

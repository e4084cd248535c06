"""Changes to files are seen at once, in directories that exist and in those that appear later."""

import os
import shutil
from pathlib import Path

import pytest

from hub import watch_directories
from hub.base import filewatch
from tests.harness.changes import watched


def test_files_that_come_and_go(tmp_path: Path) -> None:
    """Files, links, and the directories themselves are noticed, whatever replaces them."""
    dev, later = tmp_path / "dev", tmp_path / "dev/dri"
    dev.mkdir()
    with watched(lambda: [dev, later, tmp_path / "none"]) as changes:
        for _ in range(3):
            assert changes.follow(later.mkdir)
            assert changes.follow((later / "card0").touch)
            assert changes.follow(lambda: (later / "link").symlink_to("card0"))
            assert changes.follow(lambda: (later / "link").rename(dev / "link"))
            assert changes.follow((dev / "link").unlink)
            assert changes.follow(lambda: shutil.rmtree(later))


def test_other_files_do_not_matter(tmp_path: Path) -> None:
    """A change to a file that does not matter is not reported: the next report is of one that does."""
    seen: list[str] = []

    def concerns(path: Path) -> bool:
        seen.append(path.name)
        return path.name.startswith("nvidia")

    with watched(lambda: [tmp_path], concerns) as changes:
        (tmp_path / "tty9").touch()
        assert changes.follow((tmp_path / "nvidia0").touch)
        assert seen == ["tty9", "nvidia0"]
        assert changes._number == 2


def test_a_node_without_watches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This is an error, which the hub reports; a directory that cannot be watched is not."""
    from asyncinotify import Inotify  # noqa: PLC0415 - the module under test imports it late, too

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Inotify, "add_watch", fail)
    number = 28
    with pytest.raises(OSError, match="No space left"):
        watch_directories(lambda: [tmp_path], lambda: None)
    number = 2
    with Inotify() as inotify:
        filewatch._add(inotify, tmp_path)

"""The run directory belongs to the hub's user alone."""

import os
from pathlib import Path

import pytest

from hub.base.errors import ConfigError
from hub.base.paths import RunDir


@pytest.mark.parametrize("target", ["victim", "nowhere"])
def test_a_link_is_not_a_run_directory(tmp_path: Path, target: str) -> None:
    """Neither the hub nor a command follows it: another user may use it to fill any directory, or change its mode."""
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    (tmp_path / "run").symlink_to(target)
    for use in (RunDir(tmp_path / "run").create, RunDir(tmp_path / "run").check_readable):
        with pytest.raises(ConfigError, match="run: is a link, expected the hub's run directory itself; choose"):
            use()
    assert (victim.stat().st_mode & 0o777, list(victim.iterdir())) == (0o755, [])
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
def test_a_path_with_a_link_of_another_user_is_refused(tmp_path: Path) -> None:
    """The user could redirect the hub at any time, so it is refused; links owned by root or by the hub's user work."""
    (tmp_path / "victim").mkdir()
    (tmp_path / "theirs").symlink_to("victim")
    os.chown(tmp_path / "theirs", 12345, 12345, follow_symlinks=False)
    with pytest.raises(ConfigError, match=r"/theirs is a symbolic link owned by user 12345; choose"):
        RunDir(tmp_path / "theirs/run").create()
    assert list((tmp_path / "victim").iterdir()) == []
    (tmp_path / "ours").symlink_to("victim")
    RunDir(tmp_path / "ours/run").create()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_a_path_through_a_directory_of_another_user_is_refused(tmp_path: Path) -> None:
    """The user could replace its content with a link, even while the hub is running, so nothing is created there."""
    theirs = tmp_path / "theirs"
    theirs.mkdir(mode=0o755)
    (tmp_path / "link").symlink_to("theirs/a")
    (theirs / "a").mkdir()
    os.chown(theirs, 12345, 12345)
    for path in (theirs / "run", theirs / "new/run", theirs / "a/run", tmp_path / "link/run"):
        with pytest.raises(ConfigError, match=r"/theirs is a directory owned by user 12345; choose"):
            RunDir(path).create()
    (theirs / "a/run").mkdir()
    with pytest.raises(ConfigError, match=r"/theirs is a directory owned by user 12345; choose"):
        RunDir(theirs / "a/run").secure()
    assert [path.name for path in theirs.rglob("*")] == ["a", "run"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
@pytest.mark.parametrize("name", ["node", "node/run"])
def test_a_directory_that_another_user_creates_after_the_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """A directory of that user does not become the run directory, even if it appears where there was none."""
    tmp_path.chmod(0o1777)
    (tmp_path / "theirs/run").mkdir(parents=True, mode=0o755)
    for path in (tmp_path / "theirs", tmp_path / "theirs/run"):
        os.chown(path, 12345, 12345)

    def open_later(path: Path, flags: int) -> int:
        (tmp_path / "theirs").rename(tmp_path / "node")
        monkeypatch.undo()
        return os.open(path, flags)

    monkeypatch.setattr(os, "open", open_later)
    with pytest.raises(ConfigError, match=r"belongs to user 12345|No such file or directory"):
        RunDir(tmp_path / name).secure()
    assert [path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")] == [0o755, 0o755]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
def test_a_link_that_another_user_creates_after_the_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is created where it leads."""
    tmp_path.chmod(0o1777)
    (tmp_path / "victim").mkdir()

    def create_later(path: Path, mode: int) -> None:
        (tmp_path / "node").symlink_to("victim")
        os.chown(tmp_path / "node", 12345, 12345, follow_symlinks=False)
        monkeypatch.undo()
        path.mkdir(mode)

    monkeypatch.setattr(os, "mkdir", create_later)
    with pytest.raises(ConfigError, match=r"/node is a symbolic link owned by user 12345; choose"):
        RunDir(tmp_path / "node/a/run").create()
    assert list((tmp_path / "victim").iterdir()) == []


def test_a_path_through_a_world_writable_directory_is_refused(tmp_path: Path) -> None:
    """Any user could rename the run directory, so it is refused, unless it is a directory such as /tmp."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    with pytest.raises(ConfigError, match=r"/open is world-writable; choose"):
        RunDir(tmp_path / "open/run").create()
    (tmp_path / "open").chmod(0o1777)
    RunDir(tmp_path / "open/run").create()


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user may have a group of its own")
def test_a_path_through_a_group_writable_directory_is_refused(tmp_path: Path) -> None:
    """A hub that runs as root would follow a link that a user of the group put in place of the run directory."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o2775)
    with pytest.raises(ConfigError, match=r"/shared is group-writable; choose"):
        RunDir(tmp_path / "shared/run").create()
    assert not (tmp_path / "shared/run").exists()
    (tmp_path / "shared").chmod(0o1775)
    RunDir(tmp_path / "shared/run").create()


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o722])
def test_a_directory_that_every_user_can_write_is_not_used(tmp_path: Path, mode: int) -> None:
    """Even a sticky one is refused: users may have put files into it, and still own directories they created there."""
    path = tmp_path / "run"
    path.mkdir()
    path.chmod(mode)
    for use in (RunDir(path).create, RunDir(path).secure):
        with pytest.raises(ConfigError, match=r"run: is world-writable, so other users may have put .*; remove it, or"):
            use()
    assert path.stat().st_mode & 0o7777 == mode


@pytest.mark.skipif(os.geteuid() != 0, reason="a plain user may have a group of its own")
def test_a_directory_that_a_group_can_write_is_not_used(tmp_path: Path) -> None:
    """As root, a hub refuses it for the same reason."""
    path = tmp_path / "run"
    path.mkdir()
    path.chmod(0o1775)
    with pytest.raises(ConfigError, match=r"run: is group-writable, so other users may have put .*; remove it, or"):
        RunDir(path).create()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to another user")
def test_what_another_user_left_in_the_directory_is_replaced(tmp_path: Path) -> None:
    """A process of that user that has it open cannot read or change what the hub and its plugins write from then on."""
    path = tmp_path / "run"
    (path / "node").mkdir(parents=True)
    (path / "serving").mkdir()
    for name in ("node/stub.health.json", "dphub.log", "dphub.lock", "dphub.json"):
        (path / name).write_text("theirs")
    (path / "link").symlink_to("/")
    (path / "stub-faults.yaml").write_text("ours")
    path.chmod(0o755)
    theirs = (path / "node", path / "dphub.log", path / "dphub.lock", path / "dphub.json", path / "link")
    for each in theirs:
        os.chown(each, 12345, 12345, follow_symlinks=False)
    RunDir(path).create()
    RunDir(path).create()
    (replaced,) = path.glob(".*")
    assert sorted(each.name for each in path.iterdir() if each != replaced) == ["serving", "stub-faults.yaml"]
    assert (replaced.stat().st_uid, (replaced / "stub.health.json").read_text()) == (12345, "theirs")


def test_the_directory_of_another_user_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, and its permissions stay the same."""
    (tmp_path / "run").mkdir(mode=0o755)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigError, match=r"belongs to user .*, expected user 12345, the user of the hub; choose"):
        RunDir(tmp_path / "run").create()
    assert (tmp_path / "run").stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize("exists", [True, False])
def test_no_other_user_can_enter_the_run_directory(tmp_path: Path, *, exists: bool) -> None:
    """This holds even if they could before."""
    path = tmp_path / "a/run"
    if exists:
        path.mkdir(parents=True)
        path.chmod(0o755)
    RunDir(path).create()
    assert path.stat().st_mode & 0o777 == 0o700

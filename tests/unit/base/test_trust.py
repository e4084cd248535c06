"""Root runs what a file says only if no other user can write to that file, or put another in its place."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace

import pytest

from hub.base import trust
from hub.base.errors import ConfigError
from hub.base.paths import path_steps
from hub.base.trust import check_own, check_tree, check_trusted

OTHER = 65534


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create a file in a directory; the user who runs the tests counts as root."""
    monkeypatch.setattr(trust, "_ROOT", os.geteuid())
    monkeypatch.setattr(trust, "path_steps", _from(tmp_path, path_steps))
    path = tmp_path / "etc" / "circus.ini"
    path.parent.mkdir(mode=0o755)
    path.touch(mode=0o644)
    return path


def _from(top: Path, way: Callable[[Path], Iterable[Path]]) -> Callable[[Path], Iterable[Path]]:
    """Leave out what is above a directory, which may belong to root where the tests run as another user."""
    return lambda path: (place for place in way(path) if place.is_relative_to(top))


def test_a_file_of_root_is_trusted(file: Path) -> None:
    """Only root can write to the file and its directories."""
    check_trusted(file)


def test_a_missing_file_is_not_trusted(file: Path) -> None:
    """In a sticky directory, another user could create it a moment after the check, before it is read."""
    file.parent.chmod(0o1777)
    missing = file.with_name("missing")
    with pytest.raises(ConfigError, match="missing: no such file"):
        check_trusted(missing)
    check_trusted(missing, may_be_missing=True)


@pytest.mark.parametrize(("mode", "problem"), [(0o664, "group-writable"), (0o646, "world-writable")])
def test_a_file_that_others_can_write(file: Path, mode: int, problem: str) -> None:
    """The error names those who can, and says what to do."""
    file.chmod(mode)
    with pytest.raises(ConfigError, match=f"circus.ini: is {problem}, and root would run .*; copy it to"):
        check_trusted(file)


@pytest.mark.parametrize("missing", [False, True])
def test_a_directory_that_others_can_write(file: Path, *, missing: bool) -> None:
    """They could put another file in its place, even a moment after the check; the error names the directory."""
    file.parent.chmod(0o777)
    if missing:
        file.unlink()
    with pytest.raises(ConfigError, match=f"circus.ini: {file.parent} is world-writable"):
        check_trusted(file)


def test_a_sticky_directory(file: Path) -> None:
    """No other user can replace root's files in it, but every user can add one."""
    file.parent.chmod(0o1777)
    check_trusted(file)
    with pytest.raises(ConfigError, match="is world-writable"):
        check_trusted(file.parent)


def test_a_link_in_a_directory_of_others(file: Path, tmp_path: Path) -> None:
    """Each link on the path to the file matters, not only the file at the end."""
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    (theirs / "link").symlink_to(file)
    ours = tmp_path / "link"
    ours.symlink_to("theirs/link")
    check_trusted(ours)
    theirs.chmod(0o777)
    with pytest.raises(ConfigError, match=f"{theirs} is world-writable"):
        check_trusted(ours)


def test_a_read_only_mount(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions of directories do not matter there, as in a ConfigMap; those of files do, and so do owners.

    Elsewhere, the same files may be mounted so that other users can write to them.
    """
    file.parent.chmod(0o777)
    monkeypatch.setattr(os, "statvfs", lambda _path: SimpleNamespace(f_flag=os.ST_RDONLY))
    check_trusted(file)
    for mode in (0o666, 0o664):
        file.chmod(mode)
        with pytest.raises(ConfigError, match="-writable, and root would run its contents"):
            check_trusted(file)
    file.chmod(0o644)
    monkeypatch.setattr(trust, "_ROOT", OTHER)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    with pytest.raises(ConfigError, match="belongs to user"):
        check_trusted(file)


def test_links_without_end(file: Path) -> None:
    """The check ends without an error; reading the file then fails."""
    file.unlink()
    file.symlink_to(file)
    check_trusted(file)


@pytest.mark.parametrize("theirs", ["file", "directory"])
def test_a_file_that_the_user_did_not_name(file: Path, monkeypatch: pytest.MonkeyPatch, theirs: str) -> None:
    """A file that is only found, such as ./circus.ini, is used if it and its directory are the user's or root's."""
    monkeypatch.chdir(file.parent)
    check_own(Path(file.name), "name it")
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    check_own(Path(file.name), "name it")
    monkeypatch.setattr(trust, "_ROOT", OTHER + 1)
    place = file if theirs == "file" else file.parent
    lstat = Path.lstat
    owned = {path: lstat(path) for path in (file, file.parent)}
    monkeypatch.setattr(
        Path, "lstat", lambda path: _owned(owned[path.absolute()], user if path.absolute() == place else OTHER)
    )
    with pytest.raises(ConfigError, match=r"circus.ini: .*belongs to user .*, so it is not used by default; name it"):
        check_own(Path(file.name), "name it")


def _owned(found: os.stat_result, owner: int) -> os.stat_result:
    return os.stat_result((*found[:4], owner, *found[5:]))


def test_a_file_of_another_user(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused, because the owner can always write to it."""
    monkeypatch.setattr(trust, "_ROOT", OTHER)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    with pytest.raises(ConfigError, match=f"belongs to user .*{os.getuid()}"):
        check_trusted(file)


@pytest.fixture
def checkout(file: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Create the file next to the hub's own code, in a directory that belongs to a user other than root."""
    code = file.with_name("trust.py")
    code.touch(mode=0o644)
    monkeypatch.setattr(trust, "_ROOT", OTHER)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    monkeypatch.setattr(trust, "_OURS", (file.parent,))
    monkeypatch.setattr(trust, "_CODE", code, raising=False)
    return file


def test_a_file_next_to_the_hubs_own_code(checkout: Path) -> None:
    """Root can use another user's checkout; that user can change the hub's code anyway."""
    check_trusted(checkout)


@pytest.mark.parametrize("kind", ["writable", "link", "directory"])
def test_a_file_next_to_the_hubs_own_code_that_more_users_can_change(checkout: Path, kind: str) -> None:
    """It is checked like any other file."""
    checkout.chmod(0o666)
    if kind != "writable":
        theirs = checkout.rename(checkout.with_name("theirs"))
        checkout.symlink_to(theirs) if kind == "link" else checkout.mkdir(mode=0o777)
    with pytest.raises(ConfigError, match="root would run its contents"):
        check_trusted(checkout)


def test_a_file_of_another_user_next_to_the_hubs_own_code(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is checked like any other file."""
    lstat, owner = Path.lstat, checkout.lstat().st_uid + 1
    monkeypatch.setattr(Path, "lstat", lambda path: _owned(lstat(path), owner) if path == checkout else lstat(path))
    with pytest.raises(ConfigError, match="belongs to user"):
        check_trusted(checkout)


def test_checks_do_not_apply_to_other_users(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's own hub, in a team's directories, does not give anyone root access."""
    file.chmod(0o666)
    monkeypatch.setattr(os, "geteuid", lambda: OTHER)
    check_trusted(file)


def _check_tree(directory: Path) -> None:
    check_tree(directory, "root would run it", "install it elsewhere")


def test_a_tree_of_root(file: Path) -> None:
    """Nothing in it can be changed by another user; links may lead back, or nowhere."""
    (file.parent / "below").mkdir(mode=0o755)
    (file.parent / "below" / "back").symlink_to(file.parent)
    (file.parent / "nowhere").symlink_to("missing")
    _check_tree(file.parent)


@pytest.mark.parametrize("what", ["file", "directory", "target"])
def test_a_tree_in_which_others_can_write(file: Path, tmp_path: Path, what: str) -> None:
    """The check finds it however deep it is, and even behind a link; the error names the path."""
    below = file.parent / "below"
    below.mkdir(mode=0o755)
    place = {"file": below / "module.py", "directory": below / "package", "target": tmp_path / "theirs"}[what]
    if what == "file":
        place.touch()
    else:
        place.mkdir()
    if what == "target":
        (below / "link").symlink_to(place)
        place = below / "link"
    place.chmod(0o777)
    with pytest.raises(ConfigError, match=f"{place}: .*is world-writable, and root would run it; install it elsewhere"):
        _check_tree(file.parent)


def test_a_tree_that_cannot_be_read(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not trusted: something in it may belong to another user."""

    def scandir(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(ConfigError, match=f"{file.parent}: cannot be read: Permission denied"):
        _check_tree(file.parent)

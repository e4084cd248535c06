"""Commands that delete sockets in a plugin directory do not follow links of other users."""

import os
from pathlib import Path

import pytest

from hub.base.errors import ConfigError
from hub.cli.plugindir import check_own_directory, make_own_directory

OTHER_USER = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
@pytest.mark.parametrize("place", ["the directory", "above it", "a link", "for every user"])
def test_root_deletes_no_sockets_through_links_of_other_users(directory: Path, place: str) -> None:
    """This holds even later: the owner of a directory can replace it with a link at any time."""
    own = directory / "above" / "device-plugins"
    own.mkdir(parents=True)
    check_own_directory(own)
    if place == "the directory":
        os.chown(own, OTHER_USER, OTHER_USER)
    elif place == "above it":
        os.chown(own.parent, OTHER_USER, OTHER_USER)
    elif place == "a link":
        (directory / "link").symlink_to(own)
        os.lchown(directory / "link", OTHER_USER, OTHER_USER)
        own = directory / "link"
    else:
        own.chmod(0o777)
    with pytest.raises(
        ConfigError, match=r"root could be made to delete sockets elsewhere; choose another with --plugin-dir"
    ):
        check_own_directory(own)


@pytest.mark.skipif(os.geteuid() != 0, reason="users other than root may use a missing directory")
def test_a_directory_that_does_not_exist_yet(directory: Path) -> None:
    """It is created before it is checked: in a sticky directory, another user could create it in between."""
    new = directory / "new" / "device-plugins"
    check_own_directory(new, may_be_missing=True)
    with pytest.raises(ConfigError, match="no such file"):
        check_own_directory(new)
    make_own_directory(new)
    assert new.is_dir()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
def test_a_plugin_directory_that_another_user_creates_after_the_check(directory: Path) -> None:
    """What appears after the first check is not used."""
    new = directory / "new" / "device-plugins"
    check_own_directory(new, may_be_missing=True)
    (directory / "elsewhere").mkdir()
    (directory / "new").symlink_to("elsewhere")
    os.lchown(directory / "new", OTHER_USER, OTHER_USER)
    with pytest.raises(ConfigError, match="belongs to user"):
        make_own_directory(new)

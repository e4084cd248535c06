"""Commands that delete sockets in a plugin directory are not led elsewhere."""

import os
from pathlib import Path

import pytest

from hub.base.errors import ConfigError
from hub.cli.plugindir import check_own_directory

OTHER_USER = 65534


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
@pytest.mark.parametrize("place", ["the directory", "above it", "a link", "for every user"])
def test_root_deletes_no_sockets_where_another_user_leads(directory: Path, place: str) -> None:
    """Neither now nor later: the owner of a directory can replace it by a link at any time."""
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
        ConfigError, match=r"root would delete sockets where it leads; choose another with --plugin-dir"
    ):
        check_own_directory(own)


def test_a_directory_that_does_not_exist_yet(directory: Path) -> None:
    """The command creates it."""
    check_own_directory(directory / "new" / "device-plugins")

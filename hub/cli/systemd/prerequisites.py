"""Checks of what the service will find on the node: this program, and its configuration."""

import os
import sys
from pathlib import Path

from hub.base.errors import ConfigError, HubError
from hub.base.trust import check_tree, check_trusted
from hub.cli.systemd.unit import ENVIRONMENT, HIDDEN
from hub.supervisor.config.watchers import read_config, shipped_config

_ELSEWHERE = "install the hub elsewhere, for example in /opt/dphub"


def check_systemd(root: Path) -> None:
    """Check that a service can be installed on this node.

    Raises:
        HubError: there is no systemd, or this user is not root.
    """
    if root != Path("/"):
        return
    if not Path("/run/systemd/system").is_dir():
        raise HubError(
            "this node does not run systemd, or this is a container: run the command on the node itself; "
            "for the file system of an image, use --root"
        )
    if os.geteuid() != 0:
        raise HubError("only root can install or remove a service: repeat the command as root; --dry-run needs no root")


def own_program(root: Path) -> tuple[str, ...]:
    """Return the command with which the service runs this program.

    Raises:
        HubError: the service cannot see the program, or another user could change it.
    """
    python = Path(sys.executable)
    script = python.with_name("dphub")
    for path in (python, script, Path(sys.prefix), Path(sys.base_prefix), Path(__file__)):
        _check_visible(path)
    _check_program(python, script)
    command = (str(script),) if script.exists() else (str(python), "-P", "-m", "hub")
    return (_inside(root, Path(command[0])), *command[1:])


def _check_program(python: Path, script: Path) -> None:
    """Check that only root can change what the service runs: the program, Python, and every module it can import.

    Raises:
        ConfigError: another user can.
    """
    danger = "root would run it"
    # The location of the last of these determines where Python looks for its own modules.
    for path in (python, script, Path(__file__), Path(sys.prefix, "pyvenv.cfg")):
        if path.is_symlink() or path.exists():
            check_trusted(path, danger, _ELSEWHERE)
    for path in dict.fromkeys(map(Path, sys.path)):
        if path.is_dir():
            check_tree(path, danger, _ELSEWHERE)
        elif path.exists():
            # Python imports modules from archives, too.
            check_trusted(path, danger, _ELSEWHERE)


def check_configuration(root: Path, config: Path) -> None:
    """Check that the service will find its circus.ini, and that the file is valid.

    Raises:
        HubError: the file is missing or invalid, or another user can change it or the variables for the hub.
    """
    _check_visible(config)
    path = root / config.relative_to("/")
    if not path.exists():
        raise ConfigError(
            path, f"no such file; copy {shipped_config()} there and adapt it, or name another file with --config"
        )
    read_config(path)
    check_trusted(path)
    check_trusted(
        root / ENVIRONMENT.relative_to("/"),
        "root would run the hub with these variables",
        "make it and its directory writable only by root",
        may_be_missing=True,
    )


def _check_visible(path: Path) -> None:
    for place in (path.absolute(), path.resolve()):
        for hidden in HIDDEN:
            if place.is_relative_to(hidden):
                raise HubError(f"{place} is in {hidden}, which the service does not see; {_ELSEWHERE}")


def _inside(root: Path, path: Path) -> str:
    """Return a path as it is in the file system of an image."""
    return str(Path("/") / path.relative_to(root) if path.is_relative_to(root) else path)

"""The CDI file of a claim, which defines what its containers get: a CDI device for each group of devices in a request.

A file name is never reused for different content, since container runtimes keep what they have read.
"""

from collections.abc import Mapping
from os import fspath
from pathlib import Path
from typing import Any

from hub.api.cdi import cdi_spec
from hub.api.device import Allocation
from hub.base.jsonfile import replace_bytes

CLASS = "claim"

_NUMBERED = "{name}.{number}"
"""The name of a request has no dot, so a numbered name never equals that of another request."""


def cdi_kind(driver: str) -> str:
    """Return the kind of a driver's CDI devices. The driver's name is the vendor, which makes the kind unique."""
    return f"{driver}/{CLASS}"


def cdi_device(uid: str, request: str, number: int = 0) -> str:
    """Return the name of the CDI device of a claim's request, or of a further group of devices in that request."""
    name = f"{uid}-{request}"
    return _NUMBERED.format(name=name, number=number) if number else name


def claim_spec(driver: str, groups: Mapping[str, Allocation]) -> dict[str, Any]:
    """Return a CDI specification.

    Args:
        driver: The driver's name.
        groups: What a container gets, by the name of the CDI device.
    """
    return cdi_spec(driver, CLASS, {name: _edits(name, each) for name, each in groups.items()})


def _edits(name: str, allocation: Allocation) -> dict[str, Any]:
    """Return the container edits. Empty ones are invalid, so a container that gets nothing else gets a variable."""
    edits: dict[str, Any] = {}
    if allocation.nodes:
        edits["deviceNodes"] = [
            {
                "path": fspath(node.container_path),
                "hostPath": fspath(node.host_path),
                "permissions": node.permissions,
            }
            for node in allocation.nodes
        ]
    if allocation.mounts:
        edits["mounts"] = [
            {
                "hostPath": fspath(mount.host_path),
                "containerPath": fspath(mount.container_path),
                "options": ["ro" if mount.read_only else "rw", "nosuid", "nodev", "rbind"],
            }
            for mount in allocation.mounts
        ]
    env = [f"{key}={value}" for key, value in allocation.env.items()]
    if env or not edits:
        edits["env"] = env or [f"DPHUB_CLAIM={name}"]
    return edits


class ClaimCdiFiles:
    """The CDI files of the claims of one driver.

    Args:
        driver: The driver's name.
        directory: Where container runtimes look for them.
    """

    def __init__(self, driver: str, directory: Path) -> None:
        self._driver = driver
        self._directory = directory

    def path(self, uid: str) -> Path:
        """Return the file of a claim."""
        return self._directory / f"{self._driver}-{CLASS}-{uid}.json"

    def write(self, uid: str, spec: bytes) -> None:
        """Write the file of a claim.

        Raises:
            OSError: the file cannot be written.
        """
        # A runtime sees the old content or the new content, never part of it.
        self._directory.mkdir(parents=True, exist_ok=True)
        replace_bytes(self.path(uid), spec, mode=0o644)

    def restore(self, files: Mapping[str, bytes]) -> None:
        """Write the missing files of these claims, keyed by uid, and remove the files of all other claims.

        Raises:
            OSError: the files cannot be written or removed.
        """
        for uid, spec in files.items():
            if not self.path(uid).exists():
                self.write(uid, spec)
        for path in set(self._directory.glob(f"{self._driver}-{CLASS}-*.json")) - set(map(self.path, files)):
            path.unlink(missing_ok=True)

    def remove(self, uid: str) -> None:
        """Remove the file of a claim.

        Raises:
            OSError: the file cannot be removed.
        """
        self.path(uid).unlink(missing_ok=True)

"""CDI specification files (Container Device Interface), which define the CDI names in an `Allocation`.

For plugins that write such files. Only files of one vendor are ever changed.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hub.base.jsonfile import replace_bytes
from hub.base.log import get_logger
from hub.base.untrusted import UnreadableError, read_bytes

CDI_DIRECTORY = "/var/run/cdi"
"""Where container runtimes look for specifications that are generated while a node runs."""

VERSION = "0.5.0"
"""The first version of the specification with `hostPath` for device nodes."""

Edits = Mapping[str, Any]
"""What a container gets (`containerEdits`)."""


def cdi_spec(vendor: str, name: str, devices: Mapping[str, Edits], common: Edits | None = None) -> dict[str, Any]:
    """Build a CDI specification.

    Args:
        vendor: The vendor, such as "example.com".
        name: The class of the devices; their kind is "VENDOR/NAME".
        devices: Maps each device's name to what a container with that device gets.
        common: What a container gets with any of the devices.
    """
    listed = [{"name": device, "containerEdits": edits} for device, edits in devices.items()]
    edits = {"containerEdits": common} if common else {}
    return {"cdiVersion": VERSION, "kind": f"{vendor}/{name}", "devices": listed, **edits}


class CdiSpecFiles:
    """The CDI specification files of one vendor.

    Args:
        directory: Where the files are.
        vendor: The vendor, such as "example.com".
    """

    def __init__(self, directory: Path, vendor: str) -> None:
        self._directory = directory
        self._vendor = vendor
        self._log = get_logger()

    def keep(self, specs: Mapping[str, Mapping[str, Any]]) -> None:
        """Write these specifications, by class of devices, and remove all others of the vendor.

        Raises:
            OSError: a file cannot be written or removed.
        """
        paths = {self._directory / f"{self._vendor}-{name}.json": spec for name, spec in specs.items()}
        for path, spec in paths.items():
            self._write(path, spec)
        for path in set(self._directory.glob(f"{self._vendor}-*.json")) - paths.keys():
            path.unlink(missing_ok=True)
            self._log.info("cdi file removed", file=str(path))

    def _write(self, path: Path, spec: Mapping[str, Any]) -> None:
        content = json.dumps(spec, indent=1).encode()
        if _content(path) == content:
            return
        self._directory.mkdir(parents=True, exist_ok=True)
        # Container runtimes read every .json and .yaml file; they see the old content or the new, never a part.
        replace_bytes(path, content, mode=0o644)
        self._log.info("cdi file written", file=str(path), devices=len(spec["devices"]))


def _content(path: Path) -> bytes | None:
    try:
        return read_bytes(path)
    except UnreadableError:
        # Whatever is there is replaced.
        return None

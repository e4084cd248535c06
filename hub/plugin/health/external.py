"""What other programs on the node report as wrong with devices, each report in a file of its own.

    {"device": "GPU-5ad2", "source": "memory-test", "reason": "row 7 is bad", "until": "2026-12-01T00:00:00Z"}

Such a report can only take a device away: it is evaluated alongside the health records and changes none of them. When
its file is removed, or it expires, the device is as healthy as the records say.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec
from msgspec.structs import replace

from hub.api.device import Device
from hub.base.errors import HubError
from hub.base.failures import one_line
from hub.base.log import get_logger
from hub.base.trust import check_writers
from hub.base.untrusted import decode_json, read_bytes
from hub.plugin.health.keys import share_key
from hub.plugin.health.record import Fault

MAX_BYTES = 4096
"""The size limit of a file."""

MAX_FILES = 1024
"""Maximum number of files, the first by name: all are looked at every five seconds."""

_Text = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]


class ExternalReport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of a file."""

    device: _Text
    """An id, a physical device, a PCI address, a name such as "mlx5_0", or "RESOURCE ID"."""
    reason: _Text
    source: _Text
    """The program that says so."""
    until: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
    """When the report expires; None if only the removal of its file ends it."""

    def has_expired(self, now: float) -> bool:
        """Return whether it has expired."""
        return self.until is not None and self.until <= datetime.fromtimestamp(now, UTC)


class _File(NamedTuple):
    """A file as it was last read."""

    version: tuple[int, int, int]
    report: ExternalReport | None = None
    """None if it has no valid one."""
    since: float = 0
    """Unix time since which it says this; a report whose `until` changes is still the same report."""


class ExternalFaults:
    """Keeps the reports that are valid now.

    Args:
        directory: Where the files are; None if there are none.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._problem = ""
        self._files: dict[str, _File] = {}
        self._faults: dict[str, tuple[Fault, ...]] = {}
        self._rejected: dict[str, str] = {}
        self._log = get_logger()

    def __bool__(self) -> bool:
        return bool(self._faults)

    def of(self, resource: str, device: Device) -> Iterator[Fault]:
        """Yield what the reports say about a device of a resource."""
        names = device.id, device.physical, share_key(resource, device), *device.pci, device.attributes.get("name", "")
        for name in dict.fromkeys(names):
            yield from self._faults.get(name, ())

    def refresh(self, now: float) -> bool:
        """Look at the files again; return whether the reports that are valid have changed."""
        if (paths := self._paths()) is not None:
            self._files = {path.name: self._read(path, now) for path in paths}
            self._rejected = {name: reason for name, reason in self._rejected.items() if name in self._files}
        faults: dict[str, tuple[Fault, ...]] = {}
        for _, report, since in self._files.values():
            if report and not report.has_expired(now):
                fault = Fault(one_line(f"reported by {report.source}: {report.reason}"), since)
                faults[report.device] = (*faults.get(report.device, ()), fault)
        before, self._faults = self._faults, faults
        return before != faults

    def _paths(self) -> list[Path] | None:
        """List the files; None if that is not possible, or if another user could have put them there.

        Then what they said before remains.
        """
        paths, problem = [], ""
        try:
            paths = _json_files(self._directory) if self._directory else []
        except FileNotFoundError:
            # There is no directory, and so no file.
            pass
        except (HubError, OSError) as error:
            problem = str(error)
        failed = bool(problem)
        if len(paths) > MAX_FILES:
            problem = f"{self._directory} has more than {MAX_FILES} files: the others are ignored"
        if problem and problem != self._problem:
            self._log.error("external faults ignored", reason=problem)
        self._problem = problem
        return None if failed else paths[:MAX_FILES]

    def _read(self, path: Path, now: float) -> _File:
        """Read a file if it has changed; one that cannot be used affects no other, and what it said before remains."""
        known = self._files.get(path.name, _File((0, 0, 0)))
        try:
            found = path.lstat()
        except FileNotFoundError:
            # It was removed meanwhile.
            return _File((0, 0, 0))
        except OSError:
            return known
        version = found.st_ino, found.st_ctime_ns, found.st_size
        if known.version == version:
            return known
        try:
            content = read_bytes(path, max_bytes=MAX_BYTES)
            check_writers(path)
            report = decode_json(content, ExternalReport, path)
        except (HubError, OSError) as error:
            self._log_rejected(path, str(error))
            # Read again next time: an error of the node, such as too many open files, may have passed by then.
            return known
        self._rejected.pop(path.name, None)
        says_same = known.report and replace(known.report, until=None) == replace(report, until=None)
        return _File(version, report, known.since if says_same else min(now, found.st_mtime))

    def _log_rejected(self, path: Path, reason: str) -> None:
        """Log why a file cannot be used, once for each reason."""
        if self._rejected.get(path.name) != reason:
            self._log.error("external fault rejected", file=str(path), reason=reason)
            self._rejected[path.name] = reason


def _json_files(directory: Path) -> list[Path]:
    """List the files whose names end in .json, by name.

    Raises:
        ConfigError: another user can add files.
        OSError: the directory cannot be read; `FileNotFoundError` if there is none.
    """
    check_writers(directory)
    names = os.listdir(directory)  # noqa: PTH208 - pathlib ignores errors
    return [directory / name for name in sorted(names) if name.endswith(".json") and not name.startswith(".")]

"""What other programs on the node report as wrong with devices, each report in a file of its own.

    {"device": "GPU-5ad2", "source": "memory-test", "reason": "row 7 is bad", "until": "2026-12-01T00:00:00Z"}

A report can only make a device unhealthy: it is evaluated alongside the health records and changes none of them.
When its file is removed, or it expires, the device is as healthy as the records say.
"""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from hub.api.device import Device
from hub.base.errors import HubError
from hub.base.failures import one_line
from hub.base.log import get_logger
from hub.base.trust import check_writers
from hub.base.untrusted import decode_json, read_bytes
from hub.model.external import MAX_BYTES, MAX_ENTRIES, MAX_FILES, ExternalReport
from hub.plugin.health.keys import share_key

MAX_REASON = 1000
"""Maximum size in bytes of everything that the reports say about a device: thousands of shares may have the same
reason, and the plugin's report contains it for each."""


MAX_PROGRAMS = 8
"""Maximum number of programs of which a device's status has the names."""

_LONGEST_PROGRAM = 100


class ExternalFault(NamedTuple):
    """What one report, or all reports, say about a device."""

    reason: str
    since: float
    """Unix time."""
    programs: tuple[str, ...]
    """The programs that report it: their sources, up to the first slash."""


class _File(NamedTuple):
    """A file as it was last read."""

    version: tuple[int, int, int]
    report: ExternalReport | None = None
    """None if the file has no valid report."""
    since: float = 0
    """Unix time since which the report has been the same; a change to `until` does not make it a different one."""
    bound: str = ""
    """The PCI address of the device, if the report names the device by a name that can change."""


class ExternalFaults:
    """Keeps the reports that are valid now.

    Args:
        directory: Where the files are; None if there are none.
    """

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._problem = ""
        self._files: dict[str, _File] = {}
        self._faults: dict[str, dict[str, ExternalFault]] = {}
        """Keyed by device, then by file."""
        self._rejected: dict[str, str] = {}
        self._log = get_logger()

    def __bool__(self) -> bool:
        return bool(self._faults)

    def of(self, resource: str, device: Device) -> ExternalFault | None:
        """Return what the reports say about a device of a resource, as one fault; None if they say nothing."""
        self._bind(device)
        names = device.id, device.physical, share_key(resource, device), *device.pci, device.attributes.get("name", "")
        faults = [fault for name in dict.fromkeys(names) for fault in self._faults.get(name, {}).values()]
        if not faults:
            return None
        programs = dict.fromkeys(program for fault in faults for program in fault.programs)
        return ExternalFault(
            _joined([fault.reason for fault in faults]), faults[0].since, tuple(programs)[:MAX_PROGRAMS]
        )

    def refresh(self, now: float) -> bool:
        """Check the files again; return whether the reports that are valid have changed."""
        if self._directory and (names := self._names(self._directory, now)) is not None:
            self._files = {name: self._read(self._directory / name, now) for name in names}
            self._rejected = {name: reason for name, reason in self._rejected.items() if name in self._files}
        faults: dict[str, dict[str, ExternalFault]] = {}
        for name, (_, report, since, bound) in self._files.items():
            if report and not report.has_expired(now):
                reason = one_line(f"reported by {report.source}: {report.reason}")
                fault = ExternalFault(reason, since, (report.source.partition("/")[0][:_LONGEST_PROGRAM],))
                faults.setdefault(bound or report.device, {})[name] = fault
        before, self._faults = self._faults, faults
        return before != faults

    def _bind(self, device: Device) -> None:
        """Bind the reports that name a device by its current name to its PCI address.

        A container that may configure the network can rename its RDMA device; without the binding, it would be healthy.
        """
        name, address = device.attributes.get("name", ""), next(iter(device.pci), "")
        if address and name != address and (found := self._faults.pop(name, None)):
            self._files |= {file: self._files[file]._replace(bound=address) for file in found}
            self._faults[address] = self._faults.get(address, {}) | found

    def _names(self, directory: Path, now: float) -> list[str] | None:
        """Choose the files to read; None if the directory cannot be read, or another user could have put them there.

        In both cases, their previous content stays in effect. So does a valid report whose file exists, however many
        others there are: no other file takes its place.
        """
        entries: list[str] = []
        problem = ""
        try:
            entries = _entries(directory)
        except FileNotFoundError:
            # There is no directory, and so no file.
            pass
        except (HubError, OSError) as error:
            problem = str(error)
        failed = bool(problem)
        valid = [name for name, file in self._files.items() if file.report and not file.report.has_expired(now)]
        files = {name for name in entries if name.endswith(".json") and not name.startswith(".")}
        new = sorted(files.difference(valid))
        if len(entries) > MAX_ENTRIES:
            problem = f"{directory} has more than {MAX_ENTRIES} entries: some are ignored"
        elif len(valid) + len(new) > MAX_FILES:
            problem = f"{directory} has more than {MAX_FILES} files: some of the new ones are ignored"
        if problem and problem != self._problem:
            self._log.error("external faults ignored", reason=problem)
        self._problem = problem
        return None if failed else sorted([*valid, *new[: MAX_FILES - len(valid)]])

    def _read(self, path: Path, now: float) -> _File:
        """Read a file if it has changed; if it is invalid, its previous content stays in effect, as do other files."""
        known = self._files.get(path.name, _File((0, 0, 0)))
        try:
            found = path.lstat()
        except FileNotFoundError:
            # It was removed in the meantime.
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
            # The file is read again next time: an error such as too many open files may be over by then.
            return known
        self._rejected.pop(path.name, None)
        says_same = known.report and replace(known.report, until=None) == replace(report, until=None)
        bound = known.bound if known.report and known.report.device == report.device else ""
        return _File(version, report, known.since if says_same else max(0.0, min(now, found.st_mtime)), bound)

    def _log_rejected(self, path: Path, reason: str) -> None:
        """Log why a file cannot be used, once for each reason."""
        if self._rejected.get(path.name) != reason:
            self._log.error("external fault rejected", file=str(path), reason=reason)
            self._rejected[path.name] = reason


def _joined(reasons: Sequence[str]) -> str:
    """Join the first reasons, as many as fit in `MAX_REASON` bytes, and say how many more there are."""
    kept: list[str] = []
    room = MAX_REASON
    for reason in reasons:
        size = len(reason.encode())
        if kept and size > room:
            break
        kept.append(reason if size <= room else f"{reason.encode()[: room - 3].decode(errors='ignore')}...")
        room -= size + len("; ")
    more = len(reasons) - len(kept)
    return "; ".join(kept) + (f"; and {more} more" if more else "")


def _entries(directory: Path) -> list[str]:
    """List the first entries of a directory, at most one more than are examined.

    Raises:
        ConfigError: another user can add files.
        OSError: the directory cannot be read; `FileNotFoundError` if there is none.
    """
    check_writers(directory)
    with os.scandir(directory) as entries:
        return [entry.name for entry in islice(entries, MAX_ENTRIES + 1)]

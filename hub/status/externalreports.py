"""Keeps reports from other programs in the directory that plugins read: one file for each program and device."""

import hashlib
import os
import re
import time
from contextlib import suppress
from itertools import islice
from pathlib import Path

from hub.base.errors import HubError
from hub.base.jsonfile import file_content, read_file, replace_bytes
from hub.base.removal import make_directory
from hub.base.trust import check_writers
from hub.base.untrusted import UnreadableError, decode_json
from hub.model.external import MAX_BYTES, MAX_ENTRIES, ExternalReport

MAX_KEPT = 512
"""Maximum number of reports that one writer keeps. Plugins read at most 1,024 files: the rest is for other programs."""

_LOOK_SECONDS = 5.0
"""Seconds until reports are checked again for some that have expired, if none had: reading them all takes time."""

SOCKET_REPORTS = "socket"
"""The writer that keeps the reports that the hub's socket receives."""

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]+")


class ExternalReports:
    """The reports of one writer, which does not touch the files of other writers.

    Args:
        directory: The directory that plugins read.
        writer: The prefix of the file names.
    """

    def __init__(self, directory: Path, writer: str) -> None:
        self._directory = directory
        self._writer = writer
        self._next_look = 0.0

    def put(self, report: ExternalReport) -> bool:
        """Keep a report, in place of any earlier one by this source about this device; return whether there was none.

        Raises:
            HubError: the report is too long, there are too many reports, or the directory cannot be used.
            OSError: it cannot be written.
        """
        content = _content(report)
        make_directory(self._directory)
        check_writers(self._directory)
        path = self._path(report.source, report.device)
        is_new = not path.is_file()
        if is_new:
            self._make_room()
        replace_bytes(path, content, mode=0o600)
        return is_new

    def kept(self) -> list[ExternalReport]:
        """Return the reports that this writer keeps, except any that cannot be read.

        Raises:
            OSError: the directory cannot be read.
        """
        reports = []
        for path in self._files():
            with suppress(UnreadableError):
                reports.append(read_file(path, ExternalReport, max_bytes=MAX_BYTES))
        return [report for report in reports if report]

    def withdraw(self, source: str, device: str) -> bool:
        """Remove the report of a source about a device; return whether there was one.

        Raises:
            OSError: it cannot be removed.
        """
        path = self._path(source, device)
        was_there = os.path.lexists(path)
        path.unlink(missing_ok=True)
        return was_there

    def _path(self, source: str, device: str) -> Path:
        digest = hashlib.sha256(f"{source}\0{device}".encode(errors="surrogatepass")).hexdigest()[:16]
        return self._directory / f"{self._writer}-{_NOT_IN_NAMES.sub('-', source)[:64]}-{digest}.json"

    def _make_room(self) -> None:
        """Remove reports that have expired if there are too many.

        Raises:
            HubError: too many are left.
            OSError: the directory cannot be read, or a file cannot be removed.
        """
        kept = self._files()
        if len(kept) < MAX_KEPT:
            return
        if time.monotonic() >= self._next_look:
            expired = [path for path in kept if _has_expired(path)]
            for path in expired:
                path.unlink(missing_ok=True)
            if len(kept) - len(expired) < MAX_KEPT:
                return
            self._next_look = time.monotonic() + _LOOK_SECONDS
        raise HubError(f"there are {MAX_KEPT} reports already: withdraw some of them")

    def _files(self) -> list[Path]:
        """List the files of this writer.

        Raises:
            OSError: the directory cannot be read.
        """
        try:
            with os.scandir(self._directory) as entries:
                names = [entry.name for entry in islice(entries, MAX_ENTRIES)]
        except FileNotFoundError:
            # No report has been kept yet.
            names = []
        return [self._directory / name for name in names if name.startswith(f"{self._writer}-")]


def _content(report: ExternalReport) -> bytes:
    """Return the content of a report's file, which plugins will accept.

    Raises:
        HubError: they would not.
    """
    content = file_content(report)
    if len(content) > MAX_BYTES:
        raise HubError(f"the report takes more than {MAX_BYTES} bytes: shorten its reason")
    decode_json(content, ExternalReport, "the report")
    return content


def _has_expired(path: Path) -> bool:
    try:
        report = read_file(path, ExternalReport, max_bytes=MAX_BYTES)
    except UnreadableError:
        # Plugins do not use a file that cannot be read.
        return True
    return report is None or report.has_expired(time.time())

"""What was prepared for each claim: one file for each claim, in the run directory, shared by all hubs on the node.

    state      event                          next
    ---------  -----------------------------  -----------------------------------------------------
    (none)     Prepare: reserve()             preparing: its devices are held, nothing else is known
    preparing  Prepare succeeds: finish()     prepared
    preparing  Prepare fails: withdraw()      (none)
    preparing  Unprepare: release()           released, so that a late retry of Prepare is refused
    prepared   Prepare again                  prepared: the same response, from the record
    prepared   Unprepare: release()           (none); released while other hubs run
    prepared   Unprepare: begin_reset()       resetting: its devices are held until they are reset
    resetting  the reset ends: release()      (none); released while other hubs run
    released   a minute later                 (none)

The files last as long as the CDI files: until the node reboots. Then the kubelet asks for every claim to be prepared
again.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from hub.base.jsonfile import read_file, replace_file, set_aside
from hub.base.locks import existing_lock, open_lock, try_lock
from hub.base.log import get_logger
from hub.base.removal import make_directory
from hub.base.untrusted import UnreadableError
from hub.model.plugin import DRIVER_SUFFIX
from hub.plugin.dra.claimrecord import ClaimRecord, ClaimState, require_free

RELEASED_SECONDS = 60.0
"""The time for which a late retry of a call is refused: the kubelet's calls last at most 45 seconds."""

_LOCK = ".lock"
_LOCK_SECONDS = 0.5
_POLL = 0.01


class ClaimRecords:
    """The records of one plugin's claims.

    Args:
        directory: Where the files are; it is created when needed.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._log = get_logger()

    def begin(self, driver: str) -> None:
        """Record that a driver is in use, so that a later process knows of it, even one that serves something else.

        Raises:
            OSError: the record cannot be written.
        """
        make_directory(self._directory)
        (self._directory / f"{driver}{DRIVER_SUFFIX}").touch()

    def end(self, driver: str) -> None:
        """Record that a driver is no longer in use.

        Raises:
            OSError: the record cannot be written.
        """
        (self._directory / f"{driver}{DRIVER_SUFFIX}").unlink(missing_ok=True)

    def active_of(self, driver: str) -> list[ClaimRecord]:
        """Return the records of the claims of one driver that hold devices."""
        return [record for record in self.active() if record.driver == driver]

    def all(self) -> list[ClaimRecord]:
        """Return all records; a file that cannot be read is renamed, and logged."""
        return [record for path in self._paths() if (record := self._read(path))]

    def active(self) -> list[ClaimRecord]:
        """Return the records of the claims that hold devices."""
        return [record for record in self.all() if record.is_active]

    def counts(self) -> Mapping[str, int]:
        """Return the number of claims that hold devices, by state."""
        found = Counter(record.state for record in self.active())
        return {str(state): found[state] for state in ClaimState if state is not ClaimState.RELEASED}

    def holders(self) -> dict[tuple[str, str], str]:
        """Return the holders of devices, by resource and id. Admin access does not count as use of a device."""
        return {
            (each.resource, each.id): record.holder
            for record in self.active()
            for each in record.devices
            if each.id and not each.result.admin and not record.is_resetting
        }

    def get(self, uid: str) -> ClaimRecord | None:
        """Return the record of a claim; None if there is none."""
        return self._read(self._path(uid))

    def is_released(self, uid: str) -> bool:
        """Return whether a claim was released so recently that a call for it may be a late retry."""
        record = self.get(uid)
        return (
            record is not None
            and record.state is ClaimState.RELEASED
            and 0 <= time.time() - record.since < RELEASED_SECONDS
        )

    def reserve(self, record: ClaimRecord) -> None:
        """Reserve the devices of a claim.

        Raises:
            DeviceHeldError: another claim holds one of them.
            OSError: the record cannot be written.
        """
        with self._locked():
            require_free(record, self.active())
            self._write(record)

    def finish(self, record: ClaimRecord) -> bool:
        """Replace the record of a claim that is prepared now; return False if another process has changed it meanwhile.

        Raises:
            OSError: the record cannot be written.
        """
        with self._locked():
            if not self._is_own(record, self.get(record.uid)):
                return False
            self._write(record)
        return True

    def withdraw(self, record: ClaimRecord) -> bool:
        """Remove the record of a claim that could not be prepared; return whether nothing else needs its CDI file.

        During an upgrade, another process may have released the claim, or prepared it once more.

        Raises:
            OSError: the record cannot be removed.
        """
        current = self.get(record.uid)
        if self._is_own(record, current):
            self.remove(record.uid)
            return True
        return current is None or not current.is_active

    def _is_own(self, record: ClaimRecord, current: ClaimRecord | None) -> bool:
        """Return whether a record belongs to the same attempt to prepare a claim."""
        return current is not None and (current.state, current.since) == (ClaimState.PREPARING, record.since)

    def begin_reset(self, record: ClaimRecord) -> ClaimRecord:
        """Keep the devices of a released claim reserved while they are reset; return the new record.

        Raises:
            OSError: the record cannot be written.
        """
        now = time.time()
        record = msgspec.structs.replace(record, state=ClaimState.RESETTING, since=now, spec="")
        self._write(record)
        return record

    @contextmanager
    def reset_lock(self, uid: str) -> Iterator[int]:
        """Open the record of a claim, to lock it with `try_lock` while its devices are reset.

        Raises:
            OSError: there is no record.
        """
        with existing_lock(self._path(uid), writable=True) as file:
            yield file

    def remove(self, uid: str) -> None:
        """Remove the record of a claim, and those of all claims that were released long ago.

        Raises:
            OSError: the record cannot be removed.
        """
        self._path(uid).unlink(missing_ok=True)
        for record in self.all():
            if not record.is_active and not self.is_released(record.uid):
                self._path(record.uid).unlink(missing_ok=True)

    def refuse(self, uid: str) -> None:
        """Refuse late calls for an unknown claim: another hub's process may still be preparing it.

        Raises:
            OSError: the record cannot be written.
        """
        self._write(ClaimRecord(uid, "", "", ClaimState.RELEASED, time.time()))

    def release(self, record: ClaimRecord, *, refuse: bool = False) -> None:
        """Make a claim give up its devices.

        Args:
            record: Its record.
            refuse: Whether late calls are refused even if it was prepared.

        Raises:
            OSError: the record cannot be written.
        """
        if record.state is not ClaimState.PREPARING and not refuse:
            self.remove(record.uid)
            return
        self._write(msgspec.structs.replace(record, state=ClaimState.RELEASED, since=time.time(), devices=(), spec=""))

    def _paths(self) -> Iterable[Path]:
        return sorted(path for path in self._directory.glob("*.json") if not path.name.startswith("."))

    def _path(self, uid: str) -> Path:
        return self._directory / f"{uid}.json"

    def _read(self, path: Path) -> ClaimRecord | None:
        try:
            return read_file(path, ClaimRecord)
        except UnreadableError as error:
            self._log.error("claim record unreadable", reason=str(error), kept=set_aside(path))
            return None

    def _write(self, record: ClaimRecord) -> None:
        make_directory(self._directory)
        replace_file(self._path(record.uid), record)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep the processes of other hubs from reserving devices; each holds the lock only for a moment.

        Raises:
            OSError: another process does not release the lock.
        """
        make_directory(self._directory)
        file = open_lock(self._directory / _LOCK)
        try:
            end = time.monotonic() + _LOCK_SECONDS
            while not try_lock(file):
                if time.monotonic() > end:
                    raise TimeoutError(f"{self._directory / _LOCK} is locked by another process")
                time.sleep(_POLL)
            yield
        finally:
            with suppress(OSError):
                os.close(file)

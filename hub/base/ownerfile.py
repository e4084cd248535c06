"""Which hub the kubelet calls for a resource: a file that the hubs of a node share.

A process locks the file while it changes what the kubelet knows about the resource: while it registers, and while it
ends the kubelet's streams. So it knows at the moment of its registration which other hubs serve the resource. Only one
task of a process holds the lock at a time: a plugin may have to exit while it registers.
"""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from hub.base.instances import now
from hub.base.locks import open_lock, try_lock
from hub.base.log import get_logger
from hub.base.paths import INSTANCE_NAME
from hub.base.untrusted import UnreadableError, read_text

LOCK_TIMEOUT = 3.0
"""Seconds after which a process continues without the lock, whose holder may be frozen. When the holder resumes, it
writes the file, so the other process notices that it has to register again."""

_POLL = 0.005

_CONTENT = re.compile(rf"(?P<hub>{INSTANCE_NAME.pattern}) (?P<since>[0-9]{{1,19}})\n", re.ASCII)


class Owner(NamedTuple):
    """The content of the file."""

    hub: str = ""
    """The hub that registered the resource last, or that is registering it; empty if none has."""
    since: int = 0
    """When the kubelet accepted the registration, by the clock of `instances.now`; 0 until it has."""


class OwnerFile:
    """The file of one resource.

    Args:
        path: The file; None for a plugin that was started by hand, which shares nothing.
        hub: The name of our hub.
    """

    def __init__(self, path: Path | None, hub: str) -> None:
        self._path = path
        self._hub = hub
        self._file: int | None = None
        self._task = asyncio.Lock()
        self._at_registration = self.read()
        self._log = get_logger()

    @property
    def replaced_by(self) -> str:
        """Another hub that has registered, or begun to, since this process did; empty if there is none."""
        owner = self.read()
        # Not compared with our name alone: the file may not have been writable when we registered.
        return "" if owner in {self._at_registration, Owner()} or owner.hub == self._hub else owner.hub

    def read(self) -> Owner:
        """Return the content of the file; that of an empty one if it cannot be read."""
        try:
            found = _CONTENT.match(read_text(self._path)) if self._path else None
        except UnreadableError:
            found = None
        return Owner(found["hub"], int(found["since"])) if found else Owner()

    def begin(self) -> None:
        """Record that our hub is registering; in the block of `locked`."""
        self._write(0)

    def complete(self) -> None:
        """Record that our hub has registered; in the block of `locked`."""
        owner = Owner(self._hub, now())
        # Read only if the write failed: a moment later, the file may already name another hub, which waited too long
        # for the lock and wrote without it.
        self._at_registration = owner if self._write(owner.since) else self.read()

    @asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Hold the lock, or continue without it if another task, or another process, has held it for `LOCK_TIMEOUT`."""
        if not await self._has_turn():
            yield
            return
        try:
            async with self._locked_file():
                yield
        finally:
            self._task.release()

    async def _has_turn(self) -> bool:
        """Wait until no other task of this process has the lock; return False if that takes too long."""
        try:
            async with asyncio.timeout(LOCK_TIMEOUT):
                return await self._task.acquire()
        except TimeoutError:
            reason = f"another task of this process has held it for {LOCK_TIMEOUT:g} s"
            self._log.warning("owner file not locked", file=str(self._path), reason=reason)
            return False

    @asynccontextmanager
    async def _locked_file(self) -> AsyncIterator[None]:
        try:
            self._file = open_lock(self._path) if self._path else None
        except OSError as error:
            self._log.warning("owner file not locked", file=str(self._path), reason=error.strerror)
        try:
            await self._lock()
            yield
        finally:
            if self._file is not None:
                # Releases the lock, and wakes the other hubs' plugins.
                os.close(self._file)
                self._file = None

    async def _lock(self) -> None:
        end = time.monotonic() + LOCK_TIMEOUT
        while self._file is not None and not try_lock(self._file):
            if time.monotonic() > end:
                reason = f"another process has held it for {LOCK_TIMEOUT:g} s"
                self._log.warning("owner file not locked", file=str(self._path), reason=reason)
                return
            await asyncio.sleep(_POLL)

    def _write(self, since: int) -> bool:
        """Write the file, and return whether that was possible."""
        if self._file is None:
            return False
        content = f"{self._hub} {since}\n".encode()
        try:
            # Written in place: a new file with this name would have a different lock. And in one system call: a process
            # that waited too long for the lock may be writing, too. If the previous line was longer, its end remains
            # after this one.
            os.pwrite(self._file, content, 0)
        except OSError as error:
            self._log.warning("owner file not written", file=str(self._path), reason=error.strerror)
            return False
        return True

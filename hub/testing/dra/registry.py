"""How a kubelet finds drivers: sockets in plugins_registry (kubernetes, pkg/kubelet/pluginmanager)."""

import asyncio
import itertools
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asyncinotify import Inotify, Mask

from hub.testing.dra.drivers import Drivers
from hub.testing.dra.model import DraError, DraOptions
from hub.testing.dra.registering import Registrar

_FIRST_BACKOFF, _LONGEST_BACKOFF = 0.5, 122.0
_WATCHED = Mask.CREATE | Mask.MOVED_TO | Mask.DELETE


class Registered(NamedTuple):
    """A driver that was registered on a socket."""

    identity: int
    driver: str
    endpoint: str


@dataclass(slots=True)
class _Backoff:
    until: float = 0.0
    seconds: float = 0.0

    def failed(self, now: float) -> None:
        self.seconds = min(self.seconds * 2, _LONGEST_BACKOFF) or _FIRST_BACKOFF
        self.until = now + self.seconds


class PluginRegistry:
    """Registers the drivers whose sockets are in a directory, and unregisters those whose sockets are gone.

    Each appearance of a socket has an identity of its own: a socket that was recreated is registered again.

    Args:
        directory: The directory; created if missing.
        options: The kubelet's options.
        drivers: Where drivers are added and removed.
        registrar: Registers one driver.
        changed: Called after each change.
    """

    def __init__(
        self,
        directory: Path,
        options: DraOptions,
        drivers: Drivers,
        registrar: Registrar,
        changed: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._options = options
        self._drivers = drivers
        self._registrar = registrar
        self._changed = changed
        self._identities = itertools.count(1)
        self._wanted: dict[str, int] = {}
        self._registered: dict[str, Registered] = {}
        self._backoff: dict[str, _Backoff] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._inotify: Inotify | None = None
        self._loops: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Watch the directory, including the sockets that are in it already; nothing is deleted."""
        self._directory.mkdir(parents=True, exist_ok=True)
        self._inotify = Inotify()
        self._traverse(self._directory, self._inotify)
        if self._options.registers_in_reverse:
            self._wanted = dict(reversed(self._wanted.items()))
        self._loops = [asyncio.create_task(self._follow(self._inotify)), asyncio.create_task(self._reconcile())]

    async def close(self) -> None:
        """End the watch; drivers are not notified."""
        tasks = [*self._loops, *self._running.values()]
        for task in tasks:
            task.cancel()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        if self._inotify:
            self._inotify.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _follow(self, inotify: Inotify) -> None:
        async for event in inotify:
            if event.path is None:
                continue
            if event.mask & Mask.DELETE:
                self._wanted.pop(str(event.path), None)
            else:
                self._appeared(event.path, inotify)

    def _traverse(self, directory: Path, inotify: Inotify) -> None:
        inotify.add_watch(directory, _WATCHED)
        for path in sorted(directory.iterdir()):
            if path.is_dir():
                self._traverse(path, inotify)
            elif path.is_socket():
                self._appeared(path, inotify)

    def _appeared(self, path: Path, inotify: Inotify) -> None:
        try:
            mode = path.stat().st_mode
        except FileNotFoundError:
            return
        if path.name.startswith("."):
            return
        if stat.S_ISDIR(mode):
            self._traverse(path, inotify)
        elif stat.S_ISSOCK(mode):
            self._wanted[str(path)] = next(self._identities)

    async def _reconcile(self) -> None:
        while True:
            for path, known in list(self._registered.items()):
                if self._wanted.get(path) != known.identity:
                    del self._registered[path]
                    self._drivers.remove(known.driver, known.endpoint)
                    self._changed()
            for path, identity in list(self._wanted.items()):
                if path not in self._registered and self._may_try(path):
                    self._running[path] = asyncio.create_task(self._register(path, identity))
            await asyncio.sleep(self._options.registry_period)

    def _may_try(self, path: str) -> bool:
        waiting = path in self._backoff and self._backoff[path].until >= time.monotonic()
        return path not in self._running and not waiting

    async def _register(self, path: str, identity: int) -> None:
        try:
            driver, endpoint = await self._registrar.register(path)
            self._registered[path] = Registered(identity, driver, endpoint)
            self._backoff.pop(path, None)
        except DraError:
            # The registrar has noted it.
            self._backoff.setdefault(path, _Backoff()).failed(time.monotonic())
        finally:
            del self._running[path]
            self._changed()

"""Watches the kubelet through its socket in the plugin directory."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from types import TracebackType
from typing import Self

from asyncinotify import Inotify, Mask, Watch

from hub.base.errors import HubError
from hub.base.filewatch import watch_error
from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import is_served, kubelet_identity
from hub.base.ticks import next_tick

KUBELET_CHECK_INTERVAL = 5.0
"""Seconds between checks of the directory without an event. inotify reports nothing when a directory that is mounted
here is deleted on the host, because the mount keeps the deleted directory, nor when a kubelet is killed and leaves its
socket."""

_EVENTS = Mask.CREATE | Mask.DELETE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR


class KubeletEvent(Enum):
    """A kubelet event."""

    STARTED = auto()
    """There is a new `kubelet.sock`."""
    STOPPED = auto()
    """`kubelet.sock` is gone."""
    UNRESPONSIVE = auto()
    """No process is listening on the socket, such as after a SIGKILL to the kubelet."""
    RESPONSIVE = auto()
    """The kubelet responds again, or there is none."""


class KubeletWatch:
    """Iterates over the kubelet's events since the watch was created: `async for event in watch`.

    The iteration ends when the plugin directory is removed on the host: a mount keeps showing the old directory here.
    It raises HubError if the directory cannot be watched.

    inotify only wakes the watch, which acts on the state that it then finds: any number of file events for one start
    of a kubelet count once. Whether a process listens on the socket is checked at fixed intervals, so that file events
    cannot delay that check. A new socket is not checked at once: it exists a moment before its kubelet listens.

    Args:
        plugin_dir: The kubelet's plugin directory; it need not exist yet, and may be removed and created again.
        interval: Seconds between checks without an event.
    """

    def __init__(self, plugin_dir: Path, *, interval: float = KUBELET_CHECK_INTERVAL) -> None:
        self._plugin_dir = plugin_dir
        self._socket = plugin_dir / KUBELET_SOCKET
        self._interval = interval
        self._started = time.monotonic()
        self._next_check = next_tick(interval, self._started)
        self._unresponsive = False
        self._watch: Watch | None = None
        try:
            self._inotify = Inotify()
        except OSError as error:
            raise self._error(error) from None
        self._follow_directory()
        self._kubelet = kubelet_identity(self._socket)
        """The current kubelet, or the last one."""
        self._exists = self._kubelet is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._inotify.close()

    async def __aiter__(self) -> AsyncIterator[KubeletEvent]:
        while not self._is_dead():
            self._follow_directory()
            for event in self._check():
                yield event
            await self._wait_for_file_event()

    def _check(self) -> Iterator[KubeletEvent]:
        kubelet = kubelet_identity(self._socket)
        started = kubelet is not None and kubelet != self._kubelet
        if started:
            yield KubeletEvent.STARTED
        if kubelet is None and self._exists:
            yield KubeletEvent.STOPPED
        self._exists = kubelet is not None
        self._kubelet = kubelet or self._kubelet
        now = time.monotonic()
        due = now >= self._next_check
        if started:
            self._started = now
        if due:
            self._next_check = next_tick(self._interval, now)
        unresponsive = self._unresponsive
        if started or not self._exists:
            unresponsive = False
        elif due and now - self._started >= self._interval:
            unresponsive = not is_served(self._socket)
        if unresponsive != self._unresponsive:
            self._unresponsive = unresponsive
            yield KubeletEvent.UNRESPONSIVE if unresponsive else KubeletEvent.RESPONSIVE

    async def _wait_for_file_event(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0, self._next_check - time.monotonic())):
                await self._inotify.get()

    def _follow_directory(self) -> None:
        """Watch the plugin directory, or the nearest directory above it that exists."""
        while True:
            before = self._watch
            try:
                # Watching a directory again is cheap, and returns the same watch. A new watch is for another directory,
                # or for a new one of the same name: then the loop checks again what changed before the watch was set.
                self._watch = self._inotify.add_watch(self._nearest_directory(), _EVENTS)
            except (FileNotFoundError, NotADirectoryError):
                continue  # removed since it was found
            except OSError as error:
                raise self._error(error) from None
            if self._watch is before:
                return
            if before is not None:
                self._remove_watch(before)

    def _remove_watch(self, watch: Watch) -> None:
        # The kernel itself removes the watch of a directory that no longer exists.
        with suppress(OSError):
            self._inotify.rm_watch(watch)

    def _nearest_directory(self) -> Path:
        return next(path for path in (self._plugin_dir, *self._plugin_dir.parents) if path.is_dir())

    def _is_dead(self) -> bool:
        try:
            return self._plugin_dir.stat().st_nlink == 0
        except OSError:
            return False

    def _error(self, error: OSError) -> HubError:
        return watch_error(self._plugin_dir, error)


async def kubelet_starts(plugin_dir: Path) -> AsyncIterator[None]:
    """Yield whenever a kubelet starts; end when the plugin directory is removed on the host.

    Raises:
        HubError: the directory cannot be watched.
    """
    with KubeletWatch(plugin_dir) as watch:
        async for event in watch:
            if event is KubeletEvent.STARTED:
                yield

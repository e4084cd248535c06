"""Tells when a kubelet has started, and when it answers no more, by its socket in the plugin directory."""

import asyncio
import errno
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from asyncinotify import Inotify, Mask, Watch

from hub.base.errors import HubError
from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import KubeletIdentity, is_served, kubelet_identity

LOOK_SECONDS = 5.0
"""How often the directory is looked at without an event. inotify says nothing when a directory that is mounted here
is removed on the host, for the mount keeps the dead directory; nor when a kubelet is killed, and leaves its socket."""

_EVENTS = Mask.CREATE | Mask.DELETE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR


class KubeletWatch:
    """Calls back once for every kubelet that starts after the watch was made.

    Events only wake it; what it acts on is what it then finds, so any number of events for one start count once.
    Whether somebody answers on the socket is asked on a clock, for other events must not put it off. A socket that has
    just been made is not asked: it is there a moment before its kubelet listens.

    Args:
        plugin_dir: The kubelet's plugin directory; it need not exist yet, and may come and go.
        on_start: Called for each new `kubelet.sock`.
        on_end: Called when it is gone.
        on_unresponsive: Called with True when no process listens on it, as after SIGKILL of the kubelet, and with False
            when one does again.
        look: Seconds between two looks without an event.
    """

    def __init__(
        self,
        plugin_dir: Path,
        on_start: Callable[[], None],
        on_end: Callable[[], None] = lambda: None,
        on_unresponsive: Callable[[bool], None] = lambda _: None,
        *,
        look: float = LOOK_SECONDS,
    ) -> None:
        self._plugin_dir = plugin_dir
        self._on_start = on_start
        self._on_end = on_end
        self._on_silence = on_unresponsive
        self._look = look
        self._next_look = time.monotonic() + look
        self._silent = False
        self._watch: Watch | None = None
        try:
            self._inotify = Inotify()
        except OSError as error:
            raise self._error(error) from None
        self._follow()
        self._kubelet = self._find_kubelet()
        self._up = self._kubelet is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._inotify.close()

    async def run(self) -> None:
        """Watch until the plugin directory is dead: removed elsewhere, and shown here by a mount for ever.

        Raises:
            HubError: the directory cannot be watched.
        """
        while not self._is_dead():
            self._follow()
            self._see(self._find_kubelet())
            await self._event()

    def _see(self, kubelet: KubeletIdentity | None) -> None:
        new = kubelet is not None and kubelet != self._kubelet
        if new:
            self._on_start()
        if kubelet is None and self._up:
            self._on_end()
        self._up = kubelet is not None
        self._kubelet = kubelet or self._kubelet
        due = time.monotonic() >= self._next_look
        if new or due:
            self._next_look = time.monotonic() + self._look
        if new or not self._up:
            self._hear(silent=False)
        elif due:
            self._hear(silent=not is_served(self._plugin_dir / KUBELET_SOCKET))

    def _hear(self, *, silent: bool) -> None:
        if silent != self._silent:
            self._silent = silent
            self._on_silence(silent)

    async def _event(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0, self._next_look - time.monotonic())):
                await self._inotify.get()

    def _follow(self) -> None:
        """Have the inotify watch on the plugin directory, or on the nearest directory above it that exists."""
        while True:
            before = self._watch
            try:
                # Watching what is watched already is cheap, and gives the same watch. One for another directory, or for
                # another of the same name, is new: then what came between looking and watching has to be looked at.
                self._watch = self._inotify.add_watch(self._nearest(), _EVENTS)
            except (FileNotFoundError, NotADirectoryError):
                continue  # gone since it was found
            except OSError as error:
                raise self._error(error) from None
            if self._watch is before:
                return
            if before is not None:
                self._drop(before)

    def _drop(self, watch: Watch) -> None:
        # The kernel drops the watch of a directory that is no more by itself.
        with suppress(OSError):
            self._inotify.rm_watch(watch)

    def _nearest(self) -> Path:
        return next(path for path in (self._plugin_dir, *self._plugin_dir.parents) if path.is_dir())

    def _find_kubelet(self) -> KubeletIdentity | None:
        return kubelet_identity(self._plugin_dir / KUBELET_SOCKET)

    def _is_dead(self) -> bool:
        try:
            return self._plugin_dir.stat().st_nlink == 0
        except OSError:
            return False

    def _error(self, error: OSError) -> HubError:
        hint = ""
        if error.errno in {errno.EMFILE, errno.ENOSPC}:
            hint = ": raise fs.inotify.max_user_instances and fs.inotify.max_user_watches"
        return HubError(f"cannot watch the plugin directory {self._plugin_dir} ({error.strerror}){hint}")

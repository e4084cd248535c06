"""The hub notices a kubelet that has crashed and left its socket behind."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from hub.base import kubeletwatch
from hub.base.kubeletwatch import KubeletEvent, KubeletWatch
from hub.base.paths import KUBELET_SOCKET
from hub.testing.waiting import WAIT_SECONDS

LOOK = 0.05


class ObservedEvents:
    """The events of a watch, in order."""

    def __init__(self) -> None:
        self.events: list[KubeletEvent] = []
        self._changed = asyncio.Event()

    async def follow(self, watch: KubeletWatch) -> None:
        """Record all events."""
        async for event in watch:
            self.events.append(event)
            self._changed.set()

    async def wait(self, *expected: KubeletEvent) -> None:
        """Wait until exactly these events were reported."""
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.events) < len(expected):
                self._changed.clear()
                await self._changed.wait()
        assert self.events == list(expected)


@pytest.fixture
def plugin_dir(directory: Path) -> Path:
    """Create a plugin directory."""
    path = directory / "plugins"
    path.mkdir()
    return path


def listening(plugin_dir: Path) -> socket.socket:
    """Start a kubelet."""
    path = plugin_dir / KUBELET_SOCKET
    path.unlink(missing_ok=True)
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(path))
    server.listen()
    return server


@asynccontextmanager
async def watching(plugin_dir: Path, look: float = LOOK) -> AsyncIterator[ObservedEvents]:
    """Run a watch."""
    heard = ObservedEvents()
    with KubeletWatch(plugin_dir, interval=look) as watch:
        task = asyncio.create_task(heard.follow(watch))
        yield heard
        task.cancel()
        await asyncio.wait({task})


async def test_a_socket_without_an_answer(plugin_dir: Path) -> None:
    """The silence is reported once and ends with the next kubelet, whose start is reported as usual."""
    first = listening(plugin_dir)
    async with watching(plugin_dir) as heard:
        first.close()
        await heard.wait(KubeletEvent.UNRESPONSIVE)
        second = listening(plugin_dir)
        await heard.wait(KubeletEvent.UNRESPONSIVE, KubeletEvent.STARTED, KubeletEvent.RESPONSIVE)
        second.close()
        await heard.wait(
            KubeletEvent.UNRESPONSIVE, KubeletEvent.STARTED, KubeletEvent.RESPONSIVE, KubeletEvent.UNRESPONSIVE
        )


async def test_a_dead_socket_that_is_removed(plugin_dir: Path) -> None:
    """Without a socket there is no kubelet, and nothing counts as unresponsive."""
    first = listening(plugin_dir)
    async with watching(plugin_dir) as heard:
        first.close()
        await heard.wait(KubeletEvent.UNRESPONSIVE)
        (plugin_dir / KUBELET_SOCKET).unlink()
        await heard.wait(KubeletEvent.UNRESPONSIVE, KubeletEvent.STOPPED, KubeletEvent.RESPONSIVE)


async def test_other_events_do_not_delay_the_check(plugin_dir: Path) -> None:
    """A directory in which something happens all the time is checked at the same intervals."""
    first = listening(plugin_dir)
    async with watching(plugin_dir, look=0.5) as heard:
        first.close()
        async with asyncio.timeout(WAIT_SECONDS):
            while not heard.events:
                (plugin_dir / "checkpoint").touch()
                (plugin_dir / "checkpoint").unlink()
                await asyncio.sleep(LOOK)
    assert heard.events == [KubeletEvent.UNRESPONSIVE]


def test_a_kubelet_has_time_to_listen(plugin_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds even if its socket appears just before a check: the regular checks keep their intervals."""
    now = 3.0
    monkeypatch.setattr(kubeletwatch, "time", SimpleNamespace(monotonic=lambda: now))
    with KubeletWatch(plugin_dir, interval=5) as watch, socket.socket(socket.AF_UNIX) as server:
        now = 9.9
        server.bind(str(plugin_dir / KUBELET_SOCKET))
        assert list(watch._check()) == [KubeletEvent.STARTED]
        now = 10.0
        assert list(watch._check()) == []
        now = 15.0
        assert list(watch._check()) == [KubeletEvent.UNRESPONSIVE]


def test_a_socket_that_was_just_made(plugin_dir: Path) -> None:
    """A kubelet binds its socket just before it listens: it has started, and is called only at the next check."""
    with (
        KubeletWatch(plugin_dir, interval=0) as watch,
        socket.socket(socket.AF_UNIX) as server,
    ):
        server.bind(str(plugin_dir / KUBELET_SOCKET))
        assert list(watch._check()) == [KubeletEvent.STARTED]
        assert list(watch._check()) == [KubeletEvent.UNRESPONSIVE]

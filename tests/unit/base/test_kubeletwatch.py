"""The hub notices every start of a kubelet, once."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from hub.base.kubeletwatch import KubeletEvent, KubeletWatch
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.kubelet import KubeletSocket, mounted


class Starts:
    """The number of starts that a watch sees."""

    def __init__(self) -> None:
        self.count = 0
        self.changed = asyncio.Event()

    async def follow(self, watch: KubeletWatch) -> None:
        """Count until the watch ends."""
        async for event in watch:
            if event is KubeletEvent.STARTED:
                self.count += 1
                self.changed.set()

    async def wait(self, count: int) -> None:
        """Wait until this many starts were reported, and no more."""
        async with asyncio.timeout(WAIT_SECONDS):
            while self.count < count:
                self.changed.clear()
                await self.changed.wait()
        assert self.count == count


@pytest.fixture
def plugin_dir(directory: Path) -> Path:
    """Create a plugin directory."""
    path = directory / "a" / "plugins"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def kubelet(plugin_dir: Path) -> Iterator[KubeletSocket]:
    """Create a kubelet that is not started yet."""
    kubelet = KubeletSocket(plugin_dir)
    yield kubelet
    kubelet.close()


def remove(kubelet: KubeletSocket) -> None:
    """Remove the plugin directory with the kubelet's socket in it."""
    kubelet.path.unlink(missing_ok=True)
    kubelet.path.parent.rmdir()


def make(directory: Path) -> None:
    """Create a plugin directory, one level at a time."""
    for path in (directory.parent, directory):
        path.mkdir(exist_ok=True)


@asynccontextmanager
async def watching(plugin_dir: Path) -> AsyncIterator[tuple[Starts, asyncio.Task[None]]]:
    """Run a watch."""
    starts = Starts()
    with KubeletWatch(plugin_dir) as watch:
        task = asyncio.create_task(starts.follow(watch))
        yield starts, task
        task.cancel()
        await asyncio.wait({task})


async def test_every_start_is_reported_once(plugin_dir: Path, kubelet: KubeletSocket) -> None:
    """Ten starts in a row are ten, though each deletes and creates several files."""
    async with watching(plugin_dir) as (starts, _):
        for number in range(1, 11):
            (plugin_dir / f"plugin{number}.sock").touch()
            kubelet.start()
            (plugin_dir / "kubelet_internal_checkpoint").touch()
            (plugin_dir / f"plugin{number}.sock").unlink()
            await starts.wait(number)


async def test_a_running_kubelet_is_not_a_start(plugin_dir: Path, kubelet: KubeletSocket) -> None:
    """The kubelet that is running when the hub starts is not reported; its next start is."""
    kubelet.start()
    async with watching(plugin_dir) as (starts, _):
        (plugin_dir / "file").touch()
        kubelet.start()
        await starts.wait(1)


async def test_a_start_before_the_watch_runs_is_reported(plugin_dir: Path, kubelet: KubeletSocket) -> None:
    """What happens between the hub's first check and its first plugin is not lost."""
    starts = Starts()
    with KubeletWatch(plugin_dir) as watch:
        kubelet.start()
        task = asyncio.create_task(starts.follow(watch))
        await starts.wait(1)
        task.cancel()
        await asyncio.wait({task})


async def test_the_end_of_a_kubelet_is_not_a_start(plugin_dir: Path, kubelet: KubeletSocket) -> None:
    """A socket that disappears or returns belongs to the same kubelet or none; a file of that name does not count."""
    kubelet.start()
    aside = plugin_dir / "aside"
    async with watching(plugin_dir) as (starts, _):
        kubelet.path.unlink()
        kubelet.path.touch()
        kubelet.path.rename(aside)
        kubelet.start()
        await starts.wait(1)


async def test_directory_that_does_not_exist_yet(plugin_dir: Path, kubelet: KubeletSocket) -> None:
    """A hub may run before the kubelet was ever started, and its directories may be created later, one by one."""
    shutil.rmtree(plugin_dir.parent)
    async with watching(plugin_dir) as (starts, _):
        make(plugin_dir)
        kubelet.start()
        await starts.wait(1)
        kubelet.start()
        await starts.wait(2)


async def test_directory_removed_and_recreated(plugin_dir: Path, kubelet: KubeletSocket) -> None:
    """If the directory is not a mount, the watch continues with the new one, each time."""
    async with watching(plugin_dir) as (starts, task):
        for number in range(1, 6):
            kubelet.start()
            await starts.wait(number)
            remove(kubelet)
            make(plugin_dir)
        assert not task.done()


async def test_directory_renamed_and_recreated(plugin_dir: Path, kubelet: KubeletSocket) -> None:
    """A kubelet whose root was moved away and recreated is found in the new directory."""
    async with watching(plugin_dir) as (starts, _):
        shutil.move(plugin_dir, plugin_dir.with_name("old"))
        make(plugin_dir)
        kubelet.start()
        await starts.wait(1)


async def test_a_removed_directory_ends_the_watch(plugin_dir: Path, kubelet: KubeletSocket) -> None:
    """A directory that was removed under a mount never sees a kubelet again, so the watch ends."""
    with mounted(plugin_dir) as mount:
        async with watching(mount) as (starts, task):
            kubelet.start()
            await starts.wait(1)
            remove(kubelet)
            make(plugin_dir)
            async with asyncio.timeout(WAIT_SECONDS):
                await task
            assert starts.count == 1

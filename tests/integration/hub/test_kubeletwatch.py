"""The hub notices every start of a kubelet, once."""

import asyncio
import os
import shutil
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from hub.base.exits import Exit
from hub.base.paths import KUBELET_SOCKET
from hub.supervisor.kubeletwatch import KubeletEvent, KubeletWatch
from hub.testing.waiting import WAIT_SECONDS
from tests.harness.hub_process import HubProcess, is_alive, wait_until

RECORDER = """
import signal, sys, time
starting, go, heard = sys.argv[1:]
open(starting, "w").close()
while True:
    try:
        open(go)
        break
    except FileNotFoundError:
        time.sleep(0.01)
def hear(*_):
    with open(heard, "a") as file:
        file.write("hup\\n")
signal.signal(signal.SIGHUP, hear)
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
while True:
    signal.pause()
"""
"""A plugin that counts the SIGHUPs it gets, and has no handler until it is told to go on."""


class Kubelet:
    """As much of a kubelet as the hub sees: its socket."""

    def __init__(self, plugin_dir: Path) -> None:
        self.path = plugin_dir / KUBELET_SOCKET
        self.sockets: list[socket.socket] = []

    def start(self) -> None:
        """Delete what is there and listen, as a kubelet does at its start."""
        self.path.unlink(missing_ok=True)
        self.sockets.append(socket.socket(socket.AF_UNIX))
        self.sockets[-1].bind(str(self.path))
        self.sockets[-1].listen()

    def close(self) -> None:
        """Let go of the sockets."""
        for each in self.sockets:
            each.close()


class Starts:
    """Counts the starts that a watch sees."""

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
        """Wait until so many were told; never more than that."""
        async with asyncio.timeout(WAIT_SECONDS):
            while self.count < count:
                self.changed.clear()
                await self.changed.wait()
        assert self.count == count


@pytest.fixture
def plugin_dir(directory: Path) -> Path:
    """An existing plugin directory."""
    path = directory / "a" / "plugins"
    path.mkdir(parents=True)
    return path


@pytest.fixture
def kubelet(plugin_dir: Path) -> Iterator[Kubelet]:
    """A kubelet that is not started yet."""
    kubelet = Kubelet(plugin_dir)
    yield kubelet
    kubelet.close()


def remove(kubelet: Kubelet) -> None:
    """Remove the plugin directory with the kubelet's socket in it."""
    kubelet.path.unlink(missing_ok=True)
    kubelet.path.parent.rmdir()


def make(directory: Path) -> None:
    """Make a plugin directory, one level after the other."""
    for path in (directory.parent, directory):
        path.mkdir(exist_ok=True)


@asynccontextmanager
async def watching(plugin_dir: Path) -> AsyncIterator[tuple[Starts, asyncio.Task[None]]]:
    """A running watch."""
    starts = Starts()
    with KubeletWatch(plugin_dir) as watch:
        task = asyncio.create_task(starts.follow(watch))
        yield starts, task
        task.cancel()
        await asyncio.wait({task})


@contextmanager
def mounted(path: Path) -> Iterator[Path]:
    """Another path to a directory, which shows the same directory even after it was removed, as a mount does."""
    file = os.open(path, os.O_RDONLY)
    try:
        yield Path(f"/proc/{os.getpid()}/fd/{file}")
    finally:
        os.close(file)


async def test_every_start_is_told_once(plugin_dir: Path, kubelet: Kubelet) -> None:
    """Ten starts in a row are ten, though each deletes and makes several files."""
    async with watching(plugin_dir) as (starts, _):
        for number in range(1, 11):
            (plugin_dir / f"plugin{number}.sock").touch()
            kubelet.start()
            (plugin_dir / "kubelet_internal_checkpoint").touch()
            (plugin_dir / f"plugin{number}.sock").unlink()
            await starts.wait(number)


async def test_a_kubelet_that_is_there_is_no_start(plugin_dir: Path, kubelet: Kubelet) -> None:
    """The kubelet that runs when the hub starts is not told; its next start is."""
    kubelet.start()
    async with watching(plugin_dir) as (starts, _):
        (plugin_dir / "file").touch()
        kubelet.start()
        await starts.wait(1)


async def test_a_start_before_the_watch_runs_is_told(plugin_dir: Path, kubelet: Kubelet) -> None:
    """What happens between the hub's first look and its first plugin is not lost."""
    starts = Starts()
    with KubeletWatch(plugin_dir) as watch:
        kubelet.start()
        task = asyncio.create_task(starts.follow(watch))
        await starts.wait(1)
        task.cancel()
        await asyncio.wait({task})


async def test_the_end_of_a_kubelet_is_no_start(plugin_dir: Path, kubelet: Kubelet) -> None:
    """A socket that goes, moves away and comes back is the same kubelet or none; so is a file of that name."""
    kubelet.start()
    aside = plugin_dir / "aside"
    async with watching(plugin_dir) as (starts, _):
        kubelet.path.unlink()
        kubelet.path.touch()
        kubelet.path.rename(aside)
        kubelet.start()
        await starts.wait(1)


async def test_directory_that_does_not_exist_yet(plugin_dir: Path, kubelet: Kubelet) -> None:
    """A hub may be up before the kubelet was ever started: its directories may come later, one by one."""
    shutil.rmtree(plugin_dir.parent)
    async with watching(plugin_dir) as (starts, _):
        make(plugin_dir)
        kubelet.start()
        await starts.wait(1)
        kubelet.start()
        await starts.wait(2)


async def test_directory_removed_and_made_anew(plugin_dir: Path, kubelet: Kubelet) -> None:
    """Where the directory is no mount, the watch goes on with the new one, at every turn."""
    async with watching(plugin_dir) as (starts, task):
        for number in range(1, 6):
            kubelet.start()
            await starts.wait(number)
            remove(kubelet)
            make(plugin_dir)
        assert not task.done()


async def test_directory_renamed_and_made_anew(plugin_dir: Path, kubelet: Kubelet) -> None:
    """A kubelet whose root was moved away and made anew is found in the new directory."""
    async with watching(plugin_dir) as (starts, _):
        shutil.move(plugin_dir, plugin_dir.with_name("old"))
        make(plugin_dir)
        kubelet.start()
        await starts.wait(1)


async def test_dead_directory_ends_the_watch(plugin_dir: Path, kubelet: Kubelet) -> None:
    """A directory that was removed under a mount never sees a kubelet again, which the end of the watch says."""
    with mounted(plugin_dir) as mount:
        async with watching(mount) as (starts, task):
            kubelet.start()
            await starts.wait(1)
            remove(kubelet)
            make(plugin_dir)
            async with asyncio.timeout(WAIT_SECONDS):
                await task
            assert starts.count == 1


def test_hub_ends_when_its_plugin_directory_is_dead(make_hub: Callable[[str], HubProcess]) -> None:
    """The hub stops its plugins, says why, and ends with a code of its own, so that its container is restarted."""
    hub = make_hub("[watcher:a]\ncmd = sleep 1000\n")
    real = hub.plugin_dir
    with mounted(real) as hub.plugin_dir:
        hub.start().wait_plugins("a")
        real.rmdir()
        assert hub.wait_ended() == Exit.PLUGIN_DIR_REPLACED
    assert "plugin directory removed" in hub.events("hub stopping")[0]["reason"]
    assert not is_alive(hub.plugin_pid("a"))


def test_every_plugin_is_told_once(make_hub: Callable[[str], HubProcess], directory: Path) -> None:
    """One start of a kubelet is one SIGHUP for every plugin. One that is still starting is not killed by it."""
    script, go = directory / "recorder.py", directory / "go"
    script.write_text(RECORDER)
    hub = make_hub(
        "".join(
            f"[watcher:{name}]\ncmd = python {script} {directory}/{name}.up {go} {directory}/{name}\n" for name in "ab"
        )
    ).start()
    wait_until(lambda: all((directory / f"{name}.up").exists() for name in "ab"), "both are starting")
    pids = [hub.plugin_pid(name) for name in "ab"]
    kubelet = Kubelet(hub.plugin_dir)
    kubelet.start()
    assert set(hub.wait_event("kubelet started")["plugins_notified"]) == {"a", "b"}
    assert all(map(is_alive, pids))
    go.touch()
    heard = [directory / name for name in "ab"]
    wait_until(lambda: all(file.exists() and file.read_text() == "hup\n" for file in heard), "each heard of the first")
    kubelet.start()
    wait_until(lambda: all(file.read_text() == "hup\n" * 2 for file in heard), "each heard of the second")
    # The hub logs it after the signals.
    hub.wait_event("kubelet started", count=2)
    assert [hub.plugin_pid(name) for name in "ab"] == pids
    kubelet.close()
    assert hub.stop() == Exit.OK


def test_sighup_leaves_the_hub_alone(make_hub: Callable[[str], HubProcess]) -> None:
    """A SIGHUP to the hub changes nothing, where circusd restarts everything."""
    hub = make_hub("[watcher:a]\ncmd = sleep 1000\n").start()
    hub.wait_plugins("a")
    os.kill(hub.pid, signal.SIGHUP)
    assert hub.ask("status") == "a: active"
    assert hub.stop() == Exit.OK
    assert len(hub.events("plugin started")) == 1


def test_no_inotify_left(make_hub: Callable[[str], HubProcess], tmp_path: Path) -> None:
    """Where the kernel gives no inotify instance the hub does not start, and says which setting to raise."""
    limit = tmp_path / "exhaust.py"
    limit.write_text(
        "import asyncinotify._ffi as ffi\n"
        "def refuse(*_): raise OSError(24, 'Too many open files')\n"
        "ffi.libc.inotify_init1 = refuse\n"
        "from hub.cli.commands.run import run; run()\n"
    )
    hub = make_hub("[watcher:a]\ncmd = sleep 1000\n").start(code=limit.read_text())
    assert hub.wait_ended() == Exit.FAILED
    assert "fs.inotify.max_user_instances" in hub.text()
    assert "Traceback" not in hub.text()

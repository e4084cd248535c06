"""A link that a plugin in a container puts in place of a directory is not followed."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from socket import AF_UNIX, socket

import pytest

from hub.base.errors import ConfigError
from hub.kubelet.checkpoint import CHECKPOINT
from hub.testing.kubelet import FakeKubelet

pytestmark = pytest.mark.fake_kubelet("a real kubelet follows a link")

NAMES = ["kubelet.sock", "other.sock"]
SAVED = "of the node's kubelet"


@pytest.fixture
def victim(directory: Path) -> Iterator[Path]:
    """Create the directory of another kubelet, with its socket, that of a plugin, and its checkpoint."""
    path = directory / "victim"
    path.mkdir()
    (path / CHECKPOINT).write_text(SAVED)
    with ExitStack() as stack:
        for name in NAMES:
            server = stack.enter_context(socket(AF_UNIX))
            server.bind(os.fspath(path / name))
            server.listen()
        yield path


def _swap(path: Path, victim: Path) -> None:
    path.rename(path.with_name("old"))
    path.symlink_to(victim)


def _check(victim: Path) -> None:
    assert sorted(path.name for path in victim.iterdir()) == sorted([*NAMES, CHECKPOINT])
    assert (victim / CHECKPOINT).read_text() == SAVED


@pytest.mark.parametrize("above", [False, True], ids=["the directory", "the one above"])
async def test_a_link_in_place_of_the_plugin_directory(directory: Path, victim: Path, *, above: bool) -> None:
    """The fake kubelet neither writes its checkpoint nor deletes a socket at its target, and does not start there."""
    plugin_dir = directory / "node" / "kubelet" / victim.name
    kubelet = FakeKubelet(plugin_dir, pod_resources_socket=directory / "pod-resources.sock")
    async with kubelet:
        if above:
            _swap(plugin_dir.parent, directory)
        else:
            _swap(plugin_dir, victim)
        await kubelet.admit("pod")
        await kubelet.stop()
        with pytest.raises(ConfigError, match="the path contains a link to"):
            await kubelet.start()
    _check(victim)


@pytest.mark.parametrize("end", ["stop", "restart"])
async def test_a_link_in_place_of_the_pod_resources(directory: Path, victim: Path, end: str) -> None:
    """Its other socket is next to the plugin directory, where a plugin in a container can do the same."""
    async with FakeKubelet(directory / "device-plugins") as kubelet:
        _swap(directory / "pod-resources", victim)
        if end == "restart":
            with pytest.raises(ConfigError, match="the path contains a link to"):
                await kubelet.restart()
    _check(victim)


async def test_a_link_that_is_there_from_the_start(directory: Path) -> None:
    """It is the user's own, and is followed."""
    (directory / "own").mkdir()
    (directory / "link").symlink_to("own")
    async with FakeKubelet(directory / "link") as kubelet:
        await kubelet.restart()
        assert (directory / "own" / "kubelet.sock").is_socket()


async def test_a_new_directory_is_used(directory: Path) -> None:
    """It is used from the next start on, such as after the node has been reinstalled."""
    plugin_dir = directory / "device-plugins"
    async with FakeKubelet(plugin_dir) as kubelet:
        plugin_dir.rename(directory / "old")
        plugin_dir.mkdir()
        before = kubelet.plugin_dir.descriptor_path
        await kubelet.restart()
        assert before == kubelet.plugin_dir.descriptor_path
        assert before.samefile(plugin_dir)
        assert (plugin_dir / "kubelet.sock").is_socket()

"""`dphub fake-kubelet` never replaces a kubelet or its plugins."""

import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from hub.base.errors import ConfigError
from hub.cli import cli, plugindir

WRITTEN = b"text"


@pytest.fixture
def node() -> Iterator[Path]:
    """Create a directory that has a kubelet's two directories, and a path short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="fk", dir="/tmp") as directory:
        for name in ("device-plugins", "pod-resources"):
            (Path(directory) / name).mkdir()
        yield Path(directory)


@contextmanager
def _listening(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield


def _parsed(*words: str | Path) -> click.Context:
    found = cli.get_command(click.Context(cli), "fake-kubelet")
    assert found
    return found.make_context(
        "fake-kubelet", [str(word) for word in words], parent=click.Context(cli, **cli.context_settings)
    )


def _refusal(*words: str | Path) -> str:
    context = _parsed(*words)
    with pytest.raises(ConfigError) as caught:
        context.command.invoke(context)
    return str(caught.value)


def test_its_directory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The directory has no default, and the hub's variable does not name it: it could be the real kubelet's."""
    monkeypatch.setenv("DPHUB_PLUGIN_DIR", "/var/lib/kubelet/device-plugins")
    with pytest.raises(click.MissingParameter, match="plugin_dir"):
        _parsed()


@pytest.mark.parametrize("name", ["device-plugins", "pod-resources"])
def test_it_does_not_replace_a_kubelet(node: Path, name: str) -> None:
    """If a kubelet serves one of its two sockets, that socket is not touched."""
    path = node / name / "kubelet.sock"
    with _listening(path):
        inode = path.stat().st_ino
        assert "a kubelet is running there" in _refusal("--plugin-dir", node / "device-plugins")
        assert path.stat().st_ino == inode


@pytest.mark.parametrize("name", ["device-plugins", "link", "plugins_registry", "new"])
def test_it_does_not_use_directories_of_the_nodes_kubelet(
    node: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """This holds even while that kubelet is down: when it is back, it and CSI drivers would lack their sockets."""
    monkeypatch.setattr(plugindir, "PLUGIN_DIR", node / "device-plugins")
    (node / "link").symlink_to("device-plugins")
    (node / "plugins_registry").mkdir()
    assert "in the directory of a kubelet" in _refusal("--plugin-dir", node / name)
    assert not (node / "new").exists()


def test_it_does_not_use_the_pod_resources_of_the_nodes_kubelet(node: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command refuses them although its plugin directory is elsewhere; the message names the right option."""
    monkeypatch.setattr(plugindir, "PLUGIN_DIR", node / "device-plugins")
    path = node / "pod-resources" / "kubelet.sock"
    with tempfile.TemporaryDirectory() as own:
        refusal = _refusal("--plugin-dir", own, "--pod-resources-socket", path)
    assert "in the directory of a kubelet, which would lose its sockets; choose another with --pod-resources" in refusal


@pytest.mark.parametrize("name", [".", "device-plugins", "plugins_registry", "plugins/driver"])
def test_it_does_not_use_directories_of_a_kubelet_with_another_root_directory(node: Path, name: str) -> None:
    """Distributions such as k0s choose one; the directories in it are the same, and refused."""
    for made in ("pods", "plugins_registry", "plugins/driver"):
        (node / made).mkdir(parents=True)
    assert "in the directory of a kubelet" in _refusal("--plugin-dir", node / name)


def test_it_does_not_use_a_directory_with_the_state_of_a_kubelet(node: Path) -> None:
    """It may be a second mount of a kubelet's directory, with a different path."""
    (node / "device-plugins/kubelet_internal_checkpoint").write_text('{"Data":{"RegisteredDevices":{}},"Checksum":1}')
    assert "in the directory of a kubelet" in _refusal("--plugin-dir", node / "device-plugins")


def test_a_path_too_long_for_sockets_is_refused(node: Path) -> None:
    """No client could connect through such a path, but the sockets there would be deleted, so it is refused."""
    link = node / ("a" * 100)
    link.symlink_to("device-plugins")
    with _listening(node / "device-plugins" / "kubelet.sock"):
        assert "a kubelet is running there" in _refusal("--plugin-dir", link)
        assert (link / "kubelet.sock").is_socket()


@pytest.mark.parametrize("name", ["device-plugins/kubelet.sock", "other"])
def test_it_deletes_no_file(node: Path, name: str) -> None:
    """A file in place of a socket is not replaced."""
    (node / name).write_bytes(WRITTEN)
    flags = ["--plugin-dir", node / "device-plugins", "--pod-resources-socket", node / "other"]
    assert f"{node / name}: not a socket, and would be deleted" in _refusal(*flags)
    assert (node / name).read_bytes() == WRITTEN


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a link to another user")
def test_it_does_not_follow_links_of_other_users_to_the_pod_resources(node: Path) -> None:
    """Root would delete a socket wherever the link leads, such as the node's kubelet's."""
    (node / "pod-resources").rename(node / "elsewhere")
    (node / "pod-resources").symlink_to("elsewhere")
    os.lchown(node / "pod-resources", 65534, 65534)
    refusal = _refusal("--plugin-dir", node / "device-plugins")
    assert "belongs to user" in refusal
    assert "root could be made to delete sockets elsewhere; choose another with --pod-resources-socket" in refusal

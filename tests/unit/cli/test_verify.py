"""`dphub verify` checks only what the user named, and never a real kubelet's plugins."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pytest

from hub.base.errors import ConfigError
from hub.cli import cli, plugindir


@contextmanager
def _listening(path: Path) -> Iterator[None]:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield


def _refusal(*words: str | Path) -> str:
    found = cli.get_command(click.Context(cli), "verify")
    assert found
    context = found.make_context("verify", [str(word) for word in words], parent=click.Context(cli))
    with pytest.raises((ConfigError, click.UsageError)) as caught:
        context.command.invoke(context)
    return str(caught.value)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], "specify one of --socket PATH, --plugin-dir DIR with --resource NAME, and -- COMMAND"),
        (["--socket", "x.sock", "--", "my-plugin"], "specify one of"),
        (["--plugin-dir", "plugins", "--socket", "x.sock"], "specify one of"),
        (["--plugin-dir", "plugins"], "--plugin-dir needs --resource NAME"),
        (["--socket", "x.sock", "--resource", "example.com/stub"], "--resource does not apply"),
        (["--rule", "id-unique", "--", "my-plugin"], "there is no rule id-unique; did you mean ids-unique?"),
        (["--skip", "id-unique", "--", "my-plugin"], "there is no rule id-unique; did you mean ids-unique?"),
        (["--rule", "ids-unique", "--skip", "ids-unique", "--", "x"], "no rule is left to check"),
    ],
)
def test_flags_that_contradict_each_other(words: list[str], expected: str) -> None:
    """Nothing is started, and the error says what to write."""
    assert expected in _refusal(*words)


@pytest.mark.parametrize("option", ["--junit", "--output"])
def test_a_file_that_cannot_be_written(directory: Path, option: str) -> None:
    """It is reported before the check, which takes a while, and not as a fault of the plugin."""
    refusal = _refusal(option, directory / "missing" / "file", "--", "my-plugin")
    assert "missing/file: cannot be written: No such file or directory" in refusal


def test_a_socket_that_nothing_serves(directory: Path) -> None:
    """It is not the plugin's fault, so no rule is reported as broken."""
    assert "no process is listening there" in _refusal("--socket", directory / "x.sock")


def test_a_running_kubelet_is_left_alone(directory: Path) -> None:
    """The check would delete all sockets in its directory."""
    words = ("--plugin-dir", directory, "--resource", "example.com/stub")
    with _listening(directory / "kubelet.sock"):
        assert "a kubelet is running there" in _refusal(*words)
        assert (directory / "kubelet.sock").exists()


def test_the_directory_of_the_nodes_kubelet_is_left_alone(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """This holds even while that kubelet is not running, and if the directory is named by a different path."""
    (directory / "real").mkdir()
    (directory / "link").symlink_to(directory / "real")
    monkeypatch.setattr(plugindir, "PLUGIN_DIR", directory / "real")
    for path in (directory / "real", directory / "link"):
        assert "in the directory of a kubelet" in _refusal("--plugin-dir", path, "--resource", "example.com/x")


def test_a_file_is_not_a_plugin_directory(directory: Path) -> None:
    """The error names it."""
    (directory / "file").touch()
    assert "not a directory" in _refusal("--plugin-dir", directory / "file", "--resource", "example.com/x")


def test_a_directory_with_others_in_it_is_left_alone(directory: Path) -> None:
    """A rule deletes the plugin directory, so volumes of pods, for example, must not be in it."""
    (directory / "pods").mkdir()
    refusal = _refusal("--plugin-dir", directory, "--resource", "example.com/x")
    assert "contains directories (pods), which the check would delete" in refusal

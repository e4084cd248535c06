"""Fixtures and hooks for all tests."""

import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from hub.testing.kubelet import FakeKubelet
from tests.harness.files import remove_tree
from tests.harness.node import Node

pytest_plugins = ["tests.harness.process_leaks", "tests.harness.preloaded", "tests.harness.kubelet_option"]

# No test depends on speed.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")


@pytest.fixture(scope="session", autouse=True)
def deliverable_signals() -> None:
    """Start children with the default actions of the signals that a script's background jobs and nohup ignore.

    A child inherits an ignored signal, but not a handler: with empty handlers, only this process ignores them.
    """
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the longest tests to the front, after pytest-randomly has shuffled all of them."""
    items.sort(key=lambda item: item.get_closest_marker("longest") is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print how to repeat the order of the tests."""
    if config.pluginmanager.hasplugin("randomly"):
        terminalreporter.write_line(f"to repeat the order of the tests: --randomly-seed={config.option.randomly_seed}")


@pytest.fixture
def directory() -> Iterator[Path]:
    """Create a directory whose path is short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="hub", dir="/tmp"))
    yield path
    remove_tree(path)


@pytest.fixture
def node() -> Iterator[Node]:
    """Create a node without a running kubelet; plugins that are started on it stop with the test."""
    directory = Path(tempfile.mkdtemp(prefix="dp", dir="/tmp"))
    node = Node(directory)
    yield node
    exits = [plugin.process.poll() for plugin in node.plugins]
    node.kill_plugins()
    for plugin, code in zip(node.plugins, exits, strict=True):
        # Shown if the test fails.
        sys.stdout.write(plugin.log)
        if code is not None:
            sys.stdout.write(f"{plugin.name} had exited with code {code} before the end of the test\n")
    remove_tree(directory)


@pytest.fixture
async def kubelet(node: Node) -> AsyncIterator[FakeKubelet]:
    """Run the node's kubelet."""
    async with FakeKubelet(node.plugin_dir) as kubelet:
        yield kubelet

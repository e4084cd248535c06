"""The option --kubelet: which kubelet the nodes have, the fake one or the device manager of a real one."""

from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks import nodes as benchmark_nodes
from hub.testing import Node
from hub.testing.kubelet import FakeKubelet
from tests.differential.comparison import compare
from tests.harness import kubelet, operated
from tests.harness.kubeletbuild import VERSIONS, binary
from tests.harness.realkubelet import real_kubelet

FAKE = "fake"
KUBELETS = (FAKE, *VERSIONS)
"""The values of the option."""

_MAKERS: tuple[Any, ...] = (
    FakeKubelet,
    Node,
    kubelet.node,
    operated.operated,
    benchmark_nodes.node_of_three,
    compare,
)
"""What makes a kubelet; a test has one if its module uses any of them."""

_FIXTURES = {"kubelet", "node"}


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    words = "the kubelet of every node: the fake one, or the device manager of a version that is built"
    parser.addoption("--kubelet", choices=KUBELETS, default=FAKE, help=words)


def pytest_configure(config: pytest.Config) -> None:
    """Let the nodes of the run have this kubelet."""
    try:
        choose(config.getoption("--kubelet"))
    except FileNotFoundError as error:
        raise pytest.UsageError(str(error)) from None


def choose(kubelet: str) -> None:
    """Let every `FakeKubelet` of this process start this kubelet.

    Raises:
        FileNotFoundError: it is not built.
    """
    if kubelet == FAKE:
        return
    if not binary(kubelet).exists():
        raise FileNotFoundError(f"kubelet {kubelet} is not built: run `make test-kubelet KUBELETS={kubelet}`")
    FakeKubelet.process_type = real_kubelet(kubelet)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With a real kubelet, keep the tests that have a kubelet, and skip those that need the fake one."""
    if config.getoption("--kubelet") == FAKE:
        return
    kept = [item for item in items if isinstance(item, pytest.Function) and _has_kubelet(item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
    for item, marker in _marked(items):
        item.add_marker(pytest.mark.skip(reason=f"needs the fake kubelet: {marker.args[0]}"))


def _has_kubelet(item: pytest.Function) -> bool:
    if _FIXTURES.intersection(item.fixturenames):
        return True
    used = vars(item.module).values()
    return any(value is maker for value in used for maker in _MAKERS)


def _marked(items: list[pytest.Item]) -> Iterator[tuple[pytest.Item, pytest.Mark]]:
    for item in items:
        if marker := item.get_closest_marker("fake_kubelet"):
            yield item, marker

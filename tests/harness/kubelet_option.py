"""The `--kubelet` option, which selects the nodes' kubelet: the fake one or the device manager of a real one."""

from pathlib import Path

import pytest

from hub.testing.kubelet import FakeKubelet
from tests.harness import realdra
from tests.harness.kubelet_use import Starts, has_kubelet
from tests.harness.kubeletbuild import VERSIONS, binary
from tests.harness.realkubelet import real_kubelet

FAKE = "fake"
KUBELETS = (FAKE, *VERSIONS)
"""The values of the option."""

TESTS = Path(__file__).parents[1]

DIRECTORIES = [
    TESTS / name for name in ("differential", "docs", "integration", "unit/kubelet", "unit/plugin", "unit/testing")
]
"""The directories with tests that use a kubelet. A run with a real one does not load the others: each of its processes
would take seconds for that."""

PAGES = TESTS / "docs"
"""The tests of pages run only with the newest real kubelet, since a page shows the same with every kubelet."""

_STARTS = pytest.StashKey[Starts]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option."""
    words = "the kubelet of every node: the fake one, or the device manager of a version that is built"
    parser.addoption("--kubelet", choices=KUBELETS, default=FAKE, help=words)


def pytest_configure(config: pytest.Config) -> None:
    """Make the nodes of the run use this kubelet."""
    try:
        choose(config.getoption("--kubelet"))
    except FileNotFoundError as error:
        raise pytest.UsageError(str(error)) from None
    config.stash[_STARTS] = Starts()
    config.stash[_STARTS].watch(FakeKubelet)


def choose(kubelet: str) -> None:
    """Make every `FakeKubelet` of this process start this kubelet.

    Raises:
        FileNotFoundError: it is not built.
    """
    if kubelet == FAKE:
        return
    if not binary(kubelet).exists():
        raise FileNotFoundError(f"kubelet {kubelet} is not built: run `make test-kubelet KUBELETS={kubelet}`")
    FakeKubelet.process_type = real_kubelet(kubelet)
    realdra.choose(kubelet)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With a real kubelet, leave out directories without tests for it."""
    if config.getoption("--kubelet") == FAKE or not collection_path.is_relative_to(TESTS):
        return None
    related = any(collection_path.is_relative_to(each) or each.is_relative_to(collection_path) for each in DIRECTORIES)
    return None if related else True


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With a real kubelet, keep the tests that use a kubelet of its version, and skip those that need the fake one."""
    version = config.getoption("--kubelet")
    if version == FAKE:
        return
    kept = [item for item in items if has_kubelet(item) and _is_for(version, item)]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept
    for item in items:
        if marker := item.get_closest_marker("fake_kubelet"):
            item.add_marker(pytest.mark.skip(reason=f"needs the fake kubelet: {marker.args[0]}"))


def _is_for(version: str, item: pytest.Item) -> bool:
    """Return whether the test is for this version, by its markers and its location."""
    if item.path.is_relative_to(PAGES) and version != VERSIONS[-1]:
        return False
    limits = [marker.kwargs for marker in item.iter_markers("kubelets")]
    return all(each.get("since", version) <= version < each.get("before", "2") for each in limits)


def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Fail a test that has started a kubelet but that a run with a real kubelet would leave out."""
    if not item.config.stash[_STARTS].pop():
        return
    if not has_kubelet(item):
        pytest.fail("this test starts a kubelet unnoticed: tests/harness/kubelet_use.py has to see it", pytrace=False)
    if item.path.is_relative_to(TESTS) and not any(item.path.is_relative_to(each) for each in DIRECTORIES):
        pytest.fail("this test starts a kubelet: add its directory to tests/harness/kubelet_option.py", pytrace=False)

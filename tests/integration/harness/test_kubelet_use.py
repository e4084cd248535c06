"""A run with a real kubelet includes every test that starts a kubelet."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hub.testing.kubelet import FakeKubelet
from tests.harness import kubelet as kubelets
from tests.harness.kubelet_use import has_kubelet
from tests.harness.operated import OperatedNode
from tests.harness.project import PROJECT

UNNOTICED = """
import asyncio
from pathlib import Path
from hub.testing.kubelet import FakeKubelet
def test_that_starts_one(tmp_path: Path):
    async def start():
        async with FakeKubelet(tmp_path / "dp"):
            pass
    asyncio.run(start())
"""


def _operated() -> type[OperatedNode]:
    return OperatedNode


async def test_a_fixture_is_noticed(request: pytest.FixtureRequest, kubelet: FakeKubelet) -> None:
    """The test is noticed whichever fixture starts the kubelet."""
    assert kubelet.running
    assert has_kubelet(request.node)


def test_a_function_of_a_module_is_noticed(request: pytest.FixtureRequest) -> None:
    """A function that runs a node is an example of this."""
    assert kubelets.node
    assert has_kubelet(request.node)


def test_a_class_behind_a_function_is_noticed(request: pytest.FixtureRequest) -> None:
    """The class inherits from a node, which has a kubelet."""
    assert _operated()
    assert has_kubelet(request.node)


def test_a_test_without_a_kubelet_is_left_out(request: pytest.FixtureRequest) -> None:
    """Other tests of its module may have one."""
    assert not has_kubelet(request.node)


def test_a_start_that_was_not_noticed_fails_the_test(tmp_path: Path) -> None:
    """The test fails even without a real kubelet, so no run silently leaves a test out."""
    (tmp_path / "test_it.py").write_text(UNNOTICED)
    flags = ["-p", "tests.harness.kubelet_option", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *flags, "test_it.py"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done
    assert "this test starts a kubelet unnoticed" in done.stdout

"""Fixtures of the tests of the manifests."""

import shutil
from pathlib import Path

import pytest

from tests.deploy.manifest_tools import CONTAINER


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Create a copy of what kustomize reads, for overlays of the test."""
    copy = tmp_path_factory.mktemp("container")
    for name in ("base", "components", "overlays"):
        shutil.copytree(CONTAINER / name, copy / name)
    return copy

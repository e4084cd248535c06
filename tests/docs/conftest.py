"""Fixtures of the tests of the documentation."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT
from tests.docs.terminal import typed
from tests.docs.tutorial import SET_UP, Tutorial


@pytest.fixture
def tutorial() -> Iterator[Tutorial]:
    """Create a directory next to the checkout, with a path short enough for sockets, and files for devices."""
    with tempfile.TemporaryDirectory(prefix="dphub-") as beside:
        directory = Path(beside) / "serial"
        directory.mkdir()
        (Path(beside) / "device-plugin-hub").symlink_to(ROOT)
        for command in SET_UP:
            typed(command, directory)
        yield Tutorial(directory)

"""The lock files of hubs and plugins, in a directory into which every plugin can write."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.base.errors import ConfigError
from hub.base.instances import acquire_hub_lock, acquire_serving_lock, running_hubs, serving
from hub.base.paths import RunDir


def test_a_lock_that_cannot_be_created(directory: Path) -> None:
    """The error names the file and the reason."""
    with pytest.raises(ConfigError, match=r"x\.lock: cannot be used as the lock file: File name too long"):
        acquire_hub_lock(RunDir(directory, "x" * 300)).__enter__()


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(path))


IN_ITS_PLACE: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a socket": _socket,
    "a link to a device": lambda path: path.symlink_to("/dev/zero"),
    "a link to a file": lambda path: path.symlink_to("precious"),
    "a link to nothing": lambda path: path.symlink_to("nothing"),
    "a directory": lambda path: (path / "in the way").mkdir(parents=True),
}


@pytest.mark.parametrize("plant", IN_ITS_PLACE.values(), ids=IN_ITS_PLACE)
def test_what_is_in_the_place_of_a_lock_is_replaced(directory: Path, plant: Callable[[Path], object]) -> None:
    """Otherwise no hub of this name would start again: in a pod, the container would restart without end."""
    run_dir = RunDir(directory)
    (directory / "precious").write_text("kept")
    run_dir.serving("stub").parent.mkdir()
    (run_dir.serving("stub").parent / "precious").write_text("kept")
    plant(run_dir.lock)
    plant(run_dir.serving("stub"))
    with acquire_hub_lock(run_dir):
        assert [hub.name for hub in running_hubs(run_dir)] == ["dphub"]
        acquire_serving_lock(run_dir, "stub")
        assert [(each.name, each.is_running) for each in serving(run_dir, "stub")] == [("dphub", True)]
    for place in (directory, run_dir.serving("stub").parent):
        assert (place / "precious").read_text() == "kept"
        assert not (place / "nothing").exists()

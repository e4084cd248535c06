"""The checkpoint of the fake kubelet, in a directory that it shares with plugins that are not trusted."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from hub.kubelet.checkpoint import CHECKPOINT
from hub.testing.kubelet import checkpoint


def test_a_link_next_to_the_checkpoint_is_not_followed(tmp_path: Path) -> None:
    """A plugin in a container would otherwise overwrite any file on the node."""
    (tmp_path / "precious").write_text("kept")
    path = tmp_path / CHECKPOINT
    for name in (path, path.with_name(f".{path.name}")):
        name.symlink_to("precious")
    checkpoint.write(path, {"example.com/stub": ()}, ())
    assert (tmp_path / "precious").read_text() == "kept"
    assert checkpoint.read(path) == (["example.com/stub"], {})


@pytest.mark.parametrize(
    "plant",
    [os.mkfifo, lambda path: path.symlink_to("/dev/zero"), lambda path: path.write_bytes(b"\xff")],
    ids=["pipe", "endless device", "garbage"],
)
def test_a_file_that_is_not_a_checkpoint_is_ignored(tmp_path: Path, plant: Callable[[Path], object]) -> None:
    """The kubelet starts without it."""
    path = tmp_path / CHECKPOINT
    plant(path)
    with capture_logs() as logs:
        assert checkpoint.restore(path, {}) == []
    assert [each["event"] for each in logs] == ["checkpoint ignored"]

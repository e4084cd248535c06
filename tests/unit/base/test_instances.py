"""The lock files of hubs and plugins, in a directory into which every plugin can write."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from hub.base.errors import ConfigError, HubError
from hub.base.instances import (
    AlreadyRunningError,
    ServingLock,
    acquire_hub_lock,
    running_hubs,
    running_service,
    serving,
)
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
    """If it were not, no hub of this name could start again: in a pod, the container would restart forever."""
    run_dir = RunDir(directory)
    (directory / "precious").write_text("kept")
    run_dir.serving("stub").parent.mkdir()
    (run_dir.serving("stub").parent / "precious").write_text("kept")
    plant(run_dir.lock)
    plant(run_dir.serving("stub"))
    with acquire_hub_lock(run_dir):
        assert [hub.name for hub in running_hubs(run_dir)] == ["dphub"]
        assert ServingLock(run_dir, "stub").acquire()
        assert [(each.name, each.is_running) for each in serving(run_dir, "stub")] == [("dphub", True)]
    for place in (directory, run_dir.serving("stub").parent):
        assert (place / "precious").read_text() == "kept"
        assert not (place / "nothing").exists()


def _change(path: Path) -> None:
    path.write_text("garbage")


def _replace(path: Path) -> None:
    path.unlink()
    path.touch()


LOST: dict[str, Callable[[Path], object]] = {"removed": Path.unlink, "replaced": _replace, "changed": _change}
for what, put in IN_ITS_PLACE.items():
    LOST[f"replaced by {what}"] = lambda path, put=put: (path.unlink(), put(path))


@pytest.mark.parametrize("lose", LOST.values(), ids=LOST)
def test_a_lost_lock_is_taken_again(directory: Path, lose: Callable[[Path], object]) -> None:
    """It contains the same time, so the order of the hubs stays the same, however often the lock is lost."""
    older, newer = RunDir(directory, "older"), RunDir(directory, "newer")
    with acquire_hub_lock(older) as lock, acquire_hub_lock(newer):
        before, descriptors = running_hubs(newer), _descriptors()
        for _ in range(2):
            lose(older.lock)
            assert [hub.name for hub in running_hubs(newer)] == ["newer"]
            lock.restore()
            assert running_hubs(newer) == before
            with pytest.raises(AlreadyRunningError), acquire_hub_lock(older):
                pass
        assert _descriptors() == descriptors
    assert running_hubs(newer) == []


def test_a_lost_serving_lock_is_taken_again(directory: Path) -> None:
    """This holds even if the directory is gone, but not for a plugin that is not serving yet, or that is exiting."""
    run_dir = RunDir(directory)
    lock = ServingLock(run_dir, "stub")
    lock.restore()
    assert serving(run_dir, "stub") == []
    lock.acquire()
    before = serving(run_dir, "stub")
    run_dir.serving("stub").unlink()
    run_dir.serving("stub").parent.rmdir()
    lock.restore()
    assert serving(run_dir, "stub") == before
    lock.release()
    lock.restore()
    assert [each.is_running for each in serving(run_dir, "stub")] == [False]


def test_a_lost_lock_that_another_process_holds(directory: Path) -> None:
    """The error says so and names the process; once that process has exited, the lock is taken again."""
    run_dir = RunDir(directory)
    with acquire_hub_lock(run_dir) as lock:
        run_dir.lock.unlink()
        with (
            acquire_hub_lock(run_dir),
            pytest.raises(HubError, match=rf"lock was removed or replaced, and process {os.getpid()} holds it now"),
        ):
            lock.restore()
        lock.restore()
        assert [hub.name for hub in running_hubs(run_dir)] == ["dphub"]


def test_a_lost_lock_that_cannot_be_created(directory: Path) -> None:
    """The error names the file and the reason."""
    (directory / "run").mkdir()
    run_dir = RunDir(directory / "run")
    with acquire_hub_lock(run_dir) as lock:
        (directory / "run").rename(directory / "elsewhere")
        with pytest.raises(HubError, match=r"dphub\.lock: cannot be used as the lock file: No such file"):
            lock.restore()


def _descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_the_nodes_service_is_sorted_after_all_others(directory: Path) -> None:
    """This holds even after its lock file was lost and written again; no other hub counts as the service."""
    service, pod = RunDir(directory, "dphub"), RunDir(directory, "pod")
    assert running_service(pod) == ""
    with acquire_hub_lock(service, is_service=True) as lock, acquire_hub_lock(pod):
        for _ in range(2):
            assert [hub.name for hub in running_hubs(pod)] == ["pod", "dphub"]
            assert running_service(pod) == "dphub"
            service.lock.unlink()
            lock.restore()
    assert running_service(pod) == ""

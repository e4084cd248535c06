"""Which MPS daemons the plugin recognizes as its own."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from hub import Host, Runtime
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.mps import MpsDaemons, daemon
from plugins.gpu.mps.daemon import MpsLimits
from plugins.gpu.mps.labels import LABEL, allow_containers
from plugins.gpu.mps.records import MpsRecords
from plugins.gpu.settings.file import GPUSettings
from tests.harness.files import put

LIMITS = MpsLimits({"0": "GPU-0"}, {"0": 100}, 2)


def _runtime(path: Path) -> Runtime:
    (path / "node").mkdir()
    return Runtime(str(path), "dphub", "gpu")


def test_what_a_container_wrote_is_not_a_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its shared memory is below the daemons' directory, but no program is started because of a file in it."""
    started: list[Any] = []
    monkeypatch.setattr(daemon, "run_driver_program", lambda *args, **_options: started.append(args))
    for resource in ("shm/x", "nvidia.com/gpu"):
        marker = tmp_path / "run/nvidia/mps" / resource / ".dphub"
        marker.parent.mkdir(parents=True)
        marker.write_text(json.dumps({"gpus": {"0": "GPU-0"}, "memory": {}, "replicas": 1}))
    daemons = MpsDaemons(GPUSettings(), DriverPaths(Host(tmp_path)), _runtime(tmp_path), changed=lambda: None)
    assert daemons.ensure([]) == {}
    assert started == []


def test_a_record_outlives_the_process(tmp_path: Path) -> None:
    """The next process finds which daemons were started, until they are stopped."""
    runtime = _runtime(tmp_path)
    MpsRecords(runtime).set("nvidia.com/gpu", LIMITS)
    MpsRecords(runtime).set("nvidia.com/part", LIMITS)
    assert MpsRecords(runtime).read() == {"nvidia.com/gpu": LIMITS, "nvidia.com/part": LIMITS}
    MpsRecords(runtime).set("nvidia.com/part", None)
    assert MpsRecords(runtime).read() == {"nvidia.com/gpu": LIMITS}


def test_without_a_run_directory_the_process_remembers() -> None:
    """This applies to a plugin that was started by hand."""
    records = MpsRecords(Runtime())
    records.set("nvidia.com/gpu", LIMITS)
    assert records.read() == {"nvidia.com/gpu": LIMITS}


@pytest.mark.parametrize("content", [b"\xff", b"{", None], ids=["bytes", "cut off", "pipe"])
def test_records_that_cannot_be_read_are_replaced(tmp_path: Path, content: bytes | None) -> None:
    """The limits of the required daemons are set again."""
    runtime = _runtime(tmp_path)
    path = tmp_path / "node/gpu.mps.json"
    put(path, content)
    records = MpsRecords(runtime)
    assert records.read() == {}
    records.set("nvidia.com/gpu", LIMITS)
    assert MpsRecords(runtime).read() == {"nvidia.com/gpu": LIMITS}


@pytest.mark.parametrize("selinux", [True, False])
def test_directories_are_labelled_for_containers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, selinux: bool
) -> None:
    """On a node with SELinux a container could not open the daemon's sockets otherwise; elsewhere there are none."""
    labels: dict[str, bytes] = {}
    monkeypatch.setattr(os, "getxattr", lambda path, *_, **__: labels.get(str(path), b"var_run_t"))
    monkeypatch.setattr(os, "setxattr", lambda path, _, label, **__: labels.update({str(path): label}))
    pipe = tmp_path / "run/nvidia/mps/nvidia.com/gpu/pipe"
    put(pipe / "control", b"")
    if selinux:
        put(tmp_path / "sys/fs/selinux/enforce", b"1")
    allow_containers(Host(tmp_path), "/run/nvidia/mps/nvidia.com/gpu/pipe")
    paths = {str(pipe), str(pipe / "control")} if selinux else set()
    assert labels == dict.fromkeys(paths, f"{LABEL}\0".encode())


def test_what_a_container_puts_into_a_directory_does_not_prevent_its_label(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither directories too deep for a path nor a file that is being removed prevents it: others need the daemon."""
    labels: set[str] = set()

    def found(path: Path, *_: object, **__: object) -> bytes:
        if path.name == "removed":
            path.unlink()
        path.lstat()
        return b"var_run_t"

    monkeypatch.setattr(os, "getxattr", found)
    monkeypatch.setattr(os, "setxattr", lambda path, *_, **__: labels.add(path.name))
    put(tmp_path / "sys/fs/selinux/enforce", b"1")
    shm = tmp_path / "shm"
    for name in ("cuda.shm.0", "removed"):
        put(shm / name, b"")
    _nest(shm, levels=30, name="x" * 250)
    allow_containers(Host(tmp_path), "/shm")
    assert labels == {"shm", "cuda.shm.0", "x" * 250}


def test_a_directory_with_the_label_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container can create millions of files there, whose names would take the memory of all plugins."""
    monkeypatch.setattr(os, "getxattr", lambda *_, **__: f"{LABEL}\0".encode())
    monkeypatch.setattr(os, "scandir", lambda *_: pytest.fail("listed"))
    monkeypatch.setattr(os, "listdir", lambda *_: pytest.fail("listed"))
    put(tmp_path / "sys/fs/selinux/enforce", b"1")
    put(tmp_path / "shm/cuda.shm.0", b"")
    allow_containers(Host(tmp_path), "/shm")


def _nest(directory: Path, levels: int, name: str) -> None:
    """Create directories inside each other; their path may be longer than the kernel accepts."""
    here = os.open(directory, os.O_PATH)
    for _ in range(levels):
        os.mkdir(name, dir_fd=here)
        deeper = os.open(name, os.O_PATH, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)

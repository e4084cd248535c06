"""Files of the kernel and the driver that provide a GPU's facts may contain anything."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hub import Host
from plugins.gpu.allocation.devicefiles import MIG_MINORS, DeviceFiles
from plugins.gpu.cdi.driverfiles import MPS_DIRECTORY, sockets
from plugins.gpu.discovery.driverpaths import DriverPaths
from plugins.gpu.reset.unused import _name
from plugins.gpu.settings.file import Imex
from tests.harness.files import put
from tests.harness.gpu_support import facts
from tests.simulators.nvml import SimulatedNode

ODD = [b"\xff", b"many", "²".encode(), b"9" * 5000, None]


@pytest.mark.parametrize("content", ODD)
def test_an_odd_pci_function_is_not_a_gpu(tmp_path: Path, content: bytes | None) -> None:
    """It is left out, and others are found."""
    put(tmp_path / "sys/bus/pci/devices/0000:07:00.0/vendor", content)
    paths = DriverPaths(Host(tmp_path))
    assert not paths.has_gpus()
    put(tmp_path / "sys/bus/pci/devices/0000:08:00.0/vendor", b"0x10de\n")
    put(tmp_path / "sys/bus/pci/devices/0000:08:00.0/class", b"0x030200\n")
    (tmp_path / "sys/bus/pci/devices/0000:08:00.0/driver").symlink_to("driver")
    assert paths.has_gpus()


@pytest.mark.parametrize("content", ODD)
def test_an_odd_list_of_capabilities_affects_only_its_files(tmp_path: Path, content: bytes | None) -> None:
    """The GPUs themselves, and the capabilities that can be read, are known."""
    node = SimulatedNode(tmp_path, "pair", {0: "1g"})
    (gpu, _) = facts(node)
    known = f"gpu{gpu.minor}/gi{gpu.migs[0].gpu_instance}/access 21\n".encode()
    whole = content is None or content == b"\xff"
    put(tmp_path / MIG_MINORS.lstrip("/"), content if whole else b"odd %b\n%b" % (content, known))
    files = DeviceFiles(DriverPaths(Host(tmp_path)), Imex())
    files.refresh([gpu])
    found = list(files.of(gpu, gpu.migs[0]))
    assert found[0] == f"/dev/nvidia{gpu.minor}"
    assert whole or "/dev/nvidia-caps/nvidia-cap21" in found


def test_the_name_of_a_process_need_not_be_text(tmp_path: Path) -> None:
    """If a process prevents a reset, the reason names it."""
    put(tmp_path / "proc/4711/comm", b"\xff\n")
    target: Any = SimpleNamespace(paths=DriverPaths(Host(tmp_path)))
    assert _name(target, 4711) == "\\xff"


def test_a_directory_of_another_user_is_not_the_drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any user can create /tmp/nvidia-mps: containers get it only if it is a directory that belongs to root."""
    directory = tmp_path / MPS_DIRECTORY[1:]
    paths = DriverPaths(Host(tmp_path))
    assert sockets(paths) == []
    directory.parent.mkdir()
    directory.symlink_to("/")
    assert sockets(paths) == []
    directory.unlink()
    directory.mkdir()
    assert sockets(paths) == [MPS_DIRECTORY]
    monkeypatch.setattr("os.geteuid", lambda: directory.stat().st_uid + 1)
    monkeypatch.setattr(Path, "lstat", lambda path: SimpleNamespace(st_mode=path.stat().st_mode, st_uid=65534))
    assert sockets(paths) == []

    def fail(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "lstat", fail)
    assert sockets(paths) == []

"""The files of a simulated node: device files, the driver's files in /proc, the PCI tree in /sys, and the driver."""

import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from .library import HERE, simulated_library
from .profiles import SimulatedGpu

LIBRARIES = "usr/lib/x86_64-linux-gnu"
CONTROL_NODES = ("nvidiactl", "nvidia-uvm", "nvidia-uvm-tools", "nvidia-modeset")


def write_driver(root: Path, version: str) -> None:
    """Write the driver's libraries and programs."""
    directory = root / LIBRARIES
    directory.mkdir(parents=True, exist_ok=True)
    for old in directory.iterdir():
        old.unlink()
    for name in ("libcuda", "libnvidia-ptxjitcompiler", "libnvidia-nvvm"):
        (directory / f"{name}.so.{version}").write_text(name)
        (directory / f"{name}.so.1").symlink_to(f"{name}.so.{version}")
    (directory / f"libnvidia-ml.so.{version}").symlink_to(simulated_library())
    (directory / "libnvidia-ml.so.1").symlink_to(f"libnvidia-ml.so.{version}")
    programs = root / "usr/bin"
    programs.mkdir(parents=True, exist_ok=True)
    if not (programs / "nvidia-smi").exists():
        shutil.copy(HERE / "nvidia-smi", programs / "nvidia-smi")


def write_tree(root: Path, gpus: Iterable[SimulatedGpu], driver: str) -> None:
    """Make device files, /proc and /sys match the GPUs, without touching files that are already right."""
    gpus = list(gpus)
    if any(gpu.wsl for gpu in gpus):
        wanted = {"dev/dxg": ""}
    else:
        wanted = {f"dev/{name}": "" for name in CONTROL_NODES} if driver else {}
    if driver and not any(gpu.wsl for gpu in gpus):
        wanted["proc/driver/nvidia/version"] = f"NVRM version: NVIDIA UNIX x86_64 Kernel Module  {driver}\n"
        wanted |= {f"dev/nvidia{gpu.minor}": "" for gpu in gpus if gpu.node}
        wanted |= _mig_files(gpus)
    for gpu in gpus:
        wanted |= _pci_files(gpu)
    # Only files that were made here are removed, since another simulation may share the node.
    made = root / "simulator/tree"
    for name in set(made.read_text().split("\n") if made.exists() else ()) - wanted.keys():
        (root / name).unlink(missing_ok=True)
        if name.startswith("sys/devices/"):
            # An empty directory stands for a PCI function that is gone.
            with suppress(OSError):
                (root / name).parent.rmdir()
    made.write_text("\n".join(wanted))
    for name, text in wanted.items():
        path = root / name
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    _link_devices(root, gpus)


def _mig_files(gpus: Iterable[SimulatedGpu]) -> dict[str, str]:
    """Return the files of MIG: for each instance, a capability, its line in mig-minors and a device file."""
    lines, files, number = ["config 1", "monitor 2"], {}, 3
    for gpu in gpus:
        for mig in gpu.migs:
            for what in (f"gi{mig.gi}", f"gi{mig.gi}/ci{mig.ci}"):
                key = f"gpu{gpu.minor}/{what}/access"
                if any(line.startswith(f"{key} ") for line in lines):
                    continue
                lines.append(f"{key} {number}")
                files[f"dev/nvidia-caps/nvidia-cap{number}"] = ""
                number += 1
    return files | {"proc/driver/nvidia-caps/mig-minors": "".join(f"{line}\n" for line in lines)}


def _pci_path(gpu: SimulatedGpu) -> str:
    bus = 0x80 if gpu.numa else 0
    switch = f"0000:{bus + 1 + gpu.switch % 8:02x}:00.0"
    port = f"0000:{bus + 9 + gpu.switch % 8:02x}:{int(gpu.pci[5:7], 16) % 32:02x}.0"
    return f"sys/devices/pci0000:{bus:02x}/0000:{bus:02x}:{gpu.switch % 8 + 1:02x}.0/{switch}/{port}/{gpu.pci}"


def _pci_files(gpu: SimulatedGpu) -> dict[str, str]:
    path = _pci_path(gpu)
    files = {"numa_node": gpu.numa, "vendor": "0x10de", "class": "0x030200"}
    return {f"{path}/{name}": f"{value}\n" for name, value in files.items()}


def _link_devices(root: Path, gpus: Iterable[SimulatedGpu]) -> None:
    devices = root / "sys/bus/pci/devices"
    devices.mkdir(parents=True, exist_ok=True)
    wanted = {gpu.pci: f"../../../../{_pci_path(gpu)}" for gpu in gpus}
    for link in devices.iterdir():
        if link.name not in wanted and not link.exists():
            link.unlink()
    for name, target in wanted.items():
        if not (devices / name).is_symlink():
            (devices / name).symlink_to(target)

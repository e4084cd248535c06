"""Read the Intel GPUs of a node from sysfs and /dev."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from hub import (
    PCI_ADDRESS,
    Host,
    PciFunction,
    link_name,
    pci_functions,
    read_attribute,
    read_number,
    sorted_entries,
)

DEV = "/dev"
DRI = "/dev/dri"
BY_PATH = "/dev/dri/by-path"
"""Links to the files in /dev/dri, named by PCI address; udev creates them."""

VENDOR = "8086"
DISPLAY = "03"
"""The class of all display controllers."""

_ID = re.compile("[0-9a-f]{4}")
_DRIVER = re.compile("[A-Za-z0-9_-]{1,40}")
_MINOR = re.compile("(card|renderD)[0-9]+")
"""The files of a GPU. An entry controlD* has no file on any current kernel."""
_MEI = re.compile("mei[0-9]+")
_SENSOR = re.compile("temp[0-9]{1,4}_input")
_LABEL = re.compile("[a-z0-9_]{1,32}")
_MILLIDEGREES = re.compile("-?[0-9]{1,9}")


class Gpu(msgspec.Struct, frozen=True):
    """An Intel GPU: a physical or virtual function."""

    pci: str
    """Its PCI address, which does not change when the numbers of its files do."""
    device: str
    """Its device id, such as "0x56c0"; empty if the kernel shows none."""
    driver: str
    """Empty if no driver is bound."""
    numa: int | None = None
    """Its NUMA node; None if unknown."""
    pf: str = ""
    """The PCI address of its physical function; empty unless it is virtual."""
    vfs: int = 0
    """The number of its virtual functions."""
    files: tuple[str, ...] = ()
    """Its files in /dev/dri, such as "card0" and "renderD128"."""
    absent: tuple[str, ...] = ()
    """Files that the kernel names, but that do not exist."""
    links: tuple[str, ...] = ()
    """Those links in /dev/dri/by-path that lead to its files."""
    meis: tuple[str, ...] = ()
    """The files of its management engines in /dev, such as "mei0"."""
    survivability: bool = False
    """Whether the driver keeps it alive only so that its firmware can be repaired."""
    class_code: str = ""
    """The first four digits of its PCI class, such as "0380"."""

    @property
    def render(self) -> str:
        """The path of its render node; empty if it has none."""
        return next((f"{DRI}/{name}" for name in self.files if name.startswith("renderD")), "")


def read_gpus(host: Host) -> list[Gpu]:
    """Read all Intel GPUs, including those that no driver is bound to, sorted by PCI address."""
    links = {link.name: link_name(link) for link in sorted_entries(host.path(BY_PATH))}
    functions = pci_functions(host, vendor=VENDOR, class_code=DISPLAY)
    # A GPU that is removed during the read has no id.
    return [gpu for each in functions if (gpu := _read_gpu(host, each, links)).device or each.path.exists()]


def read_temperatures(host: Host, gpu: Gpu) -> list[tuple[str, float]]:
    """Read the temperatures of a GPU in degrees Celsius, with their names.

    The names are the ones that xe uses: "pkg", "vram" and others. i915 has only the package's temperature, unnamed.
    """
    found = []
    for monitor in sorted_entries(host.path(f"/sys/bus/pci/devices/{gpu.pci}/hwmon")):
        for sensor in _names(monitor, _SENSOR):
            value = read_attribute(monitor / sensor)
            if _MILLIDEGREES.fullmatch(value):
                found.append((_sensor_name(monitor, sensor), int(value) / 1000))
    return found


def _sensor_name(monitor: Path, sensor: str) -> str:
    name = sensor.removesuffix("_input")
    label = read_attribute(monitor / f"{name}_label") or "pkg"
    return label if _LABEL.fullmatch(label) else name


def _read_gpu(host: Host, function: PciFunction, links: Mapping[str, str]) -> Gpu:
    minors = _names(function.path / "drm", _MINOR)
    files = tuple(name for name in minors if host.path(f"{DRI}/{name}").exists())
    return Gpu(
        function.address,
        f"0x{function.device}" if _ID.fullmatch(function.device) else "",
        function.driver if _DRIVER.fullmatch(function.driver) else "",
        function.numa,
        function.physical_function if PCI_ADDRESS.fullmatch(function.physical_function) else "",
        read_number(function.path / "sriov_numvfs") or 0,
        files=files,
        absent=tuple(name for name in minors if name not in files),
        links=tuple(name for name, file in links.items() if _is_link_to(function, files, name, file)),
        meis=tuple(name for name in _management_engines(function.path) if host.path(f"{DEV}/{name}").exists()),
        survivability=(function.path / "survivability_mode").exists(),
        class_code=function.class_code[:4],
    )


def _is_link_to(function: PciFunction, files: Iterable[str], name: str, file: str) -> bool:
    """Return whether a link leads to a file of a GPU.

    Other links also have its address in their names. The link to the file of the firmware's framebuffer remains when
    the GPU's driver removes that file; a container runtime cannot mount it, so the container would not start.
    """
    return name.startswith(f"pci-{function.address}-") and name.isprintable() and file in files


def _names(directory: Path, form: re.Pattern[str]) -> list[str]:
    return [path.name for path in sorted_entries(directory) if form.fullmatch(path.name)]


def _management_engines(function: Path) -> list[str]:
    """Return the names of a GPU's management engines, such as "mei0" in i915.mei-gsc.768/mei."""
    parts = [path for path in sorted_entries(function) if ".mei-" in path.name]
    return [name for part in parts for name in _names(part / "mei", _MEI)]

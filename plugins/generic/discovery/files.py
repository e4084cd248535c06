"""Device files by pattern, and what identifies them."""

import re
from collections.abc import Iterable, Iterator
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from hub import Host, natural_order
from plugins.generic.discovery.sysfs import SysDevice, Sysfs, hardware

_MAX_LINKS = 40
"""How many links the kernel follows for one path."""

_WILDCARD = re.compile(r"\*|\?|\[!?\]?[^\]]*\]")


_WITHOUT_DEVICES = re.compile("/dev/(pts|shm|mqueue|hugepages|fd|\\.lxc.*)")
"""Directories whose files are not devices, or are terminals; any user can create files in some of them."""


class DeviceFile(NamedTuple):
    """A file on the node that a container can get."""

    path: str
    """The path that the pattern matched."""
    target: str
    """The file itself, if the path is a link."""
    device: SysDevice | None
    """The device in sysfs; None if there is none."""
    key: str
    """Its name, or that of the hardware, as its own may contain a number that the kernel assigns in no fixed order."""
    physical: str
    """An id of the hardware that is the same for all paths to it."""


def has_wildcard(pattern: str) -> bool:
    """Return whether a pattern can match more than one path."""
    return bool(_WILDCARD.search(pattern))


def is_without_devices(directory: str) -> bool:
    """Return whether a directory in /dev is for files other than devices, which any user may create there."""
    return bool(_WITHOUT_DEVICES.fullmatch(directory))


def matched_by_wildcard(pattern: str, path: str) -> str:
    """Return the text that the first wildcard of a pattern matched; empty if it has none."""
    first = _WILDCARD.search(pattern)
    if not first:
        return ""
    head, (tail, *later) = re.escape(pattern[: first.start()]), _between_stars(pattern[first.end() :])
    # After a star, the first place where the text up to the next star matches is as good as any other. So no other
    # place is tried: that could take a time that is exponential in the number of stars.
    rest = "".join(f"(?>[^/]*?{text})" for text in later[:-1]) + "".join(f"[^/]*{text}" for text in later[-1:])
    found = re.fullmatch(f"{head}({_as_regex(first[0])}){tail}{rest}", path, re.DOTALL)
    return found[1] if found else ""


def _between_stars(pattern: str) -> list[str]:
    """Return the parts of a pattern that are separated by stars, each as a regular expression."""
    parts, end = [""], 0
    for wildcard in _WILDCARD.finditer(pattern):
        parts[-1] += re.escape(pattern[end : wildcard.start()])
        if wildcard[0] == "*":
            parts.append("")
        else:
            parts[-1] += _as_regex(wildcard[0])
        end = wildcard.end()
    parts[-1] += re.escape(pattern[end:])
    return parts


def _as_regex(wildcard: str) -> str:
    if wildcard in {"*", "?"}:
        return "[^/]*" if wildcard == "*" else "[^/]"
    inside = wildcard[1:-1].replace("\\", r"\\").replace("[", r"\[")
    return f"[^{inside[1:]}]" if inside.startswith("!") else f"[{inside}]"


def find_files(host: Host, sysfs: Sysfs, pattern: str) -> Iterator[DeviceFile]:
    """Return the existing files that a pattern matches, in natural order."""
    for path in sorted(map(str, _glob(host, pattern)), key=natural_order):
        if not path.isprintable() or _is_found_by_chance(pattern, path):
            continue
        file = resolve(host, path)
        if not file or not host.path(file).exists():
            continue
        found = device_file(sysfs, path, file)
        # The kernel removes a device's file before its directory in sysfs. So if the file still exists, the directory
        # existed when it was read; without the directory, the file would count as a different device.
        if host.path(file).exists():
            yield found


def device_file(sysfs: Sysfs, path: str, file: str = "") -> DeviceFile:
    """Return what is known about a file.

    Args:
        sysfs: The node's sysfs.
        path: The path of the file, or of a link to it.
        file: The file itself; by default the path.
    """
    file = file or path
    device = sysfs.of_file(file)
    # A link exists because its name identifies the hardware, so that name is the key.
    of_hardware = _hardware_key(device)
    key = _name(path) if file != path else of_hardware or (device.name if device else _name(path))
    return DeviceFile(path, file, device, key, of_hardware or file)


def resolve(host: Host, path: str) -> str:
    """Follow the links in a path on the node; return an empty string if they lead nowhere.

    In the hub's container, an absolute link would lead into the container itself.
    """
    done, pending, links = PurePosixPath("/"), [*PurePosixPath(path).parts[1:]], 0
    while pending:
        part = pending.pop(0)
        if part == "..":
            done = done.parent
            continue
        try:
            link = PurePosixPath(host.path(done / part).readlink())
        except OSError:
            done /= part
            continue
        links += 1
        if links > _MAX_LINKS:
            return ""
        if link.is_absolute():
            done = PurePosixPath("/")
        pending[:0] = [each for each in link.parts if each != "/"]
    return str(done)


def _is_found_by_chance(pattern: str, path: str) -> bool:
    """Return whether a path is in a directory where any user may create files, and was only found by a wildcard."""
    parts = zip(
        accumulate(PurePosixPath(pattern).parts, _joined), accumulate(PurePosixPath(path).parts, _joined), strict=True
    )
    return any(is_without_devices(directory) and wanted != directory for wanted, directory in parts)


def _joined(above: str, name: str) -> str:
    return f"{above.rstrip('/')}/{name}"


def _glob(host: Host, pattern: str) -> Iterable[Path]:
    try:
        # pathlib's ** means any number of directories.
        return host.glob(re.sub(r"\*+", "*", pattern))
    except (OSError, ValueError):
        return ()


def _hardware_key(device: SysDevice | None) -> str:
    """Return the USB interface or PCI function, and the file's name without its first number, which may change.

    If there are several such files, the keys of all but the first also contain their number within the interface or
    function. The key is empty if the device belongs to neither.
    """
    owner = hardware(device)
    if device is None or owner is None or device.path == owner.path:
        return owner.name if owner else ""
    place = next((each for each in device.lineage if each.subsystem in {"usb", "pci"}), owner)
    name = _without_number(device.name)
    alike = [part.path for part in place.parts if _without_number(part.name) == name]
    rank = alike.index(device.path) if device.path in alike else 0
    return f"{place.name}-{name}" + (f".{rank}" if rank else "")


def _without_number(name: str) -> str:
    return re.sub("[0-9]+", "", name, count=1)


def _name(path: str) -> str:
    return path.removeprefix("/dev/").rpartition("/")[2]

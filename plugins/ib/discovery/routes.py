"""Find the network interfaces that the node itself depends on."""

import os
import re
from pathlib import Path

from hub import Host, UnreadableError, read_text

VARIABLE = "DPHUB_NODE_NET"
"""The variable that names the directory with the node's routing tables, for a process in another network namespace: a
pod's /proc/net shows the pod's network."""

_TABLES = "/proc/net"
_UP = 0x1
_FLAGS = re.compile("[0-9a-fA-F]{1,8}")
_MAX_BYTES = 256 << 20
"""A router may have a million routes, at 128 bytes each."""


def default_route_interfaces(host: Host) -> list[str]:
    """Return the interfaces of the default routes in the kernel's tables; none if they cannot be read."""
    tables = Path(os.environ.get(VARIABLE) or host.path(_TABLES))
    return sorted({*_ipv4(_lines(tables / "route")), *_ipv6(_lines(tables / "ipv6_route"))})


def _ipv4(lines: list[list[str]]) -> set[str]:
    """Return the interfaces of default routes. Columns: interface, destination, gateway, flags, ..., mask."""
    return {line[0] for line in lines[1:] if len(line) > 7 and line[1] == line[7] == "00000000"}  # noqa: PLR2004 - the mask


def _ipv6(lines: list[list[str]]) -> set[str]:
    """Return the interfaces of default routes. Columns: destination, its length, ..., flags, interface.

    A route on lo leads nowhere.
    """
    return {
        line[9]
        for line in lines
        if len(line) > 9 and line[1] == "00" and _is_up(line[8]) and line[9] != "lo"  # noqa: PLR2004 - as above
    }


def _is_up(flags: str) -> bool:
    return bool(_FLAGS.fullmatch(flags) and int(flags, 16) & _UP)


def _lines(path: Path) -> list[list[str]]:
    """Split a table at spaces and tabs: interface names may contain any other bytes, like file names."""
    try:
        text = read_text(path, max_bytes=_MAX_BYTES, errors="surrogateescape")
    except UnreadableError:
        return []
    return [re.findall("[^ \t]+", line) for line in text.split("\n")]

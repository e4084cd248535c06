"""Find the network interfaces that the node itself depends on."""

import os
from pathlib import Path

from hub import Host

VARIABLE = "DPHUB_NODE_NET"
"""Names the directory with the kernel's tables of the node's network if this process has another one: a pod's /proc/net
shows the pod's network."""

_TABLES = "/proc/net"
_UP = 0x1


def default_route_interfaces(host: Host) -> list[str]:
    """Return the interfaces of the default routes in the kernel's tables; none if they cannot be read."""
    tables = Path(os.environ.get(VARIABLE) or host.path(_TABLES))
    return sorted({*_ipv4(_lines(tables / "route")), *_ipv6(_lines(tables / "ipv6_route"))})


def _ipv4(lines: list[list[str]]) -> set[str]:
    """Columns: interface, destination, gateway, flags, ..., mask."""
    return {line[0] for line in lines[1:] if len(line) > 7 and line[1] == line[7] == "00000000"}  # noqa: PLR2004 - the mask


def _ipv6(lines: list[list[str]]) -> set[str]:
    """Columns: destination, its length, ..., flags, interface. A route on lo leads nowhere."""
    return {
        line[9]
        for line in lines
        if len(line) > 9 and line[1] == "00" and int(line[8], 16) & _UP and line[9] != "lo"  # noqa: PLR2004 - as above
    }


def _lines(path: Path) -> list[list[str]]:
    try:
        return [line.split() for line in path.read_text(encoding="ascii").splitlines()]
    except OSError:
        return []

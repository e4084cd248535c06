"""Bring up network interfaces."""

import fcntl
import os
import socket
import struct
from collections.abc import Iterable

import structlog

_GET_FLAGS, _SET_FLAGS = 0x8913, 0x8914
"""SIOCGIFFLAGS and SIOCSIFFLAGS of linux/sockios.h."""

_UP = 0x1

_REQUEST = "16sH14x"
"""The beginning of `struct ifreq`: a name and flags."""


class Interfaces:
    """Interfaces, each of which is brought up only once, so that an administrator can bring it down again."""

    def __init__(self) -> None:
        self._done: set[str] = set()
        self._log = structlog.get_logger()

    def bring_up(self, names: Iterable[str]) -> None:
        """Bring up interfaces that are down. A failure is logged, because HCAs may work without their interfaces."""
        for name in sorted(set(names) - self._done):
            self._done.add(name)
            try:
                changed = set_up(name)
            except OSError as error:
                self._log.warning("interface stayed down", interface=name, reason=str(error))
            else:
                if changed:
                    self._log.info("interface brought up", interface=name)


def set_up(name: str) -> bool:
    """Bring an interface of this network namespace up; return whether it was down.

    Raises:
        OSError: there is no such interface, or this process may not change it (CAP_NET_ADMIN).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        raw = os.fsencode(name)
        answer = fcntl.ioctl(sock, _GET_FLAGS, struct.pack(_REQUEST, raw, 0).ljust(40, b"\0"))
        _, flags = struct.unpack(_REQUEST, answer[: struct.calcsize(_REQUEST)])
        if flags & _UP:
            return False
        fcntl.ioctl(sock, _SET_FLAGS, struct.pack(_REQUEST, raw, flags | _UP).ljust(40, b"\0"))
        return True

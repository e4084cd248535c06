"""The processes of a minimal reset: one process forks a child, which does nothing."""

import ctypes  # noqa: F401 - the guard needs it for prctl(2)
import os
import sys

import msgspec


def main() -> None:
    """Read the request, fork, and exit after the child."""
    msgspec.json.decode(sys.stdin.buffer.read())
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


if __name__ == "__main__":
    main()

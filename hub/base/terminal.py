"""The terminal that controls a process."""

import os


def has_terminal() -> bool:
    """Return whether this process has a controlling terminal; it no longer has one once the terminal is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True

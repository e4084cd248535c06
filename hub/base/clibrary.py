"""The C library, found without running a program."""

import ctypes
import ctypes.util

_NAME = "libc.so.6"
"""The name that `ldconfig` prints where the C library is glibc."""


def skip_c_library_search() -> None:
    """Make `ctypes.util.find_library` return the name of the C library at once.

    asyncinotify looks up that name when it is imported, and Python runs `ldconfig` to find it: each plugin process
    would start another process. Other libraries are searched for as usual, and so is the C library if it has a
    different name.
    """
    search = ctypes.util.find_library
    try:
        ctypes.CDLL(_NAME)
    except OSError:
        return
    ctypes.util.find_library = lambda name: _NAME if name == "c" else search(name)

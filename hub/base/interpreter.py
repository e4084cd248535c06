"""Children that run this program's own interpreter, and what they inherit.

No command runs code from the directory in which it was started: it may belong to another user. Python looks for modules
there first when it runs `-m`, and a relative or empty entry in PATH or PYTHONPATH means that directory too.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

_SEARCH_PATHS = ("PATH", "PYTHONPATH")

_OF_THIS_PROCESS = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}
"""With these, a child could report to systemd on behalf of this process (man 3 sd_notify)."""


def own_python(module: str, *arguments: str) -> list[str]:
    """Return the command that runs a module of the hub from the place where this process found its own modules."""
    return [sys.executable, "-P", "-m", module, *arguments]


def inherited_environment() -> dict[str, str]:
    """Return this process's variables for a child, without systemd's and without relative search paths."""
    return absolute_paths({name: value for name, value in os.environ.items() if name not in _OF_THIS_PROCESS})


def absolute_paths(environment: Mapping[str, str]) -> dict[str, str]:
    """Return variables without the entries of search paths that depend on a working directory."""
    return dict(environment) | {name: _absolute(environment[name]) for name in _SEARCH_PATHS if name in environment}


def _absolute(path: str) -> str:
    return os.pathsep.join(entry for entry in path.split(os.pathsep) if Path(entry).is_absolute())

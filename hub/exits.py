"""Exit codes: what a process of the hub says by ending."""

from enum import IntEnum


class Exit(IntEnum):
    """Why a process of ours ended; anything else is a crash."""

    OK = 0
    """Asked to stop, and stopped."""

    FAILED = 1
    """Could not start, or could not go on; the log says why."""

    USAGE = 2
    """A flag or a file is wrong; nothing was started."""

    PLUGIN_DIR_REPLACED = 10
    """The kubelet's plugin directory was removed or made anew. A mount shows the dead one for ever, so only a
    restarted container sees the new one."""

    ALREADY_RUNNING = 11
    """Another hub holds the run directory."""

    NEEDS_RESTART = 12
    """A plugin can only go on in a new process, such as when its driver hangs or was exchanged; its log says why."""

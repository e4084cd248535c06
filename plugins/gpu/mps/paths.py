"""Directories that the MPS control daemons share with their clients, as in NVIDIA's plugin."""

IN_CONTAINER = "/mps"
"""Where a container sees `flags.mpsRoot`."""


def pipe_directory(root: str, resource: str) -> str:
    """Return the directory for the sockets of a resource's daemon."""
    return f"{root}/{resource}/pipe"


def log_directory(root: str, resource: str) -> str:
    """Return the directory for the logs of a resource's daemon."""
    return f"{root}/{resource}/log"


def shm_directory(root: str) -> str:
    """Return the directory for the shared memory of all daemons and their clients."""
    return f"{root}/shm"

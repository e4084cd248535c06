"""Where the control daemons of MPS and their clients meet, as NVIDIA's plugin has it."""

IN_CONTAINER = "/mps"
"""Where a container finds `flags.mpsRoot`."""


def pipe_directory(root: str, resource: str) -> str:
    """The sockets of a resource's daemon."""
    return f"{root}/{resource}/pipe"


def log_directory(root: str, resource: str) -> str:
    """The logs of a resource's daemon."""
    return f"{root}/{resource}/log"


def shm_directory(root: str) -> str:
    """The shared memory of all daemons and their clients."""
    return f"{root}/shm"

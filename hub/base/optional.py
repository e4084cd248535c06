"""Steps that a process can do without: if one fails, the process continues as if it had succeeded."""

from collections.abc import Iterator
from contextlib import contextmanager

from hub.base.log import get_logger


@contextmanager
def optional(step: str) -> Iterator[None]:
    """Log any exception in the block, and continue after the block.

    Args:
        step: What is missing if the block fails, for the log.
    """
    try:
        yield
    except Exception:  # noqa: BLE001 - no error in the block is worth losing what follows it
        get_logger().exception("optional step failed", step=step)

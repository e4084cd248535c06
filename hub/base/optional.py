"""Steps that a process takes for people only: if one fails, the process goes on as if it had succeeded."""

from collections.abc import Iterator
from contextlib import contextmanager

from hub.base.log import get_logger


@contextmanager
def optional(step: str) -> Iterator[None]:
    """Log an exception in the block, and continue after it.

    Args:
        step: What is missing after that, for the log.
    """
    try:
        yield
    except Exception:  # noqa: BLE001 - nothing that the block can meet is worth more than what follows it
        get_logger().exception("optional step failed", step=step)

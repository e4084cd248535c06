"""What the plugin passes to its checks."""

import msgspec


class CheckSettings(msgspec.Struct, frozen=True):
    """Settings of a check.

    Args:
        timeout: Seconds to wait for processes to exit.
        memory_slack: Bytes that a process may hold.
    """

    timeout: float = 10
    memory_slack: int = 0

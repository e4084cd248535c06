"""Messages between the hub and its fork server, as JSON."""

from collections.abc import Mapping, Sequence

import msgspec

MESSAGE_BYTES = 1 << 17
"""Maximum size of a message; a longer request is not sent, and the process is started by its command."""


class ForkRequest(msgspec.Struct, frozen=True):
    """The request for one plugin process.

    Args:
        parent: The process id of the hub. If another process has become the parent, the plugin is no longer wanted.
        command: The words of the command that would start the same process; `ps` shows them.
        arguments: Those words that follow `-m hub.plugin`.
        environment: All variables.
        directory: The working directory.
        limits: From the name of a limit in lower case, as in circus.ini, to its value.
    """

    parent: int
    command: Sequence[str]
    arguments: Sequence[str]
    environment: Mapping[str, str]
    directory: str
    limits: Mapping[str, int]


class ForkReply(msgspec.Struct, frozen=True):
    """The response from the new process, which continues when it has received one byte.

    Args:
        pid: The process id of the plugin process; 0 if there is none.
        error: Why there is none.
    """

    pid: int = 0
    error: str = ""

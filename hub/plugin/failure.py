"""What goes wrong in plugin code, in words that fit into a log, a state file and a message to the kubelet."""

import re
from typing import Self

_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


class PluginFailure(Exception):
    """Plugin code did not do what it was called for; the text says what happened instead."""

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """The failure that plugin code raised as this error."""
        kind, words = type(error).__name__, str(error)
        failure = cls(legible(f"{kind}: {words}" if words else kind))
        failure.__cause__ = error
        return failure


def legible(text: object) -> str:
    """A foreign text as one that UTF-8 can carry, which names of files need not be, and that can be told twice.

    The address of an object makes a text new each time, and so a log line and a change of state.
    """
    return _ADDRESS.sub("", str(text)).encode(errors="backslashreplace").decode()

"""What goes wrong in plugin code, in words that fit into a log, a state file and a message to the kubelet."""

from typing import Self


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
    """A foreign text as one that UTF-8 can carry; the names of files need not be."""
    return str(text).encode(errors="backslashreplace").decode()

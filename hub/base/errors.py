"""Errors whose text is meant for the administrator of the hub."""

from pathlib import Path

from hub.base.printable import printable


class HubError(Exception):
    """An error that a user can fix: the text says where it is, what is wrong, and what to do."""


class ConfigError(HubError):
    """A file or flag that cannot be used.

    Args:
        source: The file, flag or environment variable.
        problem: What is wrong with it, and what was expected.
        where: The key, section or line in the file, if there is one.
    """

    def __init__(self, source: Path | str, problem: str, *, where: str = "") -> None:
        # One line: text that a file contains must not look like a finding about a different one.
        super().__init__(printable(": ".join(part for part in (str(source), where, problem) if part)))

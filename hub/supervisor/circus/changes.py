"""The result of a reload of the configuration, as the hub returns it."""

from typing import TypedDict


class ReloadResult(TypedDict):
    """The names of plugins whose sections of circus.ini were removed, changed or added."""

    removed: list[str]
    changed: list[str]
    added: list[str]

"""What a reload of the configuration did, as the hub answers it."""

from typing import TypedDict


class ReloadResult(TypedDict):
    """Plugins by name: sections of circus.ini that are gone, that are other than before, and that are new."""

    removed: list[str]
    changed: list[str]
    added: list[str]

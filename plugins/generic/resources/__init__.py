"""The hardware that a resource consists of."""

from plugins.generic.resources.found import Found, GivenFile, Search
from plugins.generic.resources.search import search
from plugins.generic.resources.served import ServedFiles

__all__ = ["Found", "GivenFile", "Search", "ServedFiles", "search"]

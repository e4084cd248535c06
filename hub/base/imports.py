"""Keeps libraries from loading optional packages that the hub does not need."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_packages(*names: str) -> Iterator[None]:
    """Hide these packages from what is imported in the block; earlier and later imports of them work."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in names}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type] # with None, Python does not find a module
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(hidden)

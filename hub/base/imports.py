"""Keeps libraries from loading what they only load because it is there."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hub_only(*names: str) -> Iterator[None]:
    """Have these packages not found by what is imported meanwhile; whoever has them or imports them later has them."""
    hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] in names}
    sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type] # None keeps a module from being found
    try:
        yield
    finally:
        for name in names:
            del sys.modules[name]
        sys.modules.update(hidden)

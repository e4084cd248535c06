"""The libraries that bare processes load, as the hub's processes do."""

import importlib
from collections.abc import Iterable

from hub.base.imports import without_packages

HUB = ("asyncio", "asyncinotify", "circus.arbiter", "click", "msgspec", "structlog", "tornado.web")
"""The libraries that the hub process loads."""

PLUGIN = ("asyncio", "grpc.aio", "hub.kubelet.wire.v1beta1_pb2_grpc", "msgspec", "structlog")
"""The libraries that each plugin process loads."""

_HIDDEN = ("greenlet", "rich", "yaml")
"""The libraries that the hub keeps structlog and circus from loading."""


def load(libraries: Iterable[str]) -> None:
    """Load libraries."""
    with without_packages(*_HIDDEN):
        for library in libraries:
            importlib.import_module(library)

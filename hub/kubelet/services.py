"""Adds the services of the kubelet's APIs to gRPC servers."""

from collections.abc import Callable
from typing import Any

import grpc


def add_service(server: grpc.aio.Server, add: Callable[[Any, Any], None], servicer: object) -> None:
    """Add the methods of a servicer to a server, without registering them with gRPC's core.

    If an error ends the loop of a server, such as a method name that is not UTF-8, grpcio 1.85 frees the memory into
    which the core writes the next call of each registered method. The core writes there when the server stops, and the
    process crashes at some time after that. A call to a method that is not registered does not have this problem, and
    takes no longer.

    Args:
        server: The server.
        add: The generated function that adds such a servicer.
        servicer: The servicer.
    """
    add(servicer, _WithoutRegistration(server))


class _WithoutRegistration:
    """The part of a server that generated code calls."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self.add_generic_rpc_handlers = server.add_generic_rpc_handlers

    def add_registered_method_handlers(self, _service: str, _handlers: object) -> None:
        """Do nothing: the same methods are also added as generic handlers."""

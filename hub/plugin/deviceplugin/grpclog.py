"""What gRPC's server writes to the log."""

import asyncio
import logging
from types import SimpleNamespace

import grpc.aio
from google.protobuf.message import DecodeError
from grpc._cython import cygrpc  # type: ignore[attr-defined] # compiled, and has no types


def keep_clients_out_of_log() -> None:
    """Have gRPC log what affects this process, and not what individual clients do."""
    logging.getLogger("grpc._cython.cygrpc").addFilter(_is_worth_logging)
    # After some of these messages, gRPC prints the same traceback, with the module imported under this name.
    cygrpc.traceback = SimpleNamespace(print_exc=lambda: None)


def _is_worth_logging(record: logging.LogRecord) -> bool:
    """Return whether a message from gRPC is about more than one client.

    `DecodeError` is about a request that cannot be decoded; its sender gets the error. `InternalError` is about a
    client that ended its connection before it got an error. Either of them could fill the log. `CancelledError` is
    about the calls that a server cancels when it stops.
    """
    harmless = (DecodeError, grpc.aio.InternalError, asyncio.CancelledError)
    return not (record.exc_info and isinstance(record.exc_info[1], harmless))

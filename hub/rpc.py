"""Calls to a gRPC service of another program on this node, for plugins whose hardware has such a service.

A plugin's code runs in threads and may block, so a call waits for the response. Messages are bytes, and a plugin
reads the few fields that it needs by their numbers: it needs no generated code, and fields that a later version of
the service adds do no harm.
"""

from pathlib import Path
from typing import Any

from hub.base.errors import HubError
from hub.base.failures import one_line
from hub.kubelet.channel import CHANNEL_OPTIONS, unix_target

MAX_BYTES = 1 << 20
"""The default size limit of a response: the state of a thousand devices takes 200 KB."""

MAX_FIELDS = 100_000
"""Maximum number of fields in a message: once decoded, the smallest fields take 50 times their size."""


class ServiceError(HubError):
    """A service gave no usable response; the text says why."""


def call_service(
    socket: Path, method: str, request: bytes = b"", *, timeout: float = 2.0, max_bytes: int = MAX_BYTES
) -> bytes:
    """Call a method of a gRPC service, and return the first message of its response, which may be a stream.

    Args:
        socket: The path of the service's socket, as this process sees it.
        method: The full name, such as "/package.Service/Method".
        request: The encoded request; empty for a message without fields.
        timeout: Maximum seconds for the whole call.
        max_bytes: Maximum size of the message.

    Raises:
        ServiceError: there is no such service, or it did not respond in time.
    """
    # Imported here: a plugin that is only checked does not need it.
    import grpc  # noqa: PLC0415 - see above

    options = [*CHANNEL_OPTIONS, ("grpc.max_receive_message_length", max_bytes)]
    with grpc.insecure_channel(unix_target(socket), options=options) as channel:
        # On the wire, a single response is a stream of one message.
        call: Any = channel.unary_stream(method, None, None)(request, timeout=timeout)
        try:
            message: bytes | None = next(call, None)
        except grpc.RpcError as error:
            raise ServiceError(f"{socket}: {method} failed: {_described(error)}") from None
        finally:
            call.cancel()
    if message is None:
        raise ServiceError(f"{socket}: {method} returned nothing")
    return message


def message_fields(content: bytes) -> dict[int, list[int | bytes]]:
    """Return the fields of an encoded message by number, each with its values in order.

    Strings, nested messages and packed numbers are bytes; booleans and enumeration values are numbers.

    Raises:
        ServiceError: the content is not a message, or has too many fields.
    """
    from google.protobuf.empty_pb2 import Empty  # noqa: PLC0415 - as above
    from google.protobuf.message import DecodeError  # noqa: PLC0415 - as above
    from google.protobuf.unknown_fields import UnknownFieldSet  # noqa: PLC0415 - as above

    try:
        # A message type without fields, for which all fields are unknown.
        unknown: Any = UnknownFieldSet(Empty.FromString(content))
    except DecodeError:
        raise ServiceError("the response is not a Protocol Buffers message") from None
    if len(unknown) > MAX_FIELDS:
        raise ServiceError(f"the response has {len(unknown)} fields, expected at most {MAX_FIELDS}")
    fields: dict[int, list[int | bytes]] = {}
    for field in unknown:
        if isinstance(field.data, (int, bytes)):
            fields.setdefault(field.field_number, []).append(field.data)
    return fields


def _described(error: Any) -> str:  # noqa: ANN401 - grpc has no type for an error with code() and details()
    return one_line(f"{error.code().name}: {error.details() or 'no details'}")

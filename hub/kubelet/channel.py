"""What all gRPC channels to a socket on this node, and servers on one, have in common."""

import os
from pathlib import Path
from urllib.parse import quote

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    # Otherwise channels to the same path would share a connection, and wait between its attempts to connect.
    ("grpc.use_local_subchannel_pool", 1),
    # gRPC itself retries a call that it could not send before the connection ended. If the server stops at that moment,
    # grpcio 1.85 retries the call endlessly, and takes gigabytes of memory within seconds.
    ("grpc.enable_retries", 0),
)
"""The options of `grpc.insecure_channel`."""

MAX_CONNECTIONS = 100
"""Maximum number of open connections of a server; more are closed at once. A kubelet needs one for each of its streams.
A process without a free file descriptor could not even report that it is alive."""

SERVER_OPTIONS: tuple[tuple[str, int], ...] = (("grpc.max_allowed_incoming_connections", MAX_CONNECTIONS),)
"""The options of each server on a socket in a directory of the kubelet."""


def unix_target(socket: Path | str) -> str:
    """Return the address of a socket for gRPC: of this file, whatever characters its name has.

    gRPC reads an address as a URI: it takes `%2f` in an unquoted name for a slash, and ends the name at a `?`, a `#` or
    a zero byte. For a name with one of these, gRPC would open a file other than the one that was checked.

    Raises:
        ValueError: no file can have this path.
    """
    path = os.fsencode(socket)
    if b"\0" in path:
        raise ValueError(f"the path {os.fspath(socket)!r} contains a zero byte")
    return f"unix:{quote(path)}"


def is_message(answer: object) -> bool:
    """Return whether a call has a response.

    A successful call has none if the server sent no message, or one that cannot be decoded, which gRPC only logs.
    """
    return answer is not None

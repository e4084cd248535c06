"""Send an administrator's requests to a plugin process, and health reports to the hub."""

import socket
from pathlib import Path

import msgspec

from hub.base.errors import HubError
from hub.base.untrusted import UnreadableError, decode_json
from hub.model.admin import LINE_BYTES, Request, Response
from hub.model.external import ReportRequest

RESPONSE_SECONDS = 60.0
"""The time limit for a response: a reset has 26 seconds, and may have to wait for another reset of the same device."""


def send(
    path: Path, request: Request | ReportRequest, limit: float = RESPONSE_SECONDS, *, server: str = "the plugin"
) -> Response:
    """Send a request to the process that listens on a socket, and wait for the response.

    Args:
        path: The socket.
        request: The request.
        limit: Seconds for everything.
        server: The name of the process in error messages.

    Raises:
        HubError: there is no response.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(limit)
        try:
            client.connect(str(path))
            client.sendall(msgspec.json.encode(request) + b"\n")
            with client.makefile("rb") as lines:
                return decode_json(lines.readline(LINE_BYTES), Response, path)
        except TimeoutError:
            raise HubError(f"{server} did not answer within {limit:g} s; see dphub status") from None
        except (ConnectionResetError, BrokenPipeError, UnreadableError):
            raise HubError(f"{server} exited before it answered; retry when it is running again") from None
        except OSError as error:
            raise HubError(f"{server} does not answer on {path}: {error.strerror}; see dphub status") from None

"""Sends an administrator's requests to a plugin process, and waits for the answers."""

import socket
from pathlib import Path

import msgspec

from hub.base.errors import HubError
from hub.model.admin import LINE_BYTES, Request, Response

ANSWER_SECONDS = 60.0
"""How long an answer may take: a reset has 26 seconds, and may have to wait for another one of the same device."""


def send(path: Path, request: Request, limit: float = ANSWER_SECONDS) -> Response:
    """Send a request to the plugin that serves on a socket, and wait for the answer.

    Raises:
        HubError: nobody answers.
    """
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(limit)
        try:
            client.connect(str(path))
            client.sendall(msgspec.json.encode(request) + b"\n")
            with client.makefile("rb") as lines:
                return msgspec.json.decode(lines.readline(LINE_BYTES), type=Response)
        except TimeoutError:
            raise HubError(f"the plugin has not answered within {limit:g} s; see dphub status") from None
        except (ConnectionResetError, BrokenPipeError, msgspec.DecodeError):
            raise HubError("the plugin ended before it had answered; try again when it is back") from None
        except OSError as error:
            raise HubError(f"the plugin does not answer on {path}: {error.strerror}; see dphub status") from None

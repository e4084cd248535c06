"""What an operator asks of a running plugin process: one request and one answer, as JSON lines on a unix socket.

The socket is in the run directory, which only its owner enters.
"""

import socket
from pathlib import Path

import msgspec

from hub.base.errors import HubError
from hub.base.log import LogLevel

LINE_BYTES = 64 * 1024
"""The longest request and the longest answer."""

ANSWER_SECONDS = 60.0
"""How long an answer may take: a reset has 26 seconds, and may have to wait for another one of the same device."""


class Cordon(msgspec.Struct, tag="cordon", frozen=True, forbid_unknown_fields=True):
    """Take a device out of use. `device` is its `physical`, or "RESOURCE ID" where it has none."""

    device: str
    reason: str = ""


class Uncordon(msgspec.Struct, tag="uncordon", frozen=True, forbid_unknown_fields=True):
    """Let a device be used again: one that was cordoned, that is broken, or that recovered too often."""

    device: str


class Reset(msgspec.Struct, tag="reset", frozen=True, forbid_unknown_fields=True):
    """Reset a device now, if nobody holds it."""

    device: str


class SetLogLevel(msgspec.Struct, tag="log-level", frozen=True, forbid_unknown_fields=True):
    """Log from this level on, until the process ends."""

    level: LogLevel


class AskHolders(msgspec.Struct, tag="ask-holders", frozen=True, forbid_unknown_fields=True):
    """Ask the kubelet now who holds what, and write it into the state."""


Request = Cordon | Uncordon | Reset | SetLogLevel | AskHolders


class Answer(msgspec.Struct, frozen=True):
    """What became of a request."""

    done: bool
    text: str
    """What was done, or why it was not."""


def ask(path: Path, request: Request, limit: float = ANSWER_SECONDS) -> Answer:
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
                return msgspec.json.decode(lines.readline(LINE_BYTES), type=Answer)
        except TimeoutError:
            raise HubError(f"the plugin has not answered within {limit:g} s; see dphub status") from None
        except (ConnectionResetError, BrokenPipeError, msgspec.DecodeError):
            raise HubError("the plugin ended before it had answered; try again when it is back") from None
        except OSError as error:
            raise HubError(f"the plugin does not answer on {path}: {error.strerror}; see dphub status") from None

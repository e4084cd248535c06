"""The error that answers a request from the kubelet, and how it names devices."""

from collections.abc import Sequence
from urllib.parse import quote

import grpc

from hub.plugin.devices.validation import ID_CHARACTERS

MESSAGE_BYTES = 4096
"""Maximum size of an error text in bytes. It is sent in a header, and gRPC accepts 8 KiB of headers in total."""

_MAX_IDS = 16


class RpcError(Exception):
    """An error that answers a request of the kubelet; its text appears in the pod's events.

    Args:
        code: The status code.
        message: What failed; the whole text if there are no reasons.
        reasons: Why, one for each device; as many as fit are listed, and the others are counted.
    """

    def __init__(self, code: grpc.StatusCode, message: str, reasons: Sequence[str] = ()) -> None:
        super().__init__(_bounded(message, reasons))
        self.code = code


def short_id(name: str) -> str:
    """Return an id as a string of bounded length: the id comes from the caller."""
    return repr(name if len(name) <= ID_CHARACTERS else f"{name[:ID_CHARACTERS]}...")


def first_of(ids: Sequence[str]) -> str:
    """Return the first few of many ids: an error is sent in a header, which must be small."""
    more = len(ids) - _MAX_IDS
    return ", ".join(short_id(name) for name in ids[:_MAX_IDS]) + (f" and {more} more" if more > 0 else "")


def _bounded(message: str, reasons: Sequence[str]) -> str:
    for listed in range(len(reasons), 0, -1):
        more = len(reasons) - listed
        text = f"{message}: {'; '.join(reasons[:listed])}" + (f"; and {more} more" if more else "")
        if _wire_bytes(text) <= MESSAGE_BYTES:
            return text
    text = f"{message}: {reasons[0]}" if reasons else message
    if _wire_bytes(text) <= MESSAGE_BYTES:
        return text
    # A character takes at most twelve bytes on the wire.
    return text[: MESSAGE_BYTES // 12] + "..." if not text.isascii() else text[: MESSAGE_BYTES // 3] + "..."


def _wire_bytes(text: str) -> int:
    """Return the length on the wire, where everything but plain ASCII is percent-encoded."""
    return len(quote(text, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", errors="backslashreplace"))

"""A request of the kubelet that is answered with an error."""

from collections.abc import Sequence
from urllib.parse import quote

import grpc

MESSAGE_BYTES = 4096
"""The longest text of an error. It travels in a header, where gRPC takes 8 KiB of everything together."""


class RpcError(Exception):
    """The text reaches the pod's events.

    Args:
        code: What kind of error it is.
        message: What is refused; the whole text where there are no reasons.
        reasons: Why, one for each device; as many as there is room for are told, and the others counted.
    """

    def __init__(self, code: grpc.StatusCode, message: str, reasons: Sequence[str] = ()) -> None:
        super().__init__(_bounded(message, reasons))
        self.code = code


def _bounded(message: str, reasons: Sequence[str]) -> str:
    for told in range(len(reasons), 0, -1):
        more = len(reasons) - told
        text = f"{message}: {'; '.join(reasons[:told])}" + (f"; and {more} more" if more else "")
        if _wire_bytes(text) <= MESSAGE_BYTES:
            return text
    text = f"{message}: {reasons[0]}" if reasons else message
    if _wire_bytes(text) <= MESSAGE_BYTES:
        return text
    # Of any character, twelve bytes at most are sent.
    return text[: MESSAGE_BYTES // 12] + "..." if not text.isascii() else text[: MESSAGE_BYTES // 3] + "..."


def _wire_bytes(text: str) -> int:
    """The length on the wire, where everything that is not plain ASCII is percent-encoded."""
    return len(quote(text, safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~", errors="backslashreplace"))

"""Errors that a kubelet gets."""

from urllib.parse import quote

import grpc
import pytest

from hub.plugin.deviceplugin.errors import RpcError

INTERNAL = grpc.StatusCode.INTERNAL


@pytest.mark.parametrize("text", ["plain " * 10_000, "\N{SNOWMAN}" * 10_000])
def test_a_refusal_fits_into_a_header(text: str) -> None:
    """This holds even if one reason alone is too long, and if each character takes several bytes."""
    for refusal in (
        RpcError(INTERNAL, text),
        RpcError(INTERNAL, "resource", [text]),
        RpcError(INTERNAL, "r", ["a", text]),
    ):
        assert len(quote(str(refusal))) < 6000
    assert str(refusal) == "r: a; and 1 more"
    assert str(RpcError(INTERNAL, "r", ["a", "b"])) == "r: a; b"

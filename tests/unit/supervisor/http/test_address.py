"""The address on which the hub listens."""

import pytest

from hub.base.errors import ConfigError
from hub.supervisor.http.server import split_address


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (":9880", ("", 9880)),
        ("127.0.0.1:0", ("127.0.0.1", 0)),
        ("[::1]:9880", ("::1", 9880)),
        ("::1:9880", ("::1", 9880)),
        ("localhost:9880", ("127.0.0.1", 9880)),
    ],
)
def test_an_address_and_a_port(address: str, expected: tuple[str, int]) -> None:
    """An empty host means all addresses."""
    assert split_address(address) == expected


@pytest.mark.parametrize("address", ["hub.example:9880", "localhost.example:1", "1.2.3:80", "*:9880", "0x7f.1:9880"])
def test_no_name_is_looked_up(address: str) -> None:
    """The event loop would wait for a name server, every few seconds."""
    with pytest.raises(ConfigError, match="expected an IP address or localhost before the port"):
        split_address(address)

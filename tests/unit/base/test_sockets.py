"""Names of plugin sockets."""

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.base.errors import ConfigError
from hub.base.sockets import SOCKET_PATH_BYTES, socket_name
from hub.plugin.devices.validation import validate_resource_name

LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


DOMAINS = st.lists(LABELS, min_size=1, max_size=10).map(".".join)


NAMES = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", fullmatch=True)


RESOURCES = st.builds("{}/{}".format, DOMAINS, NAMES).filter(lambda name: not validate_resource_name(name))


DIRECTORIES = st.integers(1, 93).map(lambda n: Path("/" + "d" * n))


@given(RESOURCES, DIRECTORIES)
def test_socket_names_fit(name: str, directory: Path) -> None:
    """Any valid resource has a socket in any directory whose path leaves room for a few characters."""
    path = directory / socket_name(name, "dphub", directory)
    assert len(bytes(path)) <= SOCKET_PATH_BYTES
    assert path.parent == directory
    assert path.suffix == ".sock"


@given(st.lists(RESOURCES, min_size=2, max_size=5, unique=True), DIRECTORIES, st.sampled_from(["dphub", "hub2"]))
def test_socket_names_are_unique(names: list[str], directory: Path, instance: str) -> None:
    """No two resources, and no two hubs, share a socket."""
    sockets = {socket_name(name, hub, directory) for name in names for hub in (instance, "other")}
    assert len(sockets) == 2 * len(names)


def test_socket_names_are_readable() -> None:
    """A name that fits is the instance and the resource; a longer one keeps its beginning."""
    assert socket_name("example.com/gpu", "dphub", Path("/p")) == "dphub-example.com_gpu.sock"
    cut = socket_name("example.com/" + "g" * 63, "dphub", Path("/" + "d" * 60))
    assert cut.startswith("dphub-example.com_ggg")
    with pytest.raises(ConfigError, match="the path is 1 byte too long for a socket in it"):
        socket_name("example.com/gpu", "dphub", Path("/" + "d" * 94))


def test_the_longest_socket_path_can_be_bound(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The system accepts 107 bytes."""
    directory = tmp_path_factory.mktemp("s")
    directory = directory / ("d" * (SOCKET_PATH_BYTES - 30 - len(str(directory))))
    directory.mkdir()
    path = directory / socket_name("example.com/" + "g" * 63, "dphub", directory)
    assert len(bytes(path)) == SOCKET_PATH_BYTES
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))

"""Rules that can be checked without a process: names, merges, lists."""

import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import Allocation, Device, DeviceNode, Mount
from hub.base.errors import ConfigError
from hub.base.sockets import SOCKET_PATH_BYTES, socket_name
from hub.plugin.deviceplugin.messages import MESSAGE_BYTES, encode_list
from hub.plugin.devices.devicelist import DeviceList, ScannedDevices
from hub.plugin.devices.validation import validate_device, validate_resource_name
from hub.plugin.health.store import DeviceHealth
from hub.testing.kubelet.names import is_extended_resource_name

LABELS = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
DOMAINS = st.lists(LABELS, min_size=1, max_size=10).map(".".join)
NAMES = st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", fullmatch=True)
RESOURCES = st.builds("{}/{}".format, DOMAINS, NAMES).filter(lambda name: not validate_resource_name(name))
ALMOST_RESOURCES = st.one_of(
    st.from_regex(r"(requests\.|a\.kubernetes\.io|kubernetes\.io)?[a-zA-Z0-9._-]{0,8}(/[a-zA-Z0-9._ä-]{0,66}){0,2}"),
    st.text(alphabet="ab.-_/A0\nä", max_size=12),
    st.builds("{}/{}".format, st.integers(225, 260).map(lambda n: "d" * n), NAMES),
)
DIRECTORIES = st.integers(1, 93).map(lambda n: Path("/" + "d" * n))


@given(ALMOST_RESOURCES)
def test_resource_names_are_judged_as_a_kubelet_does(name: str) -> None:
    """What passes our check no kubelet refuses, and what fails none takes."""
    assert bool(validate_resource_name(name)) is not is_extended_resource_name(name)


@given(RESOURCES, DIRECTORIES)
def test_socket_names_fit(name: str, directory: Path) -> None:
    """Any valid resource has a socket in any directory that leaves room for a few letters."""
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
    """A name that fits is the instance and the resource; one that does not keeps its beginning."""
    assert socket_name("example.com/gpu", "dphub", Path("/p")) == "dphub-example.com_gpu.sock"
    cut = socket_name("example.com/" + "g" * 63, "dphub", Path("/" + "d" * 60))
    assert cut.startswith("dphub-example.com_ggg")
    with pytest.raises(ConfigError, match="the path is 1 byte too long for a socket in it"):
        socket_name("example.com/gpu", "dphub", Path("/" + "d" * 94))


def test_the_longest_socket_path_can_be_bound(tmp_path_factory: pytest.TempPathFactory) -> None:
    """107 bytes are what the system takes."""
    directory = tmp_path_factory.mktemp("s")
    directory = directory / ("d" * (SOCKET_PATH_BYTES - 30 - len(str(directory))))
    directory.mkdir()
    path = directory / socket_name("example.com/" + "g" * 63, "dphub", directory)
    assert len(bytes(path)) == SOCKET_PATH_BYTES
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


def test_a_merge_has_each_thing_once() -> None:
    """Device files join their permissions, variables and annotations their values, in the order of the devices."""
    shared = DeviceNode("/dev/ctl", permissions="r")
    devices = [
        Device(
            f"d{n}",
            nodes=[shared, DeviceNode(f"/dev/d{n}"), DeviceNode("/dev/ctl", permissions="m")],
            mounts=[Mount("/lib")],
            env={"IDS": f"d{n}", "SAME": "x"},
            cdi=["v.com/c=all", f"v.com/c={n}"],
            annotations={"a": f"{n % 2}"},
        )
        for n in (2, 0, 1)
    ]
    assert Allocation.merge(devices) == Allocation(
        nodes=[DeviceNode("/dev/ctl", permissions="rm"), *(DeviceNode(f"/dev/d{n}") for n in (2, 0, 1))],
        mounts=[Mount("/lib")],
        env={"IDS": "d2,d0,d1", "SAME": "x"},
        cdi=["v.com/c=all", "v.com/c=2", "v.com/c=0", "v.com/c=1"],
        annotations={"a": "0,1"},
    )
    assert Allocation.merge([]) == Allocation(nodes=[], mounts=[], env={}, cdi=[], annotations={})


@pytest.mark.parametrize(
    ("devices", "problem"),
    [
        (
            [Device("a", mounts=[Mount("/a", "/c")]), Device("b", mounts=[Mount("/b", "/c")])],
            "/c would be mounted from /a and from /b",
        ),
        (
            [Device("a", mounts=[Mount("/a")]), Device("b", mounts=[Mount("/a", read_only=False)])],
            "/a would be mounted both read-only and writable",
        ),
        (
            [Device("a", nodes=[DeviceNode("/dev/a", "/dev/c")]), Device("b", nodes=[DeviceNode("/dev/c")])],
            "/dev/c would be both /dev/a and /dev/c",
        ),
    ],
)
def test_a_merge_refuses_contradictions(devices: list[Device], problem: str) -> None:
    """Two things cannot be in one place; the error names them."""
    with pytest.raises(ValueError, match=problem):
        Allocation.merge(devices)


DEVICES = st.builds(
    Device,
    st.text(max_size=70),
    unhealthy=st.sampled_from(["", "broken"]),
    numa=st.lists(st.integers(-2, 2**64), max_size=3),
)


def _published(scanned: ScannedDevices) -> DeviceList:
    """The list of devices that are as healthy as the plugin says."""
    health = {name: DeviceHealth(reason=device.unhealthy) for name, device in scanned.devices.items()}
    return DeviceList(scanned.devices, problems=scanned.problems, health=health)


@given(st.lists(DEVICES, max_size=20))
def test_a_list_has_what_a_kubelet_takes(offered: list[Device]) -> None:
    """Every offered device is in the message, once and in order, or in the problems."""
    devices = _published(ScannedDevices.of(offered))
    message = encode_list(devices).message
    assert [device.ID for device in message.devices] == list(devices.devices)
    left_out = [problem for problem in devices.problems if "more devices" not in problem]
    assert len(left_out) == min(len(offered) - len(devices.devices), 16)
    for device in message.devices:
        assert 1 <= len(device.ID) <= 63
        assert all(node.ID >= 0 for node in device.topology.nodes)
        assert device.health == ("Unhealthy" if devices.devices[device.ID].unhealthy else "Healthy")


@given(st.lists(DEVICES, max_size=20))
def test_distrusted_devices_are_the_same_devices(offered: list[Device]) -> None:
    """None is healthy, and each keeps the reason that it had."""
    trusted = ScannedDevices.of(offered)
    distrusted = trusted.all_unhealthy("no driver")
    assert list(distrusted.devices) == list(trusted.devices)
    assert distrusted.problems == trusted.problems
    for name, device in distrusted.devices.items():
        assert device.unhealthy == (trusted.devices[name].unhealthy or "no driver")
    assert {device.health for device in encode_list(_published(distrusted)).message.devices} <= {"Unhealthy"}


@given(st.lists(DEVICES, max_size=6), st.lists(DEVICES, max_size=6))
def test_lists_are_the_same_when_a_kubelet_sees_no_difference(one: list[Device], other: list[Device]) -> None:
    """The order does not count, everything that is sent does."""
    first, second = _published(ScannedDevices.of(one)), _published(ScannedDevices.of(other))
    sent = [
        {device.SerializeToString() for device in encode_list(devices).message.devices} for devices in (first, second)
    ]
    assert first.same_for_kubelet(second) is (sent[0] == sent[1])
    assert first.same_for_kubelet(_published(ScannedDevices.of(reversed(list(first.devices.values())))))


@pytest.mark.parametrize("reason", ["", "no driver"], ids=["healthy", "unhealthy"])
def test_a_list_beyond_the_limit_omits_the_same_devices(reason: str) -> None:
    """A device does not come and go with the health of the others, and the message fits in either case."""
    devices = {name: Device(name) for name in (f"{n:063}" for n in range(60_000))}
    found = encode_list(DeviceList(devices, health=dict.fromkeys(devices, DeviceHealth(reason=reason))))
    assert found.message.ByteSize() <= MESSAGE_BYTES
    assert found.omitted == frozenset(list(devices)[len(found.message.devices) :])
    assert len(found.omitted) == 60_000 - MESSAGE_BYTES // (63 + 2 + len("Unhealthy") + 2 + 4)
    assert found.problem == f"{len(found.omitted)} devices left out: the list would pass the kubelet's 4194304 bytes"


def test_a_plain_device_has_no_problem() -> None:
    """An id is enough."""
    assert validate_device(Device("d0"), {}) == ""

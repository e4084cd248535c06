"""Merged responses for several devices of a container."""

import pytest

from hub import Allocation, Device, DeviceNode, Mount


def test_a_merge_has_each_thing_once() -> None:
    """The permissions of device files, and the values of variables and annotations, are joined in device order."""
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
    """Two things cannot have the same path; the error names them."""
    with pytest.raises(ValueError, match=problem):
        Allocation.merge(devices)

"""The stub's configuration file."""

from collections import Counter
from typing import Annotated

import msgspec

from hub import Settings, check_template

MAX_DEVICES = 100_000
"""The maximum number of devices; a kubelet accepts a list of about this length."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_DEVICES)]
Permissions = Annotated[
    str, msgspec.Meta(pattern="^[rwm]+$", extra={"expected": "one or more of the letters r(ead), w(rite) and m(knod)"})
]


class StubNode(Settings, frozen=True):
    """A device file of each device of a resource."""

    host_path: str = "/dev/null"
    """The file on the node."""
    container_path: str = "/dev/stub{n}"
    """The file in the container; `{n}` is the device's number."""
    permissions: Permissions = "rw"
    """The container's permissions on the device file."""

    def __post_init__(self) -> None:
        check_template(self.container_path, ["n"])


class StubResource(Settings, frozen=True):
    """A resource of simulated devices."""

    name: str = "example.com/stub"
    """Its name."""
    devices: Count = 4
    """The number of devices."""
    numa: tuple[Count, ...] = ()
    """The NUMA nodes of the devices, assigned in turn."""
    nodes: tuple[StubNode, ...] = (StubNode(),)
    """The device files of each device."""
    env: dict[str, str] = msgspec.field(default_factory=lambda: {"STUB_DEVICES": "{id}"})
    """Environment variables for the container; `{id}` is the device's id and `{n}` its number. Values of several
    devices are joined by commas."""

    def __post_init__(self) -> None:
        for value in self.env.values():
            check_template(value, ["id", "n"])


class StubSettings(Settings, frozen=True):
    """The whole file."""

    resources: tuple[StubResource, ...] = (StubResource(),)
    """The resources to serve."""
    reset: bool = False
    """Whether devices are reset before a container starts."""
    reset_when_released: bool = False
    """Whether they are also reset once a claim has released them; with dynamic resource allocation only."""
    reset_timeout: Annotated[float, msgspec.Meta(gt=0)] = 25
    """Seconds that a reset may take."""
    labels: dict[str, str] = {}
    """Node labels, by name."""
    faults: str = ""
    """The fault file; by default stub-faults.yaml in the hub's run directory."""

    def __post_init__(self) -> None:
        for name, count in Counter(resource.name for resource in self.resources).items():
            if count > 1:
                raise ValueError(f"the resource {name} occurs {count} times, expected once")
        total = sum(resource.devices for resource in self.resources)
        if total > MAX_DEVICES:
            raise ValueError(f"resources has {total} devices in total, expected at most {MAX_DEVICES}")

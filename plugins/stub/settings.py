"""The stub's configuration file."""

from collections import Counter
from typing import Annotated

import msgspec

from hub import Settings

Count = Annotated[int, msgspec.Meta(ge=0)]
Permissions = Annotated[str, msgspec.Meta(pattern="^[rwm]+$")]


def fill_in(template: str, **values: object) -> str:
    """A text with its {placeholders} filled in.

    Raises:
        ValueError: it has others.
    """
    try:
        return template.format(**values)
    except (LookupError, ValueError) as error:
        known = ", ".join(f"{{{name}}}" for name in values)
        raise ValueError(f'"{template}" cannot be filled in ({error}), expected a text with {known} at most') from None


class StubNode(Settings, frozen=True):
    """A device file that each device of a resource brings."""

    host_path: str = "/dev/null"
    """The file on the node."""
    container_path: str = "/dev/stub{n}"
    """Where the container has it; `{n}` is the device's number."""
    permissions: Permissions = "rw"
    """What the container may do with it."""

    def __post_init__(self) -> None:
        fill_in(self.container_path, n=0)


class StubResource(Settings, frozen=True):
    """A resource of devices that are not there."""

    name: str = "example.com/stub"
    """Its name."""
    devices: Count = 4
    """How many."""
    numa: tuple[Count, ...] = ()
    """The NUMA nodes that the devices are spread over, in turn."""
    nodes: tuple[StubNode, ...] = (StubNode(),)
    """The device files that each device brings."""
    env: dict[str, str] = msgspec.field(default_factory=lambda: {"STUB_DEVICES": "{id}"})
    """Variables for the container; `{id}` and `{n}` are the device's. Those of several devices are joined by commas."""

    def __post_init__(self) -> None:
        for value in self.env.values():
            fill_in(value, id="", n=0)


class StubSettings(Settings, frozen=True):
    """The whole file."""

    resources: tuple[StubResource, ...] = (StubResource(),)
    """What is served."""
    reset: bool = False
    """Whether devices are reset before a container starts."""
    reset_timeout: Annotated[float, msgspec.Meta(gt=0)] = 25
    """Seconds that this may take."""
    faults: str = ""
    """The fault file; by default stub-faults.yaml in the hub's run directory."""

    def __post_init__(self) -> None:
        for name, count in Counter(resource.name for resource in self.resources).items():
            if count > 1:
                raise ValueError(f"the resource {name} is there twice")

"""The stub's configuration file."""

from collections import Counter
from collections.abc import Iterable
from string import Formatter
from typing import Annotated

import msgspec

from hub import Settings

MAX_DEVICES = 100_000
"""A kubelet's list has room for about this many."""

Count = Annotated[int, msgspec.Meta(ge=0, le=MAX_DEVICES)]
Permissions = Annotated[str, msgspec.Meta(pattern="^[rwm]+$")]


def fill_in(template: str, **values: object) -> str:
    """Replace the {placeholders} of a template.

    Raises:
        ValueError: it has unknown ones, or more in the braces than a name: a width, for example, may have any size.
    """
    try:
        fields = [field for field in Formatter().parse(template) if field[1] is not None]
    except ValueError as error:
        raise _invalid(template, values, str(error)) from None
    for _, name, width, conversion in fields:
        if name not in values or width or conversion:
            raise _invalid(template, values, repr(name))
    return template.format(**values)


def _invalid(template: str, known: Iterable[str], problem: str) -> ValueError:
    names = ", ".join(f"{{{name}}}" for name in known)
    return ValueError(f'"{template}" is not a valid template ({problem}), expected no placeholders other than {names}')


class StubNode(Settings, frozen=True):
    """A device file of each device of a resource."""

    host_path: str = "/dev/null"
    """The file on the node."""
    container_path: str = "/dev/stub{n}"
    """The file in the container; `{n}` is the device's number."""
    permissions: Permissions = "rw"
    """The container's permissions on the device file."""

    def __post_init__(self) -> None:
        fill_in(self.container_path, n=0)


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
            fill_in(value, id="", n=0)


class StubSettings(Settings, frozen=True):
    """The whole file."""

    resources: tuple[StubResource, ...] = (StubResource(),)
    """The resources to serve."""
    reset: bool = False
    """Whether devices are reset before a container starts."""
    reset_timeout: Annotated[float, msgspec.Meta(gt=0)] = 25
    """Seconds that a reset may take."""
    faults: str = ""
    """The fault file; by default stub-faults.yaml in the hub's run directory."""

    def __post_init__(self) -> None:
        for name, count in Counter(resource.name for resource in self.resources).items():
            if count > 1:
                raise ValueError(f"the resource {name} occurs {count} times, expected once")
        total = sum(resource.devices for resource in self.resources)
        if total > MAX_DEVICES:
            raise ValueError(f"resources has {total} devices in total, expected at most {MAX_DEVICES}")

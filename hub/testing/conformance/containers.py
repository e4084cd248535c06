"""Rules about what a container gets: the kubelet passes it to the container runtime unchecked."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import PurePosixPath
from typing import Protocol

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.conformance.allocation import granted
from hub.testing.conformance.rule import Findings, Level, NotApplicable, rule
from hub.testing.conformance.subject import Subject

_OPTIONS = "kubelet, pkg/kubelet/cm/devicemanager/pod_devices.go, deviceRunContainerOptions"
_RUNTIME = "OCI runtime specification, config-linux.md, Devices"

_CDI_NAME = re.compile(
    r"[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?/[A-Za-z]([A-Za-z0-9_.-]*[A-Za-z0-9])?=[A-Za-z0-9]([A-Za-z0-9_.:-]*[A-Za-z0-9])?"
)


class _Pair(Protocol):
    """A path on the node, and the path at which the container finds it."""

    host_path: str
    container_path: str


async def _given(subject: Subject, field: str) -> wire.ContainerAllocateResponse:
    """Return what a container with one device gets.

    Raises:
        NotApplicable: this field is empty.
    """
    response = (await granted(subject)).container_responses[0]
    if not getattr(response, field):
        raise NotApplicable(f"Allocate's response has no {field}")
    return response


@rule(
    "device-paths",
    Level.MUST,
    "The paths of device files are absolute and without .., and no two files have the same path in the container.",
    reason="With a relative path, the container does not start, or finds its device in the wrong place. If two files "
    "have the same path, the kubelet keeps the first.",
    source=_OPTIONS,
)
async def device_paths(subject: Subject) -> Findings:
    """Check all device files."""
    for finding in _wrong_paths("device file", (await _given(subject, "devices")).devices):
        yield finding


@rule(
    "device-permissions",
    Level.MUST,
    'The permissions of a device file are one or more of the letters "r", "w" and "m".',
    reason="With any other letter, or none, the runtime does not start the container.",
    source=f"{_RUNTIME}; runc, the cgroup device filter",
)
async def device_permissions(subject: Subject) -> Findings:
    """Check all device files."""
    for each in (await _given(subject, "devices")).devices:
        if not each.permissions or set(each.permissions) - set("rwm"):
            yield f"device file {each.host_path!r} has the permissions {each.permissions!r}"


@rule(
    "mount-paths",
    Level.MUST,
    "The paths of mounts are absolute and without .., none is the container's root, and no two are the same there.",
    reason="A runtime that accepts a relative path on the node may create an empty directory somewhere. A mount at the "
    "root hides the image. If two mounts have the same path, the kubelet keeps the first.",
    source=_OPTIONS,
)
async def mount_paths(subject: Subject) -> Findings:
    """Check all mounts."""
    for finding in _wrong_paths("mount", (await _given(subject, "mounts")).mounts):
        yield finding


@rule(
    "variable-names",
    Level.SHOULD,
    'The names of environment variables are not empty and have no "=" in them; no value has a NUL byte.',
    reason="The process in the container gets a variable with a different name, or none, or the container does not "
    "start.",
    source=_OPTIONS,
)
async def variable_names(subject: Subject) -> Findings:
    """Check all variables."""
    for name, value in (await _given(subject, "envs")).envs.items():
        if not name or "=" in name:
            yield f"an environment variable has the name {name!r}"
        if "\0" in name + value:
            yield f"environment variable {name!r} contains a NUL byte"


@rule(
    "cdi-names",
    Level.MUST,
    "The name of a CDI device is VENDOR/CLASS=DEVICE, such as example.com/gpu=0.",
    reason="The runtime finds no such device, and does not start the container.",
    source="Container Device Interface, pkg/parser/parser.go, ParseQualifiedName",
)
async def cdi_names(subject: Subject) -> Findings:
    """Check all names."""
    for each in (await _given(subject, "cdi_devices")).cdi_devices:
        if not is_cdi_name(each.name):
            yield f"{each.name!r} is not the qualified name of a CDI device"


def is_cdi_name(name: str) -> bool:
    """Return whether a runtime can parse the name of a CDI device."""
    return _CDI_NAME.fullmatch(name) is not None


def _wrong_paths(kind: str, pairs: Iterable[_Pair]) -> Iterator[str]:
    known: dict[str, str] = {}
    for pair in pairs:
        for where, path in (("on the node", pair.host_path), ("in the container", pair.container_path)):
            if problem := path_problem(path):
                yield f"{kind} {pair.host_path!r}: its path {where} is {problem}"
        if known.setdefault(pair.container_path, pair.host_path) != pair.host_path:
            both = f"{known[pair.container_path]!r} and {pair.host_path!r}"
            yield f"both {both} are {pair.container_path!r} in the container"
        if kind == "mount" and pair.container_path == "/":
            yield f"{kind} {pair.host_path!r} is the root of the container"


def path_problem(path: str) -> str:
    """Return what is wrong with a path; empty if nothing is."""
    parts: Sequence[str] = PurePosixPath(path).parts
    if not path.startswith("/"):
        return f"{path!r}, which is not absolute" if path else "empty"
    return f"{path!r}, which contains .." if ".." in parts else ""


RULES = (device_paths, device_permissions, mount_paths, variable_names, cdi_names)

"""Validates what a plugin returns. A plugin is third-party code: not even the types of its values are certain."""

import re
from collections.abc import Collection, Container, Mapping
from typing import Any

from hub.api.device import Allocation, Device, DeviceNode, Mount
from hub.base.failures import short_repr
from hub.base.location import location_of_class

ID_CHARACTERS = 63
"""Maximum length of a device id (the comment on `Device.ID` in the kubelet's API)."""

_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DOMAIN = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*")
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def validate_resource(kind: type, resource: str) -> str:
    """Return why a kubelet would reject the resource named by this plugin's devices; empty if it would not."""
    if resource:
        return validate_resource_name(resource)
    todo = 'set resource = "example.com/name" in the class, or resource= of each Device'
    return f"{location_of_class(kind)}: {kind.__name__} offers devices without a resource: {todo}"


def validate_resource_name(name: str) -> str:
    """Return why a kubelet would reject a resource name; empty if it would not.

    The rules are Kubernetes' for extended resource names (`IsExtendedResourceName`): a domain that is not
    kubernetes.io, a slash, a name of at most 63 characters; with the prefix "requests.", the whole must still be a
    qualified name, whose domain may have at most 253 characters.
    """
    domain, slash, short = name.partition("/")
    if not slash:
        return f'resource "{name}" needs a domain before a slash, like example.com/name'
    if domain.endswith("kubernetes.io"):
        return f'resource "{name}": the domain kubernetes.io is reserved'
    if not _DOMAIN.fullmatch(domain) or len(f"requests.{domain}") > 253:  # noqa: PLR2004 - see the docstring
        return f'resource "{name}": "{domain}" is not a domain name in lower case'
    if not _NAME.fullmatch(short) or len(short) > 63:  # noqa: PLR2004 - see the docstring
        return (
            f'resource "{name}": "{short}" is not 1 to 63 letters, digits, "-", "_" or ".", beginning and ending with '
            "a letter or digit"
        )
    if name.startswith("requests."):
        return f'resource "{name}": the prefix "requests." is reserved for quotas'
    return ""


def validate_device(device: object, known: Container[str]) -> str:
    """Return why a device cannot be advertised or allocated alongside the known ones; empty if it can."""
    if not isinstance(device, Device):
        return (
            f"{short_repr(device)} is not a hub.Device: devices() yields Device(...), Excluded(...) and Unmatched(...)"
        )
    if problem := _id_problem(device.id):
        return f"device {short_repr(device.id)}: {problem}"
    if device.id in known:
        return f"device {device.id!r} is offered twice"
    problem = _field_problem(device)
    return f"device {device.id!r}: {problem}" if problem else ""


def validate_allocation(allocation: Allocation) -> str:
    """Return why a container cannot be given this allocation; empty if it can."""
    problem = _field_problem(allocation)
    return f"it returned an Allocation whose {problem}" if problem else ""


def wrong_answer(answer: object, expected: str) -> TypeError:
    """Return the error for a method of a plugin that returned a value of the wrong type."""
    return TypeError(f"it returned {short_repr(answer)}, expected {expected}")


def _field_problem(thing: Device | Allocation) -> str:
    for field, default, holds, expected in _FIELDS:
        value = getattr(thing, field, default)
        if value != default and not holds(value):
            return f"{field} is {short_repr(value)}, expected {expected}"
    return ""


def _id_problem(name: object) -> str:
    if not isinstance(name, str):
        return "the id is not a string: wrap it in str(...)"
    if not name:
        return "the id is empty"
    if len(name) > ID_CHARACTERS:
        return f"the id has {len(name)} characters; at most {ID_CHARACTERS} are allowed"
    return "" if name.isprintable() else "the id has characters that cannot be printed"


def _is_text(value: object) -> bool:
    """Return whether a value is a string that UTF-8 can encode; one from a file name may contain other bytes."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_all(value: object, kind: type) -> bool:
    return (
        isinstance(value, Collection) and not isinstance(value, str) and all(isinstance(part, kind) for part in value)
    )


def _are_strings(value: Any) -> bool:  # noqa: ANN401 - whatever a plugin offers
    return _are_all(value, str) and all(_is_text(text) for text in value)


def _are_variables(value: object) -> bool:
    return isinstance(value, Mapping) and all(_is_text(part) for pair in value.items() for part in pair)


def _has_paths(thing: DeviceNode | Mount) -> bool:
    """Return whether both paths are strings; a bytes path is valid only in Python."""
    return isinstance(thing.host_path, str) and isinstance(thing.container_path, str)


def _are_mounts(value: Any) -> bool:  # noqa: ANN401 - whatever a plugin offers
    return _are_all(value, Mount) and all(_has_paths(mount) for mount in value)


def _are_nodes(value: Any) -> bool:  # noqa: ANN401 - whatever a plugin offers
    return _are_all(value, DeviceNode) and all(_has_paths(node) and isinstance(node.permissions, str) for node in value)


def _have_permissions(nodes: Any) -> bool:  # noqa: ANN401 - whatever a plugin offers
    return all(node.permissions and not node.permissions.strip("rwm") for node in nodes)


def _are_absolute(things: Any) -> bool:  # noqa: ANN401 - whatever a plugin offers
    return all(str(thing.host_path).startswith("/") for thing in things)


def _are_numa_nodes(value: Any) -> bool:  # noqa: ANN401 - whatever a plugin offers
    return _are_all(value, int) and all(0 <= node < 2**63 for node in value)


_FIELDS = [
    ("resource", "", _is_text, "the name of a resource as a string"),
    ("unhealthy", "", _is_text, "the reason as a string, empty when there is none"),
    ("broken", "", _is_text, "the reason as a string, empty when there is none"),
    ("warning", "", _is_text, "what is wrong as a string, empty when nothing is"),
    ("numa", (), _are_numa_nodes, "a list of NUMA node numbers, 0 or higher, such as [0], empty when that is unknown"),
    ("nodes", (), _are_nodes, 'a list such as [DeviceNode("/dev/x", permissions="rw")]'),
    ("nodes", (), _have_permissions, "permissions made of r, w and m"),
    ("nodes", (), _are_absolute, "a host_path that begins with /"),
    ("mounts", (), _are_mounts, 'a list such as [Mount("/usr/share/x")]'),
    ("mounts", (), _are_absolute, "a host_path that begins with /"),
    ("env", {}, _are_variables, 'strings by name, such as {"NAME": "value"}'),
    ("annotations", {}, _are_variables, 'strings by name, such as {"name": "value"}'),
    ("cdi", (), _are_strings, "a list of names"),
    ("physical", "", _is_text, "an id, or empty for a whole device"),
    ("pci", (), _are_strings, 'a list of addresses such as "0000:3b:00.0"'),
    ("attributes", {}, _are_variables, "strings by name"),
]

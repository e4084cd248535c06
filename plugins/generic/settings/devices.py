"""The configuration of the generic-device-plugin: the values of its `--device` flag, as strings or items of a list."""

import posixpath
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import msgspec

from hub import ConfigError, parse_yaml, validation_problem
from plugins.generic.settings.resource import Resource
from plugins.generic.settings.selectors import Count, Group, GroupFile, Pairing, Permissions, UsbSelector

_NAME = re.compile("[a-z0-9][-a-z0-9]*[a-z0-9]")


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="lower"):
    """A section; the generic-device-plugin ignores the case of its keys."""


class _Path(_Strict, frozen=True):
    path: str
    mountPath: str = ""  # noqa: N815 - the key
    permissions: Permissions = "rwm"
    readOnly: bool = False  # noqa: N815 - the key
    type: Literal["Device", "Mount"] = "Device"
    limit: Count = 1
    optional: bool = False


class _Usb(_Strict, frozen=True):
    vendor: str | int = ""
    product: str | int = ""
    serial: str = ""


class _Group(_Strict, frozen=True):
    paths: tuple[_Path, ...] = ()
    usb: tuple[_Usb, ...] = ()
    count: Count = 1


class _Device(_Strict, frozen=True):
    name: str
    groups: tuple[_Group, ...] = ()
    count: Any = None
    """Has no effect in the generic-device-plugin."""


LEVELS = (_Device, _Group, _Path, _Usb)
"""What an entry consists of."""


def read_devices(entries: Sequence[Any], domain: str) -> list[Resource]:
    """Return the resources that the entries define.

    Raises:
        ValueError: an entry is invalid.
    """
    return [_resource(place, entry, domain) for place, entry in _parsed(entries)]


def have_count(entries: Sequence[Any]) -> bool:
    """Return whether an entry has a count next to its name, which has no effect."""
    return any(isinstance(entry, Mapping) and "count" in _lower(entry) for _, entry in _parsed(entries))


def _resource(place: str, entry: Any, domain: str) -> Resource:  # noqa: ANN401 - parsed, not yet checked
    try:
        device = msgspec.convert(_lower(entry), _Device)
        name = device.name.strip()
        groups = tuple(_group(group) for group in device.groups if group.paths or group.usb)
        return Resource(name=f"{domain}/{_checked(name)}", groups=groups)
    except msgspec.ValidationError as error:
        problem, where = validation_problem(error, _Device)
        raise ValueError(": ".join(filter(None, [place, where, problem]))) from None
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f'name is "{name}", expected two or more lower-case letters, digits or "-"')
    return name


def _group(group: _Group) -> Group:
    if group.paths and group.usb:
        raise ValueError("a group has both paths and usb, expected only one of them")
    if group.usb:
        return Group(usb=tuple(_usb(each) for each in group.usb), count=group.count or 1)
    files = tuple(_file(path) for path in group.paths)
    return Group(files=files, pairing=Pairing.ORDER, count=group.count or 1)


def _file(path: _Path) -> GroupFile:
    pattern = posixpath.normpath(path.path.strip()).replace("[^", "[!")
    if not re.fullmatch("/[^/].*", pattern):
        raise ValueError(f'path is "{path.path}", expected an absolute path')
    return GroupFile(
        path=pattern,
        # The generic-device-plugin has no placeholders.
        container_path=path.mountPath.strip().replace("{", "{{").replace("}", "}}"),
        permissions=path.permissions,
        optional=path.optional,
        mount=path.type == "Mount",
        read_only=path.readOnly,
        limit=path.limit or 1,
    )


def _usb(usb: _Usb) -> UsbSelector:
    """Return the selector. In the generic-device-plugin, a missing number is zero, which no device has."""
    vendor, product = _number("vendor", usb.vendor), _number("product", usb.product)
    return UsbSelector(vendor=vendor, product=product, serial=usb.serial)


def _number(key: str, value: str | int) -> str:
    if isinstance(value, str) and re.fullmatch("[0-9a-fA-F]{1,4}", value):
        return value.zfill(4)
    shown = f'"{value}"' if isinstance(value, str) else value
    raise ValueError(f"{key} is {shown}, expected hexadecimal digits in quotes: YAML reads 0403 as a different number")


def _parsed(entries: Sequence[Any]) -> Iterator[tuple[str, Any]]:
    """Return the entries with their locations: items of a list, or values of the flag (YAML or JSON strings)."""
    for number, entry in enumerate(entries):
        place = f"devices[{number}]"
        try:
            yield place, parse_yaml(place, entry) if isinstance(entry, str) else entry
        except ConfigError as error:
            raise ValueError(str(error)) from None


def _lower(value: Any) -> Any:  # noqa: ANN401 - parsed, not yet checked
    """Return a value with its keys in lower case, for comparison."""
    if isinstance(value, Mapping):
        return {str(key).lower(): _lower(part) for key, part in value.items()}
    return [_lower(part) for part in value] if isinstance(value, list | tuple) else value

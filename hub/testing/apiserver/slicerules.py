"""The rules for ResourceSlices (kubernetes, pkg/apis/resource/validation), with an API server's error texts."""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from hub.testing.apiserver import names
from hub.testing.apiserver.kinds import Object

_MAX_DEVICES, _MAX_ADVANCED_DEVICES = 128, 64
_MAX_ATTRIBUTES, _MAX_VALUES = 32, 48
_MAX_TAINTS = {"1.34": 4}
_MAX_TAINTS_SINCE = 16
_MAX_COUNTER_SETS, _MAX_COUNTERS, _MAX_CONSUMED_SETS = 8, 32, 2
_IDENTIFIER_LENGTH = 32
_VALUE_LENGTH = 64
_EFFECTS = {"1.34": ("NoExecute", "NoSchedule")}
_EFFECTS_SINCE = ("NoExecute", "NoSchedule", "None")
_SCALARS, _LISTS = ("int", "bool", "string", "version"), ("ints", "bools", "strings", "versions")
_NODES = ("nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection")
_ONE_OF = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
_NUMBER, _PRE = r"(0|[1-9]\d*)", r"(0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_SEMVER = re.compile(
    rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-{_PRE}(\.{_PRE})*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?", re.ASCII
)
_IMMUTABLE = (("pool", "name"), ("driver",), ("nodeName",))


def slice_errors(new: Object, old: Object | None, version: str) -> list[str]:
    """Return what is wrong with a slice after the fields of disabled gates were dropped; empty if it is valid.

    Args:
        new: The slice.
        old: The slice that it replaces, if any.
        version: The Kubernetes version.
    """
    spec = new.get("spec") or {}
    found = [*names.subdomain("metadata.name", new["metadata"].get("name", "")), *_spec_errors(spec, version)]
    if old is not None:
        found += _immutable_errors(spec, old["spec"])
    return found


def _spec_errors(spec: Object, version: str) -> Iterator[str]:
    yield from names.driver("spec.driver", spec.get("driver", ""))
    yield from _pool_errors(spec.get("pool") or {})
    yield from _node_errors(spec)
    devices, counters = spec.get("devices") or [], spec.get("sharedCounters") or []
    # In 1.34, a slice could contain both.
    if counters and devices and version > "1.34":
        yield names.invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed")
    limit = _MAX_ADVANCED_DEVICES if version > "1.34" and any(map(_is_advanced, devices)) else _MAX_DEVICES
    yield from _set_errors("spec.devices", devices, limit, lambda each, path: _device_errors(each, path, version))
    yield from _set_errors("spec.sharedCounters", counters, _MAX_COUNTER_SETS, _counter_set_errors)


def _immutable_errors(spec: Object, old: Object) -> Iterator[str]:
    for path in _IMMUTABLE:
        before, after = old, spec
        for key in path:
            before, after = before.get(key) or {}, after.get(key) or {}
        if before != after:
            yield names.invalid(f"spec.{'.'.join(path)}", after, "field is immutable")


def _pool_errors(pool: Object) -> Iterator[str]:
    path, name = "spec.pool.name", pool.get("name", "")
    if not name:
        yield names.required(path)
    elif len(name) > names.SUBDOMAIN_LENGTH:
        yield names.too_long(path, names.SUBDOMAIN_LENGTH)
    for part in name.split("/") if name else ():
        yield from names.subdomain(path, part)
    count, generation = pool.get("resourceSliceCount", 0), pool.get("generation", 0)
    if count <= 0:
        yield names.invalid("spec.pool.resourceSliceCount", count, "must be greater than zero")
    if generation < 0:
        yield names.invalid("spec.pool.generation", generation, "must be greater than or equal to zero")


def _node_errors(spec: Object) -> Iterator[str]:
    if spec.get("nodeName") == "":
        yield names.invalid("spec.nodeName", "", "must be either unset or set to a non-empty string")
    used = [f"`{name}`" for name in _NODES if spec.get(name)]
    if not used:
        yield names.required("spec", _ONE_OF)
    elif len(used) > 1:
        yield names.invalid("spec", f"{{{', '.join(used)}}}", f"{_ONE_OF}, but multiple fields are set")


def _is_advanced(device: Object) -> bool:
    """Return whether a slice with this device may have only half of the devices."""
    lists = any(name in each for each in (device.get("attributes") or {}).values() for name in _LISTS)
    return bool(device.get("taints") or device.get("consumesCounters") or lists)


def _set_errors(
    path: str, items: Sequence[Object], limit: int, check: Callable[[Object, str], Iterator[str]], key: str = "name"
) -> Iterator[str]:
    """Check a list whose items have distinct names; one that is too long is not checked further."""
    if len(items) > limit:
        yield names.too_many(path, len(items), limit)
        return
    for index, each in enumerate(items):
        yield from check(each, f"{path}[{index}]")
    seen = set()
    for index, each in enumerate(items):
        if each.get(key) in seen:
            yield f'{path}[{index}]: Duplicate value: "{each.get(key)}"'
        seen.add(each.get(key))


def _device_errors(device: Object, path: str, version: str) -> Iterator[str]:
    yield from names.label(f"{path}.name", device.get("name", ""))
    attributes, capacity = device.get("attributes") or {}, device.get("capacity") or {}
    if (count := len(attributes) + len(capacity)) > _MAX_ATTRIBUTES:
        words = f"the total number of attributes and capacities must not exceed {_MAX_ATTRIBUTES}"
        yield names.invalid(path, count, words)
    values = sum(sum(len(each.get(name) or ()) for name in _LISTS) or 1 for each in attributes.values())
    if values > _MAX_VALUES:
        yield names.invalid(path, values, f"the total number of attribute values must not exceed {_MAX_VALUES}")
    for name, value in attributes.items():
        yield from _qualified_errors(f"{path}.attributes", name)
        yield from _attribute_errors(f"{path}.attributes[{name}]", value)
    for name in capacity:
        yield from _qualified_errors(f"{path}.capacity", name)
    taints, limit = device.get("taints") or [], _MAX_TAINTS.get(version, _MAX_TAINTS_SINCE)
    if len(taints) > limit:
        yield names.too_many(f"{path}.taints", len(taints), limit)
    else:
        for index, taint in enumerate(taints):
            yield from _taint_errors(taint, f"{path}.taints[{index}]", version)
    consumed = device.get("consumesCounters") or []
    consumes = f"{path}.consumesCounters"
    yield from _set_errors(consumes, consumed, _MAX_CONSUMED_SETS, _consumption_errors, "counterSet")


def _qualified_errors(path: str, name: str) -> Iterator[str]:
    domain, slash, last = name.rpartition("/")
    if slash and not domain:
        yield names.invalid(path, "", "the domain must not be empty")
    elif slash:
        yield from names.driver(path, domain)
    if slash and not last:
        yield names.invalid(path, "", "the name must not be empty")
    else:
        yield from names.identifier(path, last, _IDENTIFIER_LENGTH)


def _attribute_errors(path: str, attribute: Object) -> Iterator[str]:
    used = [name for name in (*_SCALARS, *_LISTS) if name in attribute]
    if len(used) != 1:
        yield names.invalid(path, attribute if used else "", "exactly one value must be specified")
    for name in used:
        value: Any = attribute[name]
        if name in _LISTS and not value:
            yield names.invalid(f"{path}.{name}", value, "must not be empty if specified")
        items = enumerate(value) if name in _LISTS else [(None, value)]
        for index, item in items:
            place = f"{path}.{name}" if index is None else f"{path}.{name}[{index}]"
            if name.startswith("version") and not _SEMVER.fullmatch(item):
                yield names.invalid(place, item, "must be a string compatible with semver.org spec 2.0.0")
            if name.startswith(("string", "version")) and len(item.encode()) > _VALUE_LENGTH:
                yield names.too_long(place, _VALUE_LENGTH)


def _taint_errors(taint: Object, path: str, version: str) -> Iterator[str]:
    yield from names.label_key(f"{path}.key", taint.get("key", ""))
    yield from names.label_value(f"{path}.value", taint.get("value", ""))
    effect, known = taint.get("effect", ""), _EFFECTS.get(version, _EFFECTS_SINCE)
    if not effect:
        yield names.required(f"{path}.effect")
    elif effect not in known:
        words = ", ".join(f'"{each}"' for each in known)
        yield f'{path}.effect: Unsupported value: "{effect}": supported values: {words}'


def _counter_set_errors(counters: Object, path: str) -> Iterator[str]:
    yield from names.label(f"{path}.name", counters.get("name", ""))
    yield from _counters_errors(counters, path)


def _consumption_errors(consumption: Object, path: str) -> Iterator[str]:
    yield from names.label(f"{path}.counterSet", consumption.get("counterSet", ""))
    yield from _counters_errors(consumption, path)


def _counters_errors(owner: Object, path: str) -> Iterator[str]:
    counters = owner.get("counters") or {}
    if not counters:
        yield names.required(f"{path}.counters")
    elif len(counters) > _MAX_COUNTERS:
        yield names.too_many(f"{path}.counters", len(counters), _MAX_COUNTERS)
    for name in counters:
        yield from names.label(f"{path}.counters", name)

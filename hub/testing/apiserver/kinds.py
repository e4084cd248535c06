"""The kinds of objects that the fake API server has, and how requests name them."""

from typing import Any, NamedTuple

Object = dict[str, Any]
"""An object of the API, as JSON."""


class Kind(NamedTuple):
    """A kind of objects."""

    group: str
    """Empty for the core group."""
    version: str
    resource: str
    """The name in paths and permissions."""
    name: str
    namespaced: bool = False
    fields: tuple[str, ...] = ()
    """What a field selector can select, besides name and namespace."""

    @property
    def api_version(self) -> str:
        """The `apiVersion` of its objects."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The resource as errors name it."""
        return f"{self.resource}.{self.group}" if self.group else self.resource

    @property
    def qualified_name(self) -> str:
        """The kind as errors about invalid objects name it."""
        return f"{self.name}.{self.group}" if self.group else self.name

    def selectable(self) -> tuple[str, ...]:
        """Return the fields that a field selector can name."""
        common = ("metadata.name", "metadata.namespace") if self.namespaced else ("metadata.name",)
        return (*common, *self.fields)


SLICES = Kind("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", fields=("spec.nodeName", "spec.driver"))
CLAIMS = Kind("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim", namespaced=True)
CLASSES = Kind("resource.k8s.io", "v1", "deviceclasses", "DeviceClass")
NODES = Kind("", "v1", "nodes", "Node")
PODS = Kind("", "v1", "pods", "Pod", namespaced=True, fields=("spec.nodeName",))
EVENTS = Kind("events.k8s.io", "v1", "events", "Event", namespaced=True)
CORE_EVENTS = Kind("", "v1", "events", "Event", namespaced=True)

KINDS = (SLICES, CLAIMS, CLASSES, NODES, PODS, EVENTS, CORE_EVENTS)


class Target(NamedTuple):
    """What the path of a request names."""

    kind: Kind
    namespace: str = ""
    name: str = ""
    """Empty for all objects of the kind."""
    subresource: str = ""


def parse(path: str) -> Target | None:
    """Return what a path names; None if the server does not know it."""
    for kind in KINDS:
        root = f"/apis/{kind.group}/{kind.version}/" if kind.group else f"/api/{kind.version}/"
        if not path.startswith(root):
            continue
        words = path.removeprefix(root).strip("/").split("/")
        namespace = ""
        if kind.namespaced and words[0] == "namespaces" and len(words) > 2:  # noqa: PLR2004 - namespaces/NS/RESOURCE
            namespace, words = words[1], words[2:]
        if words[0] != kind.resource:
            continue
        name, subresource, *more = [*words[1:], "", ""][: max(2, len(words) - 1)]
        return None if more else Target(kind, namespace, name, subresource)
    return None


def value(found: Object, path: str) -> object:
    """Return the value at a path such as `spec.driver`; None if there is none."""
    place: Any = found
    for key in path.split("."):
        place = place.get(key) if isinstance(place, dict) else None
    return place

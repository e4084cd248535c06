"""The objects of the fake API server, their versions, and the changes that watches report."""

import asyncio
import copy
import time
import uuid
from collections.abc import Callable, Sequence
from typing import NamedTuple

from hub.testing.apiserver import errors
from hub.testing.apiserver.kinds import NODES, Kind, Object

Selector = Callable[[Object], bool]

_READABLE_SUFFIX = 5


class Change(NamedTuple):
    """A change to an object."""

    version: int
    kind: Kind
    before: Object | None
    """The object before the change; None if it was created."""
    after: Object
    """The object after the change; if it was deleted, its last state."""
    deleted: bool

    def event(self, selects: Selector) -> Object | None:
        """Return what a watch with this selector reports; None if it reports nothing."""
        was, is_ = self.before is not None and selects(self.before), not self.deleted and selects(self.after)
        if not was and not is_:
            return None
        kind = "MODIFIED" if was and is_ else "ADDED" if is_ else "DELETED"
        return {"type": kind, "object": self.after}


class Store:
    """All objects. The caller may change those that are returned: they are copies."""

    def __init__(self) -> None:
        self._objects: dict[tuple[Kind, str, str], Object] = {}
        self._changes: list[Change] = []
        self._next_change = asyncio.Event()
        self.version = 1
        """The latest version of any object."""
        self.oldest = 1
        """The oldest version from which a watch can begin."""

    def get(self, kind: Kind, name: str, namespace: str = "") -> Object:
        """Return an object.

        Raises:
            RequestError: it does not exist.
        """
        found = self._objects.get((kind, namespace, name))
        if found is None:
            raise errors.not_found(kind, name)
        return copy.deepcopy(found)

    def list(self, kind: Kind, namespace: str = "", selects: Selector = lambda _: True) -> list[Object]:
        """Return the objects of a kind, of all namespaces by default, sorted by name."""
        found = [
            copy.deepcopy(each)
            for key, each in sorted(self._objects.items(), key=lambda item: item[0][1:])
            if key[0] is kind and namespace in ("", key[1])
        ]
        return [each for each in found if selects(each)]

    def create(self, kind: Kind, content: Object, namespace: str = "") -> Object:
        """Add an object, and return it.

        Raises:
            RequestError: one with this name exists.
        """
        created = copy.deepcopy(content)
        metadata = created.setdefault("metadata", {})
        if "generateName" in metadata and not metadata.get("name"):
            metadata["name"] = f"{metadata['generateName']}{uuid.uuid4().hex[:_READABLE_SUFFIX]}"
        if kind.namespaced:
            metadata["namespace"] = namespace
        key = (kind, namespace, metadata["name"])
        if key in self._objects:
            raise errors.already_exists(kind, metadata["name"])
        metadata |= {"uid": str(uuid.uuid4()), "creationTimestamp": timestamp(), "generation": 1}
        return self._store(kind, None, {"apiVersion": kind.api_version, "kind": kind.name, **created})

    def replace(self, kind: Kind, content: Object, namespace: str = "") -> Object:
        """Replace an object, and return it; an object that stays the same keeps its version.

        Raises:
            RequestError: it does not exist, or is not the one that the caller has seen.
        """
        changed = copy.deepcopy(content)
        metadata = changed["metadata"]
        before = self.get(kind, metadata["name"], namespace)
        _check_identity(kind, before, metadata)
        kept = ("uid", "creationTimestamp", "generation", "resourceVersion")
        metadata |= {name: before["metadata"][name] for name in kept}
        changed = {"apiVersion": kind.api_version, "kind": kind.name, **changed}
        if changed == before:
            return before
        if changed.get("spec") != before.get("spec"):
            metadata["generation"] += 1
        return self._store(kind, before, changed)

    def delete(self, kind: Kind, name: str, namespace: str = "", preconditions: Object | None = None) -> Object:
        """Delete an object, together with the objects that it owns if it is a node, and return it.

        Raises:
            RequestError: it does not exist, or is not the one that the caller has seen.
        """
        before = self.get(kind, name, namespace)
        _check_identity(kind, before, preconditions or {})
        del self._objects[kind, namespace, name]
        last = self._record(kind, before, copy.deepcopy(before), deleted=True)
        if kind is NODES:
            self._delete_dependents(before["metadata"]["uid"])
        return last

    def changes(self, kind: Kind, since: int) -> Sequence[Change]:
        """Return the changes to objects of a kind after a version.

        Raises:
            RequestError: the server no longer has them.
        """
        if since < self.oldest:
            raise errors.expired(since, self.oldest)
        return [each for each in self._changes if each.kind is kind and each.version > since]

    def forget_changes(self) -> None:
        """Forget all changes so far: watches can begin only at the current version."""
        self._changes.clear()
        self.oldest = self.version

    def next_change(self) -> asyncio.Event:
        """Return an event that is set at the next change."""
        return self._next_change

    def _delete_dependents(self, owner: str) -> None:
        """Delete the objects that an object owned, as the garbage collector of a cluster does."""
        for kind, namespace, name in list(self._objects):
            owners = self._objects[kind, namespace, name]["metadata"].get("ownerReferences", ())
            if owner in (each.get("uid") for each in owners):
                self.delete(kind, name, namespace)

    def _store(self, kind: Kind, before: Object | None, after: Object) -> Object:
        metadata = after["metadata"]
        self._objects[kind, metadata.get("namespace", ""), metadata["name"]] = after
        return copy.deepcopy(self._record(kind, before, after, deleted=False))

    def _record(self, kind: Kind, before: Object | None, after: Object, *, deleted: bool) -> Object:
        self.version += 1
        after["metadata"]["resourceVersion"] = str(self.version)
        self._changes.append(Change(self.version, kind, before, copy.deepcopy(after), deleted))
        self._next_change.set()
        self._next_change = asyncio.Event()
        return after


def timestamp() -> str:
    """Return the current time in the format used in objects, in whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _check_identity(kind: Kind, found: Object, expected: Object) -> None:
    """Check the UID and the version that a caller expects, if it expects any.

    Raises:
        RequestError: they differ.
    """
    metadata = found["metadata"]
    if (uid := expected.get("uid")) and uid != metadata["uid"]:
        words = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        raise errors.conflict(kind, metadata["name"], words)
    if (version := expected.get("resourceVersion")) and version != metadata["resourceVersion"]:
        raise errors.conflict(kind, metadata["name"])

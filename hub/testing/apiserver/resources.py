"""What requests do to the objects of the fake API server."""

from collections.abc import Mapping
from typing import Any

from hub.testing.apiserver import errors
from hub.testing.apiserver.access import Caller, check_node, check_permission
from hub.testing.apiserver.gates import drop_disabled_fields
from hub.testing.apiserver.kinds import SLICES, Object, Target, value
from hub.testing.apiserver.slicerules import slice_errors
from hub.testing.apiserver.store import Selector, Store, timestamp

_OK, _CREATED = 200, 201

VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
"""The verb of a method, for one object."""


class Resources:
    """Executes requests, except watches.

    Args:
        store: The objects.
        version: The Kubernetes version.
        gates: The feature gates that are on.
    """

    def __init__(self, store: Store, version: str, gates: frozenset[str]) -> None:
        self._store = store
        self._version = version
        self._gates = gates

    def answer(
        self, caller: Caller, method: str, target: Target, query: Mapping[str, str], body: Object
    ) -> tuple[int, Object]:
        """Execute a request, and return the status code and the response.

        Raises:
            RequestError: it fails.
        """
        verb = verb_of(method, target)
        check_permission(caller, verb, target)
        if verb == "list":
            return _OK, self._list(target, query)
        if verb == "deletecollection":
            return _OK, self._delete_all(caller, target, query)
        if verb == "create":
            return _CREATED, self._create(caller, target, body)
        found = self._store.get(target.kind, target.name, target.namespace)
        if verb == "delete":
            check_node(caller, target, found)
            preconditions = body.get("preconditions") or {}
            return _OK, self._store.delete(target.kind, target.name, target.namespace, preconditions)
        if verb == "patch":
            body = merged(found, body)
        return _OK, found if verb == "get" else self._update(caller, target, found, body)

    def _list(self, target: Target, query: Mapping[str, str]) -> Object:
        kind = target.kind
        items = self._store.list(kind, target.namespace, selector(target, query))
        metadata = {"resourceVersion": str(self._store.version)}
        return {"apiVersion": kind.api_version, "kind": f"{kind.name}List", "metadata": metadata, "items": items}

    def _delete_all(self, caller: Caller, target: Target, query: Mapping[str, str]) -> Object:
        answer = self._list(target, query)
        for each in answer["items"]:
            check_node(caller, target, each)
            self._store.delete(target.kind, each["metadata"]["name"], each["metadata"].get("namespace", ""))
        return answer

    def _create(self, caller: Caller, target: Target, body: Object) -> Object:
        check_node(caller, target, body)
        self._admit(target, body, None)
        return self._store.create(target.kind, body, target.namespace)

    def _update(self, caller: Caller, target: Target, found: Object, body: Object) -> Object:
        body.setdefault("metadata", {}).setdefault("name", target.name)
        if body["metadata"]["name"] != target.name:
            words = f"the name of the object ({body['metadata']['name']}) does not match the name on the URL"
            raise errors.RequestError(errors.BAD_REQUEST, f"{words} ({target.name})")
        if target.subresource == "status":
            expected = body["metadata"].get("resourceVersion", "")
            body = {**found, "status": body.get("status")}
            body["metadata"] = {**found["metadata"], "resourceVersion": expected}
        elif "status" in found:
            body = {**body, "status": found["status"]}
        check_node(caller, target, found)
        check_node(caller, target, body)
        self._admit(target, body, found)
        return self._store.replace(target.kind, body, target.namespace)

    def _admit(self, target: Target, new: Object, old: Object | None) -> None:
        """Complete and check an object before it is stored.

        Raises:
            RequestError: it breaks a rule.
        """
        if target.kind is not SLICES:
            return
        drop_disabled_fields(new, old, self._gates)
        for device in (new.get("spec") or {}).get("devices") or ():
            for taint in device.get("taints") or ():
                taint.setdefault("timeAdded", timestamp())
        name = new.get("metadata", {}).get("name") or f"{new.get('metadata', {}).get('generateName', '')}x"
        checked = {**new, "metadata": {**new.get("metadata", {}), "name": name}}
        if found := slice_errors(checked, old, self._version):
            raise errors.invalid(target.kind, name, found)


def verb_of(method: str, target: Target) -> str:
    """Return the verb of a request.

    Raises:
        RequestError: there is no such request.
    """
    collection = {"GET": "list", "POST": "create", "DELETE": "deletecollection"}
    known = VERBS if target.name else collection
    if method not in known or (target.name and method == "POST"):
        raise errors.RequestError(errors.NOT_ALLOWED, "the server does not allow this method on the requested resource")
    return known[method]


def selector(target: Target, query: Mapping[str, str]) -> Selector:
    """Return a function that checks whether an object is in the namespace and has the fields that a request selects.

    Raises:
        RequestError: a field cannot be selected.
    """
    terms = [term.partition("=") for term in query.get("fieldSelector", "").split(",") if term]
    wanted = {path: expected.removeprefix("=") for path, _, expected in terms}
    for path in wanted:
        if path not in target.kind.selectable():
            raise errors.RequestError(errors.BAD_REQUEST, f'field label not supported: "{path}"')
    if target.name:
        wanted["metadata.name"] = target.name
    if target.namespace:
        wanted["metadata.namespace"] = target.namespace
    return lambda found: all((value(found, path) or "") == expected for path, expected in wanted.items())


def merged(found: Object, change: Mapping[str, Any]) -> Object:
    """Return an object after a merge patch."""
    result = dict(found)
    for key, new in change.items():
        if new is None:
            result.pop(key, None)
        elif isinstance(new, dict):
            kept = result.get(key)
            result[key] = merged(kept if isinstance(kept, dict) else {}, new)
        else:
            result[key] = new
    return result

"""ResourceSlices and ResourceClaims as an API server keeps them: versions, conflicts, watches, and dropped fields."""

import asyncio
import copy
from collections.abc import AsyncGenerator, Mapping
from typing import Any

Object = dict[str, Any]

SLICES = "/apis/resource.k8s.io/v1/resourceslices"
CLAIMS = "/apis/resource.k8s.io/v1/namespaces/{namespace}/resourceclaims/{name}"


def status(code: int, message: str) -> Object:
    """Return the body of an error."""
    return {"kind": "Status", "code": code, "message": message}


class DraStore:
    """The objects, and the effect of requests on them.

    Attributes:
        slices: The slices by name.
        drops_taints: Whether the server drops taints, as API servers do before Kubernetes 1.36.
        writes: The requests that have changed a slice, as method and name.
    """

    def __init__(self) -> None:
        self.slices: dict[str, Object] = {}
        self.claims: dict[str, Object] = {}
        self.drops_taints = False
        self.writes: list[tuple[str, str]] = []
        self._version = 100
        self._events: list[Object] = []
        self._changed = asyncio.Event()

    def allocate(self, uid: str, *devices: str, driver: str = "stub.dphub.dev", **extra: Any) -> Object:  # noqa: ANN401 - JSON
        """Create a claim in the namespace `team`, whose name and request are derived from the uid."""
        results = [
            {"request": "main", "driver": driver, "pool": "node-1", "device": device, **extra} for device in devices
        ]
        claim = {
            "metadata": {"name": f"claim-{uid}", "namespace": "team", "uid": uid},
            "status": {
                "allocation": {"devices": {"results": results}},
                "reservedFor": [{"resource": "pods", "name": f"pod-{uid}", "uid": f"pod-{uid}"}],
            },
        }
        self.claims[CLAIMS.format(namespace="team", name=f"claim-{uid}")] = claim
        return claim

    @property
    def devices(self) -> list[str]:
        """The names of all published devices, in order."""
        return [each["name"] for name in sorted(self.slices) for each in self.slices[name]["spec"]["devices"]]

    def taints(self) -> dict[str, list[tuple[str, str]]]:
        """Return the taints of the devices that have any, as key and value."""
        devices = [each for content in self.slices.values() for each in content["spec"]["devices"]]
        return {
            each["name"]: [(taint["key"], taint["value"]) for taint in each["taints"]]
            for each in devices
            if each.get("taints")
        }

    def remove(self, name: str) -> None:
        """Delete a slice, as a kubelet does when it starts."""
        self._emit("DELETED", self.slices.pop(name))

    def request(self, method: str, path: str, body: Any = None) -> tuple[int, Object]:  # noqa: ANN401 - JSON
        """Answer a request without a query."""
        if method == "GET" and path == SLICES:
            version = {"resourceVersion": str(self._version)}
            return 200, {"items": copy.deepcopy(list(self.slices.values())), "metadata": version}
        if method == "GET" and path in self.claims:
            return 200, self.claims[path]
        if path.startswith(SLICES) and method in ("POST", "PUT", "DELETE"):
            return self._write(method, path.removeprefix(SLICES).lstrip("/"), copy.deepcopy(body))
        return 404, status(404, f"there is no {path}")

    async def watch(self, since: str) -> AsyncGenerator[Object, None]:
        """Yield the events after a version, forever."""
        seen = 0
        while True:
            changed = self._changed
            for event in self._events[seen:]:
                if int(event["object"]["metadata"]["resourceVersion"]) > int(since):
                    yield event
            seen = len(self._events)
            await changed.wait()

    def _write(self, method: str, name: str, body: Object) -> tuple[int, Object]:
        name = name or body["metadata"]["name"]
        known = self.slices.get(name)
        if method == "POST" and known:
            return 409, status(409, "it exists")
        if method != "POST" and not known:
            return 404, status(404, "the object does not exist")
        wanted = (body.get("metadata") or body.get("preconditions") or {}).get("resourceVersion")
        if known and wanted != known["metadata"]["resourceVersion"]:
            return 409, status(409, "the object has changed")
        if method != "DELETE" and (problem := _problem(body)):
            return 422, status(422, problem)
        self.writes.append((method, name))
        if method == "DELETE":
            self.remove(name)
            return 200, status(200, "deleted")
        self._complete(body)
        self.slices[name] = body
        self._emit("MODIFIED" if known else "ADDED", body)
        return 200, copy.deepcopy(body)

    def _complete(self, body: Object) -> None:
        for device in body["spec"]["devices"]:
            if self.drops_taints:
                device.pop("taints", None)
            for taint in device.get("taints", ()):
                taint.setdefault("timeAdded", "2026-01-01T00:00:00Z")

    def _emit(self, kind: str, content: Object) -> None:
        self._version += 1
        content["metadata"] = {"uid": "uid", **content["metadata"], "resourceVersion": str(self._version)}
        self._events.append({"type": kind, "object": copy.deepcopy(content)})
        self._changed.set()
        self._changed = asyncio.Event()


def _problem(body: Mapping[str, Any]) -> str:
    devices = body["spec"]["devices"]
    if len(devices) > (64 if any(each.get("taints") for each in devices) else 128):
        return "too many devices"
    for device in devices:
        if len(device["attributes"]) > 32:
            return f"{device['name']}: too many attributes"
        if any(len(str(each.get("string", ""))) > 64 for each in device["attributes"].values()):
            return f"{device['name']}: a value is too long"
    return ""

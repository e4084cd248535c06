"""Requests to the API server with the token of an agent."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Callable

from tests.cluster.cluster import Object
from tests.cluster.settings import API_SERVER

Send = Callable[[str, str, Object | None], Object]
"""Sends a request as an administrator: method, path and content."""


class AgentAccess:
    """The access that the token of an agent's pod gives.

    Args:
        send: Sends requests as an administrator.
        namespace: The namespace of the pod.
        account: The pod's service account.
        pod: The pod.
        server: The address of the API server.
    """

    def __init__(self, send: Send, namespace: str, account: str, pod: Object, *, server: str = API_SERVER) -> None:
        metadata = pod["metadata"]
        bound = {"kind": "Pod", "apiVersion": "v1", "name": metadata["name"], "uid": metadata["uid"]}
        asked = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"audiences": [], "boundObjectRef": bound},
        }
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
        self._token = send("POST", path, asked)["status"]["token"]
        self._server = server
        # The API server's certificate is self-signed.
        self._context = ssl._create_unverified_context()  # noqa: S323 - see above

    def request(self, method: str, path: str, body: object = None, kind: str = "application/json") -> tuple[int, str]:
        """Send a request, and return the status code and the text of the response."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": kind}
        request = urllib.request.Request(f"{self._server}{path}", data, headers, method=method)  # noqa: S310 - https
        try:
            with urllib.request.urlopen(request, timeout=30, context=self._context) as answer:  # noqa: S310 - as above
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def merge(self, path: str, body: object) -> int:
        """Change an object by a merge patch, and return the status code."""
        return self.request("PATCH", path, body, "application/merge-patch+json")[0]

    def set_condition(self, node: str, kind: str, reason: str) -> int:
        """Write a condition of a node, and return the status code."""
        condition = {"type": kind, "status": "False", "reason": reason}
        body = {"status": {"conditions": [condition]}}
        return self.request("PATCH", f"/api/v1/nodes/{node}/status", body, "application/strategic-merge-patch+json")[0]

    def write_event(self, name: str, regarding: Object, related: Object | None = None, **more: str) -> int:
        """Create an event, and return the status code."""
        event = {
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": "default"},
            "eventTime": "2026-01-01T00:00:00.000000Z",
            "type": "Normal",
            "reason": "DeviceHealthy",
            "action": "HealthCheck",
            "regarding": regarding,
            "reportingController": "dphub.dev/agent",
            "reportingInstance": "test",
            **({"related": related} if related else {}),
            **more,
        }
        return self.request("POST", "/apis/events.k8s.io/v1/namespaces/default/events", event)[0]


def check_another_node(access: AgentAccess, own: str, other: str) -> None:
    """Assert that the token can change its own node, but no other node."""
    assert access.set_condition(own, "Test", "DphubDevicesHealthy") == 200
    assert access.set_condition(other, "Test", "DphubDevicesHealthy") in DENIED
    listed = {"metadata": {"annotations": {"dphub.dev/cordoned": "a"}}}
    assert access.merge(f"/api/v1/nodes/{own}", listed) == 200
    assert access.merge(f"/api/v1/nodes/{other}", listed) in DENIED
    assert access.merge(f"/api/v1/nodes/{other}/status", listed) in DENIED
    assert access.write_event("own.1", {"kind": "Node", "name": own}) == 201
    assert access.write_event("other.1", {"kind": "Node", "name": other}) in DENIED


def check_own_node(access: AgentAccess, own: str) -> None:
    """Assert that the token cannot change what the agent never changes on its own node."""
    path = f"/api/v1/nodes/{own}"
    for body in (
        {"metadata": {"labels": {"example.com/x": "y"}}},
        {"metadata": {"annotations": {"dphub.dev/cordon": "a"}}},
        {"metadata": {"annotations": {"example.com/x": "y"}}},
        {"metadata": {"finalizers": ["example.com/x"]}},
        {"spec": {"unschedulable": True}},
        {"spec": {"providerID": "example://other"}},
        {"spec": {"podCIDR": "192.0.2.0/24", "podCIDRs": ["192.0.2.0/24"]}},
        {"spec": {"taints": [{"key": "example.com/x", "effect": "NoExecute"}]}},
    ):
        assert access.merge(path, body) in DENIED, body
        if "spec" not in body:
            # A request to the status subresource can change the metadata, too.
            assert access.merge(f"{path}/status", body) in DENIED, body
    for status in (
        {"capacity": {"nvidia.com/gpu": "1000"}},
        {"allocatable": {"nvidia.com/gpu": "1000"}},
        {"addresses": [{"type": "InternalIP", "address": "192.0.2.99"}]},
        {"images": [{"names": ["example.com/other"], "sizeBytes": 1}]},
        {"phase": "Terminated"},
        {"runtimeHandlers": [{"name": "other"}]},
        {"volumesAttached": [{"name": "example.com/other", "devicePath": "/dev/sda"}]},
        {"volumesInUse": ["example.com/other"]},
    ):
        assert access.merge(f"{path}/status", {"status": status}) in DENIED, status
    assert access.set_condition(own, "Ready", "KubeletReady") in DENIED
    for kind in ("Ready", "NetworkUnavailable"):
        assert access.set_condition(own, kind, "DphubDevicesHealthy") in DENIED
        # A patch of this kind can add a second condition of the same type, before the first one.
        condition = {"type": kind, "status": "True", "reason": "DphubDevicesHealthy"}
        add = [{"op": "add", "path": "/status/conditions/0", "value": condition}]
        assert access.request("PATCH", f"{path}/status", add, "application/json-patch+json")[0] in DENIED, kind
    assert access.write_event("a.1", {"kind": "Node", "name": own}, reportingController="kubelet") in DENIED
    assert access.write_event("a.2", {"kind": "Pod", "name": "x", "namespace": "default"}) in DENIED
    assert access.write_event("a.3", {"kind": "Service", "name": own, "namespace": "default"}) in DENIED
    for method, forbidden in (
        ("DELETE", path),
        ("GET", "/api/v1/secrets"),
        ("GET", "/api/v1/pods"),
        ("DELETE", "/api/v1/namespaces/default/pods/x"),
    ):
        assert access.request(method, forbidden)[0] == 403, forbidden


DENIED = (403, 422)
"""How the API server denies a request: a missing permission, or a policy."""

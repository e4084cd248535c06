"""What a real kubectl requests from a one-node cluster: the node, its pods and events, and the pages of its hub.

The node and the events come from a fake API server, to which the node's agent writes.
"""

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient
from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

from tests.simulators.apiserver import NODE, FakeApiServer, Object, merge
from tests.simulators.podproxy import NAMESPACE, pod

HUB_POD = "device-plugin-hub-x7k2p"
_VERBS = ["create", "delete", "get", "list", "patch"]


class KubectlServer:
    """A cluster of one node, for kubectl.

    Args:
        api: The API server that the node's agent calls.
        hub: A function that returns the address of the node's hub.
        removed: A function that stops a pod on the node, given its namespace and name.
    """

    def __init__(self, api: FakeApiServer, hub: Callable[[], str], removed: Callable[[str, str], Any]) -> None:
        self.api = api
        self.hub = hub
        self.removed = removed
        self.pods: dict[tuple[str, str], Object] = {}
        self._server = HTTPServer(self._application())
        sockets = bind_sockets(0, "127.0.0.1")
        self.port: int = sockets[0].getsockname()[1]
        self._server.add_sockets(sockets)
        owner = {"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "device-plugin-hub", "controller": True}
        self._add(NAMESPACE, pod(HUB_POD, NODE), ownerReferences=[owner], labels=_LABELS)

    def stop(self) -> None:
        """Stop listening."""
        self._server.stop()

    def add_pod(self, namespace: str, name: str) -> None:
        """Create a pod that has a controller, which would replace a deleted pod elsewhere."""
        self.api.add_pod(namespace, name)
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "controller": True}
        uid = self.api.pods[f"/api/v1/namespaces/{namespace}/pods/{name}"]["metadata"]["uid"]
        self._add(namespace, pod(name, NODE), ownerReferences=[owner], uid=uid)

    def install(self, directory: Path, kubectl: Path) -> dict[str, str]:
        """Install kubectl, and return the variables with which it finds the cluster.

        Commands in a pod are run on this machine, with the caller's variables.
        """
        cluster = {"name": "test", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        context = {"name": "test", "context": {"cluster": "test", "user": ""}}
        config = {"apiVersion": "v1", "kind": "Config", "clusters": [cluster], "contexts": [context]}
        (directory / "kubeconfig").write_text(json.dumps(config | {"current-context": "test"}))
        program = directory / "kubectl"
        program.write_text(_PROGRAM.format(kubectl=shlex.quote(str(kubectl))))
        program.chmod(0o755)
        path = f"{directory}:{Path(sys.executable).parent}:/usr/bin:/bin"
        return {"PATH": path, "KUBECONFIG": str(directory / "kubeconfig"), "HOME": str(directory)}

    def _add(self, namespace: str, made: Object, **metadata: Any) -> None:  # noqa: ANN401 - JSON
        made["metadata"] |= {"namespace": namespace, **metadata}
        made |= {"apiVersion": "v1", "kind": "Pod"}
        self.pods[namespace, made["metadata"]["name"]] = made

    def _application(self) -> Application:
        shared = {"cluster": self}
        name = "([^/:]+)"
        return Application(
            [
                (f"/api/v1/nodes/{name}", _Node, shared),
                (f"/api/v1/namespaces/{name}/pods/{name}/eviction", _Eviction, shared),
                (f"/api/v1/namespaces/{name}/pods/{name}:9880/proxy(/.*)", _Page, shared),
                (f"/api/v1/namespaces/{name}/pods/{name}", _Pod, shared),
                (f"/api/v1(?:/namespaces/{name})?/(pods|events)", _List, shared),
                (f"/apis/apps/v1/namespaces/{name}/daemonsets/{name}", _DaemonSet, shared),
                ("(/.*)", _Discovery, shared),
            ]
        )


_LABELS = {"app.kubernetes.io/name": "device-plugin-hub"}

_PROGRAM = """#!/bin/sh
# Commands in a pod need a container runtime.
for word in "$@"; do
    if [ "$word" = exec ]; then
        while [ "$1" != -- ]; do shift; done
        shift
        exec "$@"
    fi
done
exec {kubectl} "$@"
"""


class _Handler(RequestHandler):
    """A handler of requests about a cluster."""

    def initialize(self, cluster: KubectlServer) -> None:
        self.cluster = cluster

    def answer(self, content: Object) -> None:
        """Answer with JSON."""
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(content))

    def not_found(self, name: str) -> None:
        """Answer that there is no such object."""
        self.set_status(404)
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404,
                     "message": f"{name} not found"})  # fmt: skip

    def query(self, name: str) -> dict[str, str]:
        """Return the conditions of a selector."""
        given = self.get_query_argument(name, "")
        return dict(part.split("=", 1) for part in given.replace("==", "=").split(",") if part)


class _Node(_Handler):
    def get(self, _: str) -> None:
        self.answer(self.cluster.api.node)

    def patch(self, _: str) -> None:
        merge(self.cluster.api.node, json.loads(self.request.body))
        self.cluster.api.touch()
        self.answer(self.cluster.api.node)


class _Pod(_Handler):
    def get(self, namespace: str, name: str) -> None:
        found = self.cluster.pods.get((namespace, name))
        self.answer(found) if found else self.not_found(name)

    async def delete(self, namespace: str, name: str) -> None:
        found = self.cluster.pods.pop((namespace, name))
        await self.cluster.removed(namespace, name)
        self.answer(found)


class _Eviction(_Handler):
    async def post(self, namespace: str, name: str) -> None:
        del self.cluster.pods[namespace, name]
        await self.cluster.removed(namespace, name)
        self.set_status(201)
        self.answer({"kind": "Status", "apiVersion": "v1", "status": "Success"})


class _Page(_Handler):
    async def get(self, _namespace: str, _name: str, page: str) -> None:
        headers = {"Sec-Dphub": self.request.headers.get("Sec-Dphub", "")}
        page = await AsyncHTTPClient().fetch(f"http://{self.cluster.hub()}{page}", headers=headers, raise_error=False)
        self.set_status(page.code)
        self.finish(page.body)


class _List(_Handler):
    def get(self, namespace: str | None, kind: str) -> None:
        wanted = self.query("fieldSelector")
        if kind == "pods":
            items = [each for (where, _), each in self.cluster.pods.items() if namespace in {None, where}]
            items = [each for each in items if self._has_labels(each)]
        else:
            items = [_as_core(each) for each in self.cluster.api.events.values()]
            items = [each for each in items if namespace in {None, each["metadata"]["namespace"]}]
            about = {key.removeprefix("involvedObject."): value for key, value in wanted.items()}
            items = [each for each in items if all(each["involvedObject"].get(k, "") == v for k, v in about.items())]
        self.answer({"apiVersion": "v1", "kind": f"{kind[:-1].title()}List", "metadata": {}, "items": items})

    def _has_labels(self, each: Object) -> bool:
        return bool(self.query("labelSelector").items() <= each["metadata"].get("labels", {}).items())


class _DaemonSet(_Handler):
    def get(self, namespace: str, name: str) -> None:
        metadata = {"name": name, "namespace": namespace}
        self.answer({"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": metadata})


class _Discovery(_Handler):
    """A handler that lists the kinds of objects."""

    def get(self, path: str) -> None:
        groups = ["policy", "apps", "batch"]
        kinds = {
            "/api/v1": [("nodes", "Node"), ("pods", "Pod"), ("events", "Event"), ("pods/eviction", "Eviction")],
            "/apis/apps/v1": [("daemonsets", "DaemonSet")],
            "/apis/batch/v1": [("jobs", "Job")],
            "/apis/policy/v1": [("poddisruptionbudgets", "PodDisruptionBudget")],
        }
        if path == "/api":
            self.answer({"kind": "APIVersions", "versions": ["v1"]})
        elif path == "/apis":
            self.answer({"kind": "APIGroupList", "apiVersion": "v1", "groups": [_group(name) for name in groups]})
        elif path in kinds:
            version = path.removeprefix("/api/").removeprefix("/apis/")
            resources = [_resource(*each) for each in kinds[path]]
            self.answer({"kind": "APIResourceList", "groupVersion": version, "resources": resources})
        else:
            self.not_found(path)


def _group(name: str) -> Object:
    version = {"groupVersion": f"{name}/v1", "version": "v1"}
    return {"name": name, "versions": [version], "preferredVersion": version}


def _resource(name: str, kind: str) -> Object:
    group = {"group": "policy", "version": "v1"} if kind == "Eviction" else {}
    return {"name": name, "kind": kind, "namespaced": kind != "Node", "verbs": _VERBS, "singularName": "", **group}


def _as_core(event: Object) -> Object:
    """Return an event of events.k8s.io in the older format, which kubectl reads."""
    series = event.get("series") or {}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": event["metadata"],
        "involvedObject": event["regarding"],
        "reason": event["reason"],
        "message": event["note"],
        "type": event["type"],
        "eventTime": event["eventTime"],
        "reportingComponent": event["reportingController"],
        "reportingInstance": event["reportingInstance"],
        **({"series": series} if series else {}),
    }

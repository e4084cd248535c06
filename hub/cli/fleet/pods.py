"""The pods of the hubs, as the API server lists them."""

from collections.abc import Iterable
from typing import Annotated, NamedTuple

import msgspec

from hub.base.untrusted import Integer, decode_json

SELECTOR = "app.kubernetes.io/name=device-plugin-hub"
"""The label that the manifests and the chart give to the pods."""

CONTAINER = "hub"

PORT = 9880
"""The port of a hub whose pod does not specify one."""

_Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][-a-z0-9.]*\Z")]
"""Names become part of paths and of command lines."""


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    name: _Name
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


class _Port(msgspec.Struct, frozen=True, rename="camel"):
    container_port: Integer
    name: str = ""


class _Container(msgspec.Struct, frozen=True):
    name: str
    ports: tuple[_Port, ...] = ()


class _Spec(msgspec.Struct, frozen=True, rename="camel"):
    node_name: _Name | None = None
    containers: tuple[_Container, ...] = ()


class _State(msgspec.Struct, frozen=True):
    reason: str = ""


class _States(msgspec.Struct, frozen=True):
    waiting: _State | None = None
    terminated: _State | None = None


class _ContainerStatus(msgspec.Struct, frozen=True):
    name: str
    state: _States = _States()


class _Status(msgspec.Struct, frozen=True, rename="camel"):
    phase: str = ""
    reason: str = ""
    container_statuses: tuple[_ContainerStatus, ...] = ()


class _Pod(msgspec.Struct, frozen=True):
    metadata: _Metadata
    spec: _Spec = _Spec()
    status: _Status = _Status()


class _Pods(msgspec.Struct, frozen=True):
    items: tuple[_Pod, ...] = ()


class HubPod(NamedTuple):
    """The pod of a hub."""

    node: str
    name: str
    created: str
    """The time of creation, in a form that sorts by time."""
    port: int
    not_running: str
    """Why the hub cannot be queried; empty if its container runs."""


def decode_pods(answer: bytes) -> list[HubPod]:
    """Read the API server's list of pods; those that are not yet assigned to a node are left out.

    Raises:
        UnreadableError: the response is not such a list.
    """
    found = decode_json(answer, _Pods, "the API server's list of pods").items
    return [_hub_pod(pod.spec.node_name, pod) for pod in found if pod.spec.node_name]


def by_node(pods: Iterable[HubPod]) -> dict[str, list[HubPod]]:
    """Group pods by node, the newest of each node first; nodes are sorted by name."""
    groups: dict[str, list[HubPod]] = {}
    for pod in sorted(pods, key=lambda pod: pod.created, reverse=True):
        groups.setdefault(pod.node, []).append(pod)
    return dict(sorted(groups.items()))


def _hub_pod(node: str, pod: _Pod) -> HubPod:
    containers = [each for each in pod.spec.containers if each.name == CONTAINER]
    ports = [port.container_port for each in containers for port in each.ports if port.name == "http"]
    port = ports[0] if ports else PORT
    return HubPod(node, pod.metadata.name, pod.metadata.creation_timestamp, port, _why_not_running(pod))


def _why_not_running(pod: _Pod) -> str:
    for each in pod.status.container_statuses:
        if each.name != CONTAINER:
            continue
        if each.state.waiting:
            return f"its container is waiting: {each.state.waiting.reason}".removesuffix(": ")
        if each.state.terminated:
            return f"its container has terminated: {each.state.terminated.reason}".removesuffix(": ")
    if pod.status.phase == "Running":
        return ""
    # An evicted pod stays in the list, with the reason.
    return f"it is {pod.status.phase.lower() or 'unknown'}: {pod.status.reason}".removesuffix(": ")

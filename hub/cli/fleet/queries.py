"""Queries the hubs of all nodes at once, each with a time limit.

Hubs are queried through the API server, which needs permission to get `pods/proxy`. If the API server cannot reach
the pods, for example because of a network policy, or the user lacks that permission, hubs are queried with
`kubectl exec`, which takes more time and needs permission to create `pods/exec`.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar
from urllib.parse import quote

import msgspec

from hub.base.errors import HubError
from hub.base.untrusted import MAX_STATE, UnreadableError, decode_json
from hub.base.wording import did_you_mean, first_of
from hub.cli.fleet.kubectl import CommandOutput, Kubectl, UnfinishedError
from hub.cli.fleet.pods import HubPod, by_node, decode_pods
from hub.cli.fleet.proxy import Proxy, Response

MAX_ANSWER = 16 << 20
"""The size limit of one hub's response in bytes: the status of 16,384 devices takes 8 MiB."""

LIST_SECONDS = 30.0
"""The time limit for the list of pods, which takes seconds in a large cluster."""

EXEC_PARALLEL = 8
"""Maximum number of `kubectl exec` at a time: each takes 0.05 s of CPU time here, and 0.1 s on the node."""

PROBE = "/opt/dphub/bin/dphub-probe"
"""The program in the image that queries the hub; the manifests name it, too."""

_HOPELESS = 8
"""The number of failures without a response after which the proxy is not tried for the other hubs."""

_NOT_FOUND = 404
_OK = 200
_FORBIDDEN = 403
_UNAUTHORIZED = 401
_LONGEST = 300

_MISSING = re.compile(r'cannot (\w+) resource "([^"]+)"')
_LACKING = "you lack permission to"

T = TypeVar("T")


class NodeAnswer(NamedTuple, Generic[T]):
    """What the hub of one node answered."""

    node: str
    pod: str
    value: T | None
    reason: str
    """Why there is no response; empty if there is one."""


class Answers(NamedTuple, Generic[T]):
    """What all hubs answered, in node order."""

    nodes: list[NodeAnswer[T]]

    @property
    def values(self) -> list[tuple[str, T]]:
        """The responses, each with its node."""
        return [(each.node, each.value) for each in self.nodes if each.value is not None]

    @property
    def unanswered(self) -> list[NodeAnswer[T]]:
        """The nodes whose hub did not answer."""
        return [each for each in self.nodes if each.value is None]


class _Refused(Exception):
    """A hub did not answer; the text says why."""

    def __init__(self, reason: str, *, is_final: bool = False) -> None:
        super().__init__(reason)
        self.is_final = is_final
        """Whether the hub would not answer a different kind of request either."""


class Fleet:
    """The hubs of a cluster.

    Args:
        kubectl: The user's kubectl.
        proxy: Its proxy.
        selector: The label selector of the hubs' pods.
        timeout: The seconds for one response.
        parallel: The maximum number of hubs that are queried at a time.
    """

    def __init__(self, kubectl: Kubectl, proxy: Proxy, *, selector: str, timeout: float, parallel: int) -> None:
        self._kubectl = kubectl
        self._proxy = proxy
        self._selector = selector
        self._timeout = timeout
        self._parallel = parallel
        self._pods = f"/api/v1/namespaces/{kubectl.namespace}/pods"

    def pods(self, nodes: Sequence[str] = ()) -> dict[str, list[HubPod]]:
        """List the hubs' pods by node, the newest first.

        Args:
            nodes: The nodes whose pods to list; all if it is empty.

        Raises:
            HubError: the API server does not list the pods, there is none, or one of these nodes has none.
        """
        # With resourceVersion=0, the API server answers from its cache, which costs it little.
        query = f"?labelSelector={quote(self._selector)}&resourceVersion=0"
        try:
            response = self._proxy.get(f"{self._pods}{query}", timeout=LIST_SECONDS, max_bytes=MAX_STATE)
        except UnfinishedError as error:
            raise HubError(f"the cluster {error}") from None
        if response.code != _OK:
            raise HubError(_why_no_list(response, self._kubectl.namespace))
        found = by_node(decode_pods(response.body))
        if not found:
            namespace = self._kubectl.namespace
            listed = f"kubectl get pods --all-namespaces --selector {self._selector} lists those of all namespaces"
            raise HubError(f"there is no hub in the namespace {namespace}; name another one with -n; {listed}")
        for node in nodes:
            if node not in found:
                meant = did_you_mean(node, found)
                raise HubError(f"there is no hub on node {node} in the namespace {self._kubectl.namespace}{meant}")
        return {node: pods for node, pods in found.items() if not nodes or node in nodes}

    def query(
        self, page: str, kind: type[T], nodes: Sequence[str] = (), best: Callable[[T], object] = lambda _: 0
    ) -> Answers[T]:
        """Query the hubs for one of their pages.

        Args:
            page: The path of the page.
            kind: The type of its content.
            nodes: The nodes to query; all if it is empty.
            best: Rates a response. If several hubs on a node answer, the response with the highest rating is used; if
                all are equal, that of the newest pod.

        Raises:
            HubError: as for `pods`; or no hub can be queried, because the user lacks the permission.
        """
        groups = self.pods(nodes)
        running = [pod for pods in groups.values() for pod in pods if not pod.not_running]
        found = self._query_all(running, page, kind)
        if found and all(isinstance(each, _Refused) and str(each).startswith(_LACKING) for each in found.values()):
            # The reason is the same for all nodes, so one line is enough.
            raise HubError(str(found[running[0].name]))
        return Answers([_answer_of(node, pods, found, best) for node, pods in groups.items()])

    def _query_all(self, pods: Sequence[HubPod], page: str, kind: type[T]) -> dict[str, T | _Refused]:
        answered = 0
        failures: list[_Refused] = []

        def through_proxy(pod: HubPod) -> T | _Refused:
            nonlocal answered
            if len(failures) >= _HOPELESS and not answered:
                # The cause is not limited to a single node.
                return failures[-1]
            try:
                value = self._through_proxy(pod, page, kind)
            except _Refused as error:
                failures.append(error)
                return error
            answered += 1
            return value

        def with_exec(pod: HubPod) -> T | _Refused:
            try:
                return self._with_exec(pod, page, kind)
            except _Refused as error:
                return error

        found = _in_parallel(through_proxy, pods, self._parallel)
        again = [pod for pod in pods if _is_worth_another_way(found[pod.name], answered)]
        for name, value in _in_parallel(with_exec, again, min(EXEC_PARALLEL, self._parallel)).items():
            first = found[name]
            # The first reason is about the usual way, which the user can fix, or get permission to use.
            found[name] = _Refused(f"{first}; {value}") if isinstance(value, _Refused) else value
        return found

    def _through_proxy(self, pod: HubPod, page: str, kind: type[T]) -> T:
        path = f"{self._pods}/{pod.name}:{pod.port}/proxy{page}"
        try:
            response = self._proxy.get(path, timeout=self._timeout, max_bytes=MAX_ANSWER)
        except UnfinishedError as error:
            raise _Refused(str(error)) from None
        if response.code == _OK:
            return _decoded(response.body, kind)
        reason = _reason(response)
        if response.code == _FORBIDDEN:
            reason = _missing_permission(reason, self._kubectl.namespace) or reason
        raise _Refused(reason, is_final=response.code == _NOT_FOUND and "not found" in reason)

    def _with_exec(self, pod: HubPod, page: str, kind: type[T]) -> T:
        command = (PROBE, page)
        try:
            finished = self._kubectl.exec_in(pod.name, command, timeout=self._timeout, max_bytes=MAX_ANSWER)
        except UnfinishedError as error:
            raise _Refused(f"kubectl exec: {error}") from None
        if finished.code == 0:
            return _decoded(finished.output, kind)
        raise _Refused(f"kubectl exec: {_why_exec_failed(finished, self._kubectl.namespace)}")


def _in_parallel(
    query: Callable[[HubPod], T | _Refused], pods: Sequence[HubPod], parallel: int
) -> dict[str, T | _Refused]:
    workers = ThreadPoolExecutor(max(1, min(parallel, len(pods))))
    try:
        answers = list(workers.map(query, pods))
    finally:
        # If the user interrupts this, running queries end with the proxy, or within their time limit.
        workers.shutdown(wait=False, cancel_futures=True)
    return {pod.name: answer for pod, answer in zip(pods, answers, strict=True)}


def _is_worth_another_way(answer: object, answered: int) -> bool:
    """Return whether to query a hub with `kubectl exec`: not if it took too long while others answered."""
    if not isinstance(answer, _Refused) or answer.is_final:
        return False
    return not (answered and str(answer).startswith("did not answer within"))


def _answer_of(
    node: str, pods: Iterable[HubPod], found: dict[str, T | _Refused], best: Callable[[T], object]
) -> NodeAnswer[T]:
    answers: list[tuple[str, T]] = []
    reasons: dict[str, str] = {}
    for pod in pods:
        answer = found.get(pod.name)
        if isinstance(answer, _Refused):
            reasons[pod.name] = str(answer)
        elif answer is None:
            reasons[pod.name] = pod.not_running
        else:
            answers.append((pod.name, answer))
    if answers:
        # If several are equal, this is the first of them: that of the newest pod.
        name, value = max(answers, key=lambda each: best(each[1]))  # type: ignore[arg-type,return-value] # comparable
        return NodeAnswer(node, name, value, "")
    name, reason = next(iter(reasons.items()))
    return NodeAnswer(node, name, None, f"pod {name}: {reason}")


def _decoded(content: bytes, kind: type[T]) -> T:
    try:
        return decode_json(content, kind, "answer")
    except UnreadableError as error:
        reason = f"sent a response that this version of dphub does not understand: {error.problem}"
        raise _Refused(reason[:_LONGEST], is_final=True) from None


class _ApiStatus(msgspec.Struct, frozen=True):
    """An error from the API server."""

    message: str = ""


def _reason(response: Response) -> str:
    """Return the first line of an error."""
    try:
        text = decode_json(response.body, _ApiStatus, "error").message
    except UnreadableError:
        text = response.body[: 4 * _LONGEST].decode(errors="replace")
    line = text.strip().partition("\n")[0][:_LONGEST]
    return line or f"HTTP status {response.code}"


def _missing_permission(reason: str, namespace: str) -> str:
    """Name the permission that a user lacks; empty if the reason is a different one."""
    found = _MISSING.search(reason)
    return f"{_LACKING} {found[1]} {found[2]} in the namespace {namespace}" if found else ""


def _why_no_list(response: Response, namespace: str) -> str:
    reason = _reason(response)
    if response.code == _UNAUTHORIZED:
        return f"the cluster does not accept your credentials: {reason}"
    if response.code == _FORBIDDEN:
        return _missing_permission(reason, namespace) or f"the list of pods was refused: {reason}"
    return f"the cluster does not answer: {reason}; kubectl cluster-info shows which cluster it is"


def _why_exec_failed(finished: CommandOutput, namespace: str) -> str:
    if missing := _missing_permission(finished.errors, namespace):
        return missing
    printed = finished.output[: 4 * _LONGEST].decode(errors="replace")
    lines = [line for line in (*printed.splitlines(), *finished.errors.splitlines()) if line.strip()]
    return first_of([line[:_LONGEST] for line in lines], 1) if lines else f"exit code {finished.code}"

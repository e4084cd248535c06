"""How all hubs are queried, and what follows from their responses, tested in this process."""

import pytest
from msgspec.structs import replace

from hub.base.errors import HubError
from hub.cli.fleet.filters import serving
from hub.cli.fleet.queries import PROBE
from hub.model.node import Condition, NodeStatus
from hub.model.plugin import DeviceStatus
from tests.simulators.podproxy import Answer, Scenario, forbidden, pod
from tests.unit.cli.fleet.fleet_setup import encoded, fleet_of, status, three_nodes

UNREACHABLE = Answer('{"kind": "Status", "message": "error trying to reach service: i/o timeout"}', 503)
NO_EXEC = Answer('Error: pods "x" is forbidden: User "me" cannot create resource "pods/exec" in API group ""', 1)
NODES = 40


def _many(answer: Answer) -> Scenario:
    """Create a cluster in which each hub gives the same response."""
    pods = [pod(f"hub-{number}", f"node-{number}") for number in range(NODES)]
    return Scenario(pods=pods, pages={f"hub-{number} /status": answer for number in range(NODES)})


def _with_exec(scenario: Scenario, answer: Answer) -> Scenario:
    """Give commands in pods this response; a success has the exit code 0."""
    scenario.execs = {f"hub-{number} /status": replace(answer, code=answer.code % 200) for number in range(NODES)}
    return scenario


def test_each_node_has_an_answer_or_a_reason() -> None:
    """A problem on one node does not affect the others; a pod that does not run says why."""
    fleet, _, _ = fleet_of(three_nodes())
    found = fleet.query("/status", NodeStatus)
    assert [node for node, _ in found.values] == ["node-a", "node-b"]
    (unanswered,) = found.unanswered
    assert (unanswered.node, unanswered.reason) == ("node-c", "pod hub-c: its container is waiting: ImagePullBackOff")


@pytest.mark.parametrize(("old", "new"), [(Condition.REGISTERED, Condition.STANDBY), (Condition.REGISTERED, None)])
def test_during_an_upgrade_the_hub_that_serves_counts(old: Condition, new: Condition | None) -> None:
    """While the new pod is starting, the old one counts."""
    scenario = Scenario(
        pods=[
            pod("old", "node", created="2026-01-01T00:00:00Z"),
            pod("new", "node", created="2026-01-02T00:00:00Z", waiting="" if new else "ContainerCreating"),
        ],
        pages={"old /status": encoded(status(condition=old))},
    )
    if new:
        scenario.pages["new /status"] = encoded(status(condition=new, started=2))
    fleet, _, _ = fleet_of(scenario)
    (answer,) = fleet.query("/status", NodeStatus, (), serving).nodes
    assert (answer.pod, answer.reason) == ("old", "")


def test_after_a_handover_the_new_hub_counts() -> None:
    """The old one says that it is superseded."""
    scenario = Scenario(
        pods=[pod("old", "node", created="2026-01-01T00:00:00Z"), pod("new", "node", created="2026-01-02T00:00:00Z")],
        pages={
            "old /status": encoded(status(condition=Condition.SUPERSEDED)),
            "new /status": encoded(status(started=2)),
        },
    )
    fleet, _, _ = fleet_of(scenario)
    (answer,) = fleet.query("/status", NodeStatus, (), serving).nodes
    assert answer.pod == "new"


def test_without_the_proxy_the_hubs_are_queried_with_exec() -> None:
    """With a network policy, for example, not every hub has to fail before the others are queried with kubectl exec."""
    fleet, proxy, kubectl = fleet_of(_with_exec(_many(UNREACHABLE), encoded(status())))
    found = fleet.query("/status", NodeStatus)
    assert (len(found.values), found.unanswered) == (NODES, [])
    assert len(proxy.requests) < 10
    assert kubectl.commands[0] == ["hub-0", PROBE, "/status"]  # type: ignore[attr-defined]


def test_both_reasons_are_named() -> None:
    """The error says why the API server did not reach the pod, and why the command did not run."""
    fleet, _, _ = fleet_of(_many(UNREACHABLE))
    reason = fleet.query("/status", NodeStatus).unanswered[0].reason
    assert "error trying to reach service: i/o timeout" in reason
    assert "kubectl exec: error: unable to upgrade connection" in reason


def test_a_hub_that_hangs_is_queried_once() -> None:
    """Where other hubs answer, trying another way to query this one would only take longer."""
    scenario = _with_exec(_many(encoded(status())), encoded(status()))
    scenario.pages["hub-7 /status"] = Answer(mode="hang")
    fleet, _, kubectl = fleet_of(scenario)
    (unanswered,) = fleet.query("/status", NodeStatus).unanswered
    assert unanswered.reason == "pod hub-7: did not answer within 5 s"
    assert kubectl.commands == []  # type: ignore[attr-defined]


def test_a_missing_permission_is_named() -> None:
    """One line for the whole cluster names the permission and the namespace."""
    fleet, _, _ = fleet_of(_with_exec(_many(forbidden("pods/proxy")), NO_EXEC))
    with pytest.raises(HubError) as error:
        fleet.query("/status", NodeStatus)
    assert str(error.value) == (
        "you lack permission to get pods/proxy in the namespace device-plugin-hub; "
        "kubectl exec: you lack permission to create pods/exec in the namespace device-plugin-hub"
    )


def test_without_permission_for_the_proxy_the_other_permission_is_enough() -> None:
    """A user who may run commands in the pods sees everything."""
    fleet, _, _ = fleet_of(_with_exec(_many(forbidden("pods/proxy")), encoded(status())))
    assert len(fleet.query("/status", NodeStatus).values) == NODES


@pytest.mark.parametrize(
    "body", ["", "nonsense", "[]", '{"schema": 1}', "[" * 100_000, '{"time": 1e999}', '{"node": "\\ud800"}']
)
def test_an_invalid_answer_affects_only_its_node(body: str) -> None:
    """It says so, briefly, and all others are shown."""
    scenario = three_nodes()
    scenario.pages["hub-a /status"] = Answer(body)
    fleet, _, _ = fleet_of(scenario)
    found = fleet.query("/status", NodeStatus)
    assert [node for node, _ in found.values] == ["node-b"]
    reason = found.unanswered[0].reason
    assert "sent a response that this version of dphub does not understand" in reason
    assert len(reason) < 400


@pytest.mark.parametrize(
    ("listed", "reason"),
    [
        (forbidden("pods", "list"), "you lack permission to list pods in the namespace device-plugin-hub"),
        (Answer("Unauthorized", 401), "the cluster does not accept your credentials: Unauthorized"),
        (Answer("dial tcp: connection refused", 502), "the cluster does not answer: dial tcp: connection refused"),
        (Answer(mode="hang"), "the cluster did not answer within 30 s"),
        (Answer("nonsense"), "the API server's list of pods: "),
        (Answer('{"items": [{"metadata": {"name": "../x"}}]}'), "the API server's list of pods: "),
        (Answer('{"items": []}'), "there is no hub in the namespace device-plugin-hub; name another one with -n"),
    ],
)
def test_why_the_pods_cannot_be_listed(listed: Answer, reason: str) -> None:
    """The error says that a permission is missing, that no cluster answers, or that there is no hub."""
    fleet, _, _ = fleet_of(Scenario(listed=listed))
    with pytest.raises(HubError) as error:
        fleet.query("/status", NodeStatus)
    assert str(error.value).startswith(reason)


def test_a_misspelled_node() -> None:
    """The error suggests the right name."""
    fleet, _, _ = fleet_of(three_nodes())
    with pytest.raises(HubError, match=r"there is no hub on node node-bb .* did you mean node-b"):
        fleet.query("/status", NodeStatus, ["node-bb"])


def test_only_the_named_nodes_are_queried() -> None:
    """The other hubs get no request."""
    fleet, proxy, _ = fleet_of(three_nodes())
    assert [node for node, _ in fleet.query("/status", NodeStatus, ["node-b"]).values] == ["node-b"]
    assert [path for path in proxy.requests if "hub-a" in path] == []


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x?", "-a", "A"])
def test_a_namespace_is_a_name(name: str) -> None:
    """It becomes part of a path, so nothing else is accepted."""
    with pytest.raises(HubError, match="is not the name of a namespace"):
        type(fleet_of(Scenario())[2])(name)


def test_devices_of_thousands_of_nodes_are_listed_by_node() -> None:
    """They are sorted by node name, whichever node answers first."""
    scenario = _many(encoded(status(DeviceStatus("GPU-1", healthy=True))))
    fleet, _, _ = fleet_of(scenario, parallel=8)
    nodes = [node for node, _ in fleet.query("/status", NodeStatus).values]
    assert nodes == sorted(nodes)

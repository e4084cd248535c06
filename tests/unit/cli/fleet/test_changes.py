"""Commands that `kubectl dphub` runs in the pod of one node's hub, tested in this process."""

import pytest
from msgspec.structs import replace

from hub.cli.fleet import changes
from hub.model.node import Condition
from tests.simulators.podproxy import Answer, Scenario, pod
from tests.unit.cli.fleet.fleet_setup import MemoryKubectl, dphub, encoded, status, three_nodes


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Return the list to which each command in a pod is added."""
    found: list[list[str]] = []
    run = MemoryKubectl.exec_in

    def keep(self: MemoryKubectl, pod: str, command: list[str], **limits: float) -> object:
        found.append([pod, *command])
        return run(self, pod, command, **limits)  # type: ignore[arg-type]

    monkeypatch.setattr(MemoryKubectl, "exec_in", keep)
    return found


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["cordon", "node-b", "GPU-2"], ["cordon", "--", "GPU-2"]),
        (["cordon", "node-b", "GPU-2", "--reason", "a b"], ["cordon", "--reason", "a b", "--", "GPU-2"]),
        (["uncordon", "node-b", "GPU-2", "--plugin", "gpu"], ["uncordon", "--plugin", "gpu", "--", "GPU-2"]),
        (["restart", "node-b", "gpu"], ["restart", "--", "gpu"]),
        # What looks like an option is a name, on the node as well.
        (["cordon", "node-b", "--", "--help"], ["cordon", "--", "--help"]),
    ],
)
@pytest.mark.parametrize("code", [0, 1, 2])
def test_a_command_runs_on_the_node(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]], words: list[str], command: list[str], code: int
) -> None:
    """The same words run in the pod of that node; its output and exit code are passed on."""
    scenario = three_nodes()
    scenario.execs[f"hub-b {' '.join(command)}"] = Answer("gpu: \x1b[2Jdone\nand more", code)
    result = dphub(monkeypatch, scenario, *words)
    assert commands == [["hub-b", "dphub", *command]]
    assert (result.exit_code, result.output) == (code, "gpu: \ufffd[2Jdone\nand more\n")


def test_during_an_upgrade_the_hub_that_serves_gets_the_command(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    """The new one, which is not serving yet, would reject it."""
    scenario = Scenario(
        pods=[pod("old", "node", created="2026-01-01T00:00:00Z"), pod("new", "node", created="2026-01-02T00:00:00Z")],
        pages={"old /status": encoded(status()), "new /status": encoded(status(condition=Condition.STANDBY))},
    )
    dphub(monkeypatch, scenario, "restart", "node", "gpu")
    assert [pod for pod, *_ in commands] == ["old"]


def _served_by(service: str, condition: Condition = Condition.SUPERSEDED) -> Answer:
    """Create the response from a hub on a node on which a service runs."""
    answer = status(condition=condition)
    return encoded(replace(answer, hub=replace(answer.hub, service=service)))


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["cordon", "node", "GPU-2", "--reason", "a b"], ["cordon", "{}", "--reason", "a b", "--", "GPU-2"]),
        (["uncordon", "node", "--", "--help"], ["uncordon", "{}", "--", "--help"]),
        (["restart", "node", "gpu"], ["restart", "{}", "--", "gpu"]),
    ],
)
def test_where_the_nodes_service_runs_it_gets_the_command(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]], words: list[str], command: list[str]
) -> None:
    """The hub in the pod serves nothing, so it would refuse the command or restart the wrong plugin."""
    scenario = Scenario(pods=[pod("one", "node")], pages={"one /status": _served_by("dphub")})
    dphub(monkeypatch, scenario, *words)
    expected = " ".join(["one dphub", *command]).format("--instance dphub")
    assert [" ".join(each) for each in commands] == [expected]


@pytest.mark.parametrize("service", ["hub", "", "--run-dir=/x"])
def test_without_another_service_the_hub_in_the_pod_gets_the_command(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]], service: str
) -> None:
    """The service is that hub itself, there is none, or its name is not a hub's."""
    scenario = Scenario(pods=[pod("one", "node")], pages={"one /status": _served_by(service)})
    dphub(monkeypatch, scenario, "restart", "node", "gpu")
    assert commands == [["one", "dphub", "restart", "--", "gpu"]]


def test_during_an_upgrade_the_nodes_service_gets_the_command(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    """Either pod can pass it on: both share its run directory."""
    scenario = Scenario(
        pods=[pod("old", "node", created="2026-01-01T00:00:00Z"), pod("new", "node", created="2026-01-02T00:00:00Z")],
        pages={"old /status": _served_by("dphub"), "new /status": _served_by("dphub")},
    )
    dphub(monkeypatch, scenario, "restart", "node", "gpu")
    assert [words for _, *words in commands] == [["dphub", "restart", "--instance", "dphub", "--", "gpu"]]


def test_a_hub_that_cannot_be_queried_gets_the_command(
    monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]
) -> None:
    """It may have no HTTP server, for example, which its commands do not need."""
    scenario = Scenario(pods=[pod("one", "node")], pages={"one /status": Answer("error trying to reach service", 503)})
    dphub(monkeypatch, scenario, "restart", "node", "gpu")
    assert commands[-1] == ["one", "dphub", "restart", "--", "gpu"]


def test_a_node_whose_hub_does_not_run(monkeypatch: pytest.MonkeyPatch, commands: list[list[str]]) -> None:
    """The error says why, and nothing is done."""
    result = dphub(monkeypatch, three_nodes(), "restart", "node-c", "gpu")
    assert "node-c: pod hub-c: its container is waiting: ImagePullBackOff" in str(result.exception)
    assert commands == []


def test_an_outcome_that_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command may have done something before the connection hung, and the error says so."""

    def hang(*_: object, **__: object) -> None:
        raise changes.UnfinishedError("did not answer within 90 s")

    monkeypatch.setattr(MemoryKubectl, "exec_in", hang)
    result = dphub(monkeypatch, three_nodes(), "cordon", "node-b", "GPU-2")
    assert "did not answer within 90 s; its outcome is unknown" in str(result.exception)

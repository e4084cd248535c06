"""A cluster in the memory of a test, in place of kubectl and the API server."""

import json
from collections.abc import Sequence

import msgspec
import pytest
from click.testing import CliRunner, Result

from hub.cli.fleet import cli, options
from hub.cli.fleet.kubectl import CommandOutput, Kubectl, UnfinishedError
from hub.cli.fleet.proxy import Response
from hub.cli.fleet.queries import Fleet
from hub.model.history import Allocation, NodeHistory
from hub.model.hub import HubReport, ProcessReport, RunState
from hub.model.node import Condition, HubStatus, NodeStatus, PluginStatus, Problem, Severity
from hub.model.plugin import DeviceStatus, PluginReport, RegistrationStatus, ResourceStatus
from tests.simulators.podproxy import NAMESPACE, Answer, Scenario, find, pod

GPU = "nvidia.com/gpu"


def status(
    *devices: DeviceStatus,
    condition: Condition = Condition.REGISTERED,
    problems: Sequence[Problem] = (),
    started: float = 1,
) -> NodeStatus:
    """Create the status of a node with one plugin."""
    resource = ResourceStatus(GPU, "s", RegistrationStatus.REGISTERED, 1, devices=devices, capacity=len(devices))
    plugin = PluginStatus(
        name="gpu",
        condition=condition,
        message="",
        last_heartbeat=1,
        log_level="info",
        memory=1,
        process=ProcessReport("gpu", RunState.RUNNING, 1),
        report=PluginReport("gpu", 1, resources=(resource,)),
    )
    report = HubReport("0.1.0", 1, started, "hub", "", "", "")
    return NodeStatus(
        time=1,
        node="any",
        ok=not problems,
        ready=True,
        problems=tuple(problems),
        hub=HubStatus(running=True, unresponsive=False, last_heartbeat=1, memory=1, report=report),
        plugins=(plugin,),
    )


def encoded(document: object) -> Answer:
    """Create a response with this document as its body."""
    return Answer(msgspec.json.encode(document).decode())


BROKEN = Problem(Severity.WARNING, "gpu", f"1 of 2 {GPU} devices is unhealthy (GPU-2): XID 79", "dphub uncordon GPU-2")


def three_nodes() -> Scenario:
    """Create a cluster: a node in use, one with a problem, and one whose hub does not start."""
    used = DeviceStatus("GPU-1", healthy=True, holder="team-a/train/main")
    other = DeviceStatus("GPU-0", healthy=True, holder="team-b/infer/main")
    bad = DeviceStatus("GPU-2", healthy=False, health="unhealthy", source="broken", reason="XID 79")
    cordoned = DeviceStatus("GPU-3", healthy=False, health="unhealthy", source="cordon", reason="cordoned")
    past = NodeHistory({"gpu": (Allocation(GPU, "GPU-1", "team-a/train/main", 1000, 1060),)}, {"ib": "unreadable"})
    latest = NodeHistory({"gpu": (Allocation(GPU, "GPU-2", "team-b/infer/main", 2000),)})
    return Scenario(
        pods=[pod("hub-a", "node-a"), pod("hub-b", "node-b"), pod("hub-c", "node-c", waiting="ImagePullBackOff")],
        pages={
            "hub-a /status": encoded(status(used, other)),
            "hub-b /status": encoded(status(bad, cordoned, problems=[BROKEN])),
            "hub-a /history": encoded(past),
            "hub-b /history": encoded(latest),
        },
    )


class MemoryProxy:
    """A proxy that answers requests from a scenario at once; what would hang counts as timed out.

    Args:
        scenario: The scenario.
    """

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.requests: list[str] = []

    def get(self, path: str, *, timeout: float, max_bytes: int) -> Response:
        """Return a response."""
        self.requests.append(path)
        answer = find(self._scenario, path, {"sec-dphub": "1"})
        if answer.mode == "hang":
            raise UnfinishedError(f"did not answer within {timeout:g} s")
        assert len(answer.body) <= max_bytes
        return Response(answer.code, answer.body.encode())

    def close(self) -> None:
        """Do nothing."""


class MemoryKubectl(Kubectl):
    """A kubectl that runs commands in the pods of a scenario."""

    def attach(self, scenario: Scenario) -> "MemoryKubectl":
        """Set the scenario; the class is frozen."""
        object.__setattr__(self, "scenario", scenario)
        object.__setattr__(self, "commands", [])
        return self

    def exec_in(self, pod: str, command: Sequence[str], **_limits: float) -> CommandOutput:  # type: ignore[override]
        """Return what a command prints."""
        self.commands.append([pod, *command])  # type: ignore[attr-defined]
        answer = self.scenario.execs.get(f"{pod} {' '.join(command[1:])}")  # type: ignore[attr-defined]
        if answer is None:
            return CommandOutput(1, b"", "error: unable to upgrade connection")
        return CommandOutput(
            answer.code, b"" if answer.code else answer.body.encode(), answer.body if answer.code else ""
        )


def fleet_of(scenario: Scenario, parallel: int = 1) -> tuple[Fleet, MemoryProxy, MemoryKubectl]:
    """Connect to a cluster in memory."""
    proxy, kubectl = MemoryProxy(scenario), MemoryKubectl(NAMESPACE).attach(scenario)
    return Fleet(kubectl, proxy, selector="a=b", timeout=5, parallel=parallel), proxy, kubectl  # type: ignore[arg-type]


def dphub(monkeypatch: pytest.MonkeyPatch, scenario: Scenario, *words: str) -> Result:
    """Run a command of `kubectl dphub` in this process, on a wide terminal."""
    monkeypatch.setattr(options, "Proxy", lambda _: MemoryProxy(scenario))
    monkeypatch.setattr(options, "Kubectl", lambda *_: MemoryKubectl(NAMESPACE).attach(scenario))
    return CliRunner(env={"COLUMNS": "200", "TZ": "UTC"}).invoke(cli, words)


def lines(result: Result) -> list[dict[str, object]]:
    """Return the JSON objects that a command printed."""
    return [json.loads(line) for line in result.stdout.splitlines()]

"""What the commands of `kubectl dphub` show of a cluster, tested in this process."""

import random
from collections.abc import Sequence

import click
import msgspec
import pytest

from hub.cli.fleet import cli, lists
from hub.cli.fleet.proxy import Response
from hub.model.history import Allocation, NodeHistory
from hub.model.node import Problem, Severity
from hub.model.plugin import DeviceStatus
from tests.simulators.podproxy import Answer, Scenario, find, pod
from tests.unit.cli.fleet.fleet_setup import BROKEN, GPU, MemoryProxy, dphub, encoded, lines, status, three_nodes

ODD = ["\x1b[2J", "\x9b31m", "\u202e", "\n", "\r", "\x07", "\x00", "[red]", "a", "ü"]


def test_status_lists_what_needs_attention_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes without a response come first, then those with problems; the exit code says that some need attention."""
    result = dphub(monkeypatch, three_nodes(), "status")
    heading, _, _, _, *rows = result.output.splitlines()
    assert heading == "3 nodes, 1 without a response; 2 of 4 devices healthy, 2 used"
    assert [row.split()[0] for row in rows] == ["node-c", "node-b", "node-a"]
    assert "no response" in rows[0]
    assert "its container is waiting: ImagePullBackOff" in rows[0]
    assert rows[1].split()[1:5] == ["warning", "0", "of", "2"]
    assert rows[2].split()[1:6] == ["ok", "2", "of", "2", "2"]
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("words", "devices"),
    [
        ([], ["GPU-1", "GPU-0", "GPU-2", "GPU-3"]),
        (["--health", "unhealthy"], ["GPU-2"]),
        (["--health", "cordoned"], ["GPU-3"]),
        (["--health", "healthy", "--pod-namespace", "team-b"], ["GPU-0"]),
        (["--resource", GPU, "--node", "node-b"], ["GPU-2", "GPU-3"]),
        (["--resource", "other/resource"], []),
        (["--node", "node-a", "--node", "node-b", "--pod-namespace", "team-a"], ["GPU-1"]),
    ],
)
def test_filters(monkeypatch: pytest.MonkeyPatch, words: list[str], devices: list[str]) -> None:
    """Each leaves out all other devices, in JSON and on a terminal; if combined, they all apply."""
    found = lines(dphub(monkeypatch, three_nodes(), "devices", *words, "--json"))
    assert [row["id"] for row in found] == devices
    shown = dphub(monkeypatch, three_nodes(), "devices", *words).stdout
    assert [device for device in ("GPU-1", "GPU-0", "GPU-2", "GPU-3") if device in shown] == devices


def test_a_line_in_json_is_the_hubs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """It also has the node, the plugin and the resource, which the device does not name."""
    (row,) = lines(dphub(monkeypatch, three_nodes(), "devices", "--health", "unhealthy", "--json"))
    device = DeviceStatus("GPU-2", healthy=False, health="unhealthy", source="broken", reason="XID 79")
    assert row == {"node": "node-b", "plugin": "gpu", "resource": GPU} | msgspec.to_builtins(device)


def test_status_in_json_has_every_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node that did not answer is included, with the reason."""
    found = {row["node"]: row for row in lines(dphub(monkeypatch, three_nodes(), "status", "--json"))}
    assert found.keys() == {"node-a", "node-b", "node-c"}
    assert (found["node-c"]["status"], found["node-a"]["error"]) == (None, "")
    assert "ImagePullBackOff" in str(found["node-c"]["error"])


@pytest.mark.parametrize("words", [["devices"], ["problems"], ["holders"], ["history"]])
@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_node_without_an_answer_is_one_line(
    monkeypatch: pytest.MonkeyPatch, words: list[str], form: list[str]
) -> None:
    """The line is on standard error, so it is never taken for a device; the exit code says that data is missing."""
    result = dphub(monkeypatch, three_nodes(), *words, *form)
    assert result.exit_code == 1
    assert "node-c did not answer: pod hub-c: its container is waiting: ImagePullBackOff" in result.stderr.splitlines()
    assert "node-c" not in result.stdout


def test_problems_name_the_command_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the hub says about a command on the node becomes a command that can be typed here; JSON has the original."""
    result = dphub(monkeypatch, three_nodes(), "problems")
    assert "→ kubectl dphub uncordon node-b GPU-2" in result.stdout
    (row,) = lines(dphub(monkeypatch, three_nodes(), "problems", "--json"))
    assert (row["node"], row["severity"], row["remedy"]) == ("node-b", "warning", "dphub uncordon GPU-2")
    none = dphub(monkeypatch, three_nodes(), "problems", "--resource", "other/resource")
    assert "No problems found." in none.stdout


def test_nothing_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit code is 0 if all nodes answered and nothing needs attention; a note is not a problem."""
    note = Problem(Severity.INFO, "gpu", "stopped")
    scenario = Scenario(pods=[pod("hub-a", "node-a")], pages={"hub-a /status": encoded(status(problems=[note]))})
    for words in (["status"], ["problems"], ["devices"], ["holders"]):
        assert dphub(monkeypatch, scenario, *words).exit_code == 0, words


def test_holders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list has each container with its node and its devices."""
    rows = lines(dphub(monkeypatch, three_nodes(), "holders", "--pod-namespace", "team-a", "--json"))
    assert rows == [{"node": "node-a", "container": "team-a/train/main", "resource": GPU, "devices": ["GPU-1"]}]
    shown = dphub(monkeypatch, three_nodes(), "holders").stdout
    assert shown.index("team-a/train/main") < shown.index("team-b/infer/main")


def test_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """The latest of all nodes come first; a history that cannot be read is named, and the exit code says so."""
    result = dphub(monkeypatch, three_nodes(), "history", "--node", "node-a", "--node", "node-b", "--json")
    assert [(row["node"], row["device"]) for row in lines(result)] == [("node-b", "GPU-2"), ("node-a", "GPU-1")]
    assert result.stderr == "node-a: Incomplete: the history of ib cannot be read: unreadable\n"
    assert result.exit_code == 1
    one = dphub(monkeypatch, three_nodes(), "history", "--node", "node-b", "--node", "node-a", "--lines", "1")
    assert ("GPU-2" in one.stdout, "GPU-1" in one.stdout, "in use" in one.stdout) == (True, False, True)


@pytest.mark.parametrize(
    "words",
    [["status"], ["devices"], ["problems"], ["holders"], ["history"], ["status", "--json"], ["devices", "--json"]],
)
def test_text_from_nodes_is_printable(monkeypatch: pytest.MonkeyPatch, words: Sequence[str]) -> None:
    """Whatever a hub returns, control characters and changes in writing direction are not printed."""
    seed = random.randrange(2**32)  # noqa: S311 - not a secret
    print(f"seed {seed}")  # noqa: T201 - so that a failure can be repeated
    rng = random.Random(seed)  # noqa: S311 - not a secret

    def odd() -> str:
        return "x" + "".join(rng.choices(ODD, k=8))

    def container() -> str:
        return f"{odd()}/{odd()}/{odd()}"

    for _ in range(10):
        device = DeviceStatus(odd(), healthy=False, reason=odd(), health=odd(), holder=container(), source=odd())
        problem = Problem(Severity.ERROR, odd(), odd(), odd())
        past = NodeHistory({odd(): (Allocation(odd(), odd(), container(), 1),)}, {odd(): odd()})
        scenario = Scenario(
            pods=[pod("hub-a", "node-a"), pod("hub-b", "node-b")],
            pages={
                "hub-a /status": encoded(status(device, problems=[problem])),
                "hub-a /history": encoded(past),
                "hub-b /status": Answer(odd(), 500),
                "hub-b /history": Answer(odd(), 500),
            },
            execs={"hub-b /status": Answer(odd(), 1), "hub-b /history": Answer(odd(), 1)},
        )
        printed = dphub(monkeypatch, scenario, *words).output
        assert {character for character in printed if character != "\n" and not character.isprintable()} == set()
        assert "x" in printed


def test_json_and_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """They cannot be combined, as with the commands on a node."""
    result = dphub(monkeypatch, three_nodes(), "devices", "--json", "--watch")
    assert (result.exit_code, "cannot be combined" in result.stderr) == (2, True)


def test_watch_queries_once_a_round(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt ends it at any time; the exit code reflects the last round that was shown."""
    scenario = Scenario(pods=[pod("hub-a", "node-a")], pages={"hub-a /status": encoded(status())})
    asked: list[str] = []
    rounds = iter([status(problems=[BROKEN]), status()])

    def answer(_: object, path: str, **_limits: float) -> Response:
        asked.append(path)
        if path.endswith("/status"):
            try:
                scenario.pages["hub-a /status"] = encoded(next(rounds))
            except StopIteration:
                raise KeyboardInterrupt from None
        found = find(scenario, path, {})
        return Response(found.code, found.body.encode())

    monkeypatch.setattr(MemoryProxy, "get", answer)
    monkeypatch.setattr(lists, "WATCH_SECONDS", 0)
    result = dphub(monkeypatch, scenario, "status", "--watch")
    assert result.exit_code == 0
    assert len([path for path in asked if path.endswith("/status")]) == 3
    assert result.output.count("1 node") == 2


@pytest.mark.parametrize("name", cli.commands)
def test_every_example_can_be_typed(name: str) -> None:
    """Its command, options and arguments exist."""
    import shlex  # noqa: PLC0415 - used here only

    command = cli.commands[name]
    examples = (command.epilog or "").splitlines()[2:]
    assert examples
    for line in examples:
        _, _, typed, *words = shlex.split(line.partition("|")[0])
        assert typed == name
        command.make_context(name, words, parent=click.Context(cli, **cli.context_settings))

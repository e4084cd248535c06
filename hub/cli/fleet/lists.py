"""`kubectl dphub status`, `devices`, `problems`, `holders` and `history`: lists over all nodes."""

import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

import click
import msgspec

from hub.base.exits import Exit
from hub.cli.fleet import options
from hub.cli.fleet.filters import Filter, allocations, holders, serving
from hub.cli.fleet.options import Target
from hub.cli.fleet.queries import Answers, Fleet
from hub.cli.options import lines_option
from hub.cli.render.text import echo, echo_json, examples
from hub.model.history import NodeHistory
from hub.model.node import NodeStatus, Problem, Severity

if TYPE_CHECKING:
    from rich.console import RenderableType

WATCH_SECONDS = 5.0
"""Seconds between rounds; each queries all hubs."""

Row = dict[str, object]
T = TypeVar("T")


@click.command(
    epilog=examples(
        "kubectl dphub status", "kubectl dphub status --health unhealthy", "kubectl dphub status --json | jq .node"
    )
)
@options.json_option("Print one JSON object for each node.")
@options.watch_option
@options.node_option
@options.resource_option
@options.health_option
@options.pod_namespace_option
@options.cluster_options
def status(
    nodes: Sequence[str],
    resource: str,
    health: str | None,
    pod_namespace: str,
    *,
    as_json: bool,
    watch: bool,
    target: Target,
) -> None:
    """Show one line for each node: its devices, and its worst problem. Nodes with problems come first.

    The filters select nodes with matching devices, and only these devices are counted. Nodes that do not answer are
    always listed.

    The exit code is 0 when all nodes answered and nothing needs attention, 1 when a node did not answer or something
    needs attention, and 2 when nothing could be shown.
    """
    wanted = Filter(health or "", resource, pod_namespace)

    def rows(found: Answers[NodeStatus]) -> Iterable[Row]:
        for each in found.nodes:
            if each.value is None or wanted.matches_all or wanted.devices(each.value):
                yield {"node": each.node, "pod": each.pod, "error": each.reason, "status": each.value}

    def screen(found: Answers[NodeStatus]) -> "RenderableType":
        from hub.cli.render.fleet import status_screen  # noqa: PLC0415 - JSON does not need the terminal library

        return status_screen(found, wanted)

    answers = _show(target, _statuses(nodes), rows, screen, as_json=as_json, watch=watch, lists_unanswered=True)
    _exit(answers, [problem for _, status in answers.values for problem in status.problems])


@click.command(
    epilog=examples(
        "kubectl dphub devices --resource nvidia.com/gpu --health unhealthy",
        "kubectl dphub devices --node node-1 --json | jq .id",
    )
)
@options.json_option("Print one JSON object for each device.")
@options.watch_option
@options.node_option
@options.resource_option
@options.health_option
@options.pod_namespace_option
@options.cluster_options
def devices(
    nodes: Sequence[str],
    resource: str,
    health: str | None,
    pod_namespace: str,
    *,
    as_json: bool,
    watch: bool,
    target: Target,
) -> None:
    """Show every device of all nodes, and the container that uses it.

    The exit code is 1 when a node did not answer.
    """
    wanted = Filter(health or "", resource, pod_namespace)

    def rows(found: Answers[NodeStatus]) -> Iterable[Row]:
        for node, status in found.values:
            for known in wanted.devices(status):
                fields: Row = msgspec.to_builtins(known.device)
                yield {"node": node, "plugin": known.plugin, "resource": known.resource} | fields

    def screen(found: Answers[NodeStatus]) -> "RenderableType":
        from hub.cli.render.fleet import devices_screen  # noqa: PLC0415 - as above

        return devices_screen([(node, known) for node, status in found.values for known in wanted.devices(status)])

    _exit(_show(target, _statuses(nodes), rows, screen, as_json=as_json, watch=watch))


@click.command(epilog=examples("kubectl dphub problems", "kubectl dphub problems --resource nvidia.com/gpu"))
@options.json_option("Print one JSON object for each problem.")
@options.watch_option
@options.node_option
@options.resource_option
@options.cluster_options
def problems(nodes: Sequence[str], resource: str, *, as_json: bool, watch: bool, target: Target) -> None:
    """Show the problems of all nodes, each with the command that fixes it; the worst come first.

    With --resource, show only the problems of the plugins that have the resource.

    The exit code is 0 when all nodes answered and nothing needs attention, 1 when a node did not answer or something
    needs attention, and 2 when nothing could be shown.
    """
    wanted = Filter(resource=resource)

    def listed(found: Answers[NodeStatus]) -> list[tuple[str, Problem]]:
        known = [(node, problem) for node, status in found.values for problem in wanted.problems(status)]
        return sorted(known, key=lambda each: list(Severity).index(each[1].severity))

    def rows(found: Answers[NodeStatus]) -> Iterable[Row]:
        return ({"node": node} | msgspec.to_builtins(problem) for node, problem in listed(found))

    def screen(found: Answers[NodeStatus]) -> "RenderableType":
        from hub.cli.render.fleet import problems_screen  # noqa: PLC0415 - as above

        return problems_screen(listed(found))

    answers = _show(target, _statuses(nodes), rows, screen, as_json=as_json, watch=watch)
    _exit(answers, [problem for _, problem in listed(answers)])


@click.command("holders", epilog=examples("kubectl dphub holders", "kubectl dphub holders --pod-namespace team-a"))
@options.json_option("Print one JSON object for each container and resource.")
@options.watch_option
@options.node_option
@options.resource_option
@options.health_option
@options.pod_namespace_option
@options.cluster_options
def list_holders(
    nodes: Sequence[str],
    resource: str,
    health: str | None,
    pod_namespace: str,
    *,
    as_json: bool,
    watch: bool,
    target: Target,
) -> None:
    """Show every container that uses devices, with its node and its devices.

    A container may still be listed for 30 seconds after it has exited.

    The exit code is 1 when a node did not answer.
    """
    wanted = Filter(health or "", resource, pod_namespace)

    def rows(found: Answers[NodeStatus]) -> Iterable[Row]:
        return (each._asdict() for each in holders(found.values, wanted))

    def screen(found: Answers[NodeStatus]) -> "RenderableType":
        from hub.cli.render.fleet import holders_screen  # noqa: PLC0415 - as above

        return holders_screen(holders(found.values, wanted))

    _exit(_show(target, _statuses(nodes), rows, screen, as_json=as_json, watch=watch))


@click.command(
    epilog=examples("kubectl dphub history --pod-namespace team-a", "kubectl dphub history --lines 0 --json")
)
# -n is the namespace here, as in kubectl.
@lines_option("Show the latest N allocations; 0 shows all.", "--lines")
@options.json_option("Print one JSON object for each allocation.")
@options.node_option
@options.resource_option
@options.pod_namespace_option
@options.cluster_options
def history(
    nodes: Sequence[str], resource: str, pod_namespace: str, lines: int, *, as_json: bool, target: Target
) -> None:
    """Show which containers used which devices on all nodes, from when to when; the latest come first.

    The exit code is 1 when a node did not answer, or a history cannot be read.
    """
    wanted = Filter(resource=resource, namespace=pod_namespace)

    def rows(found: Answers[NodeHistory]) -> Iterable[Row]:
        for each in allocations(found.values, wanted)[: lines or None]:
            fields: Row = msgspec.to_builtins(each.allocation)
            yield {"node": each.node, "plugin": each.plugin} | fields

    def screen(found: Answers[NodeHistory]) -> "RenderableType":
        from hub.cli.render.fleet import history_screen  # noqa: PLC0415 - as above

        return history_screen(allocations(found.values, wanted)[: lines or None])

    def query(fleet: Fleet) -> Answers[NodeHistory]:
        return fleet.query("/history", NodeHistory, nodes)

    answers = _show(target, query, rows, screen, as_json=as_json, watch=False)
    unreadable = [(node, *each) for node, known in answers.values for each in known.unreadable.items()]
    for node, plugin, reason in unreadable:
        echo(f"{node}: Incomplete: the history of {plugin} cannot be read: {reason}", error=True)
    sys.exit(Exit.FAILED if answers.unanswered or unreadable else Exit.OK)


def _statuses(nodes: Sequence[str]) -> Callable[[Fleet], Answers[NodeStatus]]:
    return lambda fleet: fleet.query("/status", NodeStatus, nodes, serving)


def _show(
    target: Target,
    query: Callable[[Fleet], Answers[T]],
    rows: Callable[[Answers[T]], Iterable[Row]],
    screen: Callable[[Answers[T]], "RenderableType"],
    *,
    as_json: bool,
    watch: bool,
    lists_unanswered: bool = False,
) -> Answers[T]:
    """Query the hubs, print what they answered and which nodes did not answer, and return their last responses.

    Args:
        target: The hubs.
        query: A function that queries them.
        rows: A function that makes the JSON objects.
        screen: A function that makes the output for a terminal.
        as_json: Whether to print JSON.
        watch: Whether to repeat until interrupted.
        lists_unanswered: Whether the screen lists the nodes that did not answer.
    """
    if as_json and watch:
        raise click.UsageError("--json prints once and cannot be combined with --watch")
    with target.fleet() as fleet:
        latest = query(fleet)
        if as_json:
            for row in rows(latest):
                echo_json(row, pretty=False)
        else:
            from hub.cli.render.fleet import with_unanswered  # noqa: PLC0415 - JSON does not need the terminal library
            from hub.cli.render.live import show  # noqa: PLC0415 - as above

            rounds = chain([latest], iter(lambda: query(fleet), None))

            def render() -> "RenderableType":
                nonlocal latest
                latest = next(rounds)
                return screen(latest) if lists_unanswered or not watch else with_unanswered(screen(latest), latest)

            show(render, watch=watch, every=WATCH_SECONDS)
    if as_json or not lists_unanswered:
        for each in latest.unanswered:
            echo(f"{each.node} did not answer: {each.reason}", error=True)
    return latest


def _exit(answers: Answers[NodeStatus], found: Sequence[Problem] = ()) -> None:
    fine = not answers.unanswered and all(problem.severity is Severity.INFO for problem in found)
    sys.exit(Exit.OK if fine else Exit.FAILED)

"""`kubectl dphub cordon`, `uncordon` and `restart`: commands that run in the pod of one node's hub."""

import sys
from collections.abc import Sequence

import click

from hub.base.errors import HubError
from hub.base.exits import Exit
from hub.base.paths import INSTANCE_NAME
from hub.cli.fleet import options
from hub.cli.fleet.filters import serving
from hub.cli.fleet.kubectl import UnfinishedError
from hub.cli.fleet.options import Target
from hub.cli.render.text import echo, examples
from hub.model.node import NodeStatus

LIMIT = 90.0
"""Seconds for a command in a pod; each command gives up on its own after 60."""

_plugin = click.option("--plugin", help="The device's plugin, if several plugins have a device of that name.")


@click.command(epilog=examples('kubectl dphub cordon node-1 GPU-5ad2e0cd --reason "the fan is loud"'))
@click.argument("node")
@click.argument("device")
@click.option("--reason", default="", help="The reason, which the status shows.")
@_plugin
@options.cluster_options
def cordon(node: str, device: str, reason: str, plugin: str | None, target: Target) -> None:
    """Mark DEVICE on NODE unschedulable, as dphub cordon does on the node."""
    _run(target, node, ["cordon", *_of(plugin), *(["--reason", reason] if reason else []), "--", device])


@click.command(epilog=examples("kubectl dphub uncordon node-1 GPU-5ad2e0cd"))
@click.argument("node")
@click.argument("device")
@_plugin
@options.cluster_options
def uncordon(node: str, device: str, plugin: str | None, target: Target) -> None:
    """Make DEVICE on NODE schedulable again, as dphub uncordon does on the node."""
    _run(target, node, ["uncordon", *_of(plugin), "--", device])


@click.command(epilog=examples("kubectl dphub restart node-1 gpu"))
@click.argument("node")
@click.argument("plugin")
@options.cluster_options
def restart(node: str, plugin: str, target: Target) -> None:
    """Restart PLUGIN on NODE, as dphub restart does on the node; the other plugins keep running."""
    _run(target, node, ["restart", "--", plugin])


def _of(plugin: str | None) -> list[str]:
    return [] if plugin is None else ["--plugin", plugin]


def _run(target: Target, node: str, words: Sequence[str]) -> None:
    """Run a dphub command in the pod of the hub that serves a node, print its output, and exit with its code."""
    pod, instance = _addressed(target, node)
    if instance:
        # This option comes before everything that the user typed.
        words = [words[0], "--instance", instance, *words[1:]]
    try:
        finished = target.kubectl.exec_in(pod, ["dphub", *words], timeout=LIMIT)
    except UnfinishedError as error:
        raise HubError(f"{node}: the command in pod {pod} {error}; its outcome is unknown") from None
    if finished.output:
        echo(finished.output.decode(errors="replace"))
    if finished.errors:
        echo(finished.errors, error=True)
    known = {code.value for code in (Exit.OK, Exit.FAILED, Exit.USAGE)}
    sys.exit(finished.code if finished.code in known else Exit.FAILED)


def _addressed(target: Target, node: str) -> tuple[str, str]:
    """Find the pod of the hub that serves a node, and the name of the hub to address in it.

    The name is empty for the pod's own hub, which commands in the pod address by default. While the node's service is
    running, the pod's own hub serves nothing.
    """
    with target.fleet() as fleet:
        (pods,) = fleet.pods([node]).values()
        running = [pod for pod in pods if not pod.not_running]
        if not running:
            raise HubError(f"{node}: pod {pods[0].name}: {pods[0].not_running}")
        (answer,) = fleet.query("/status", NodeStatus, [node], serving).nodes
    if answer.value is None:
        # A hub that cannot be queried may still accept commands.
        return running[0].name, ""
    hub = answer.value.hub
    is_other = hub.service != hub.report.instance and INSTANCE_NAME.fullmatch(hub.service)
    return answer.pod, hub.service if is_other else ""

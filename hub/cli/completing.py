"""Completes plugins, resources, devices and pods in a shell, from the files in the run directory.

A shell requests completions while the user types, so nothing slow is read, and errors are not shown.
"""

from collections.abc import Callable, Iterable, Iterator

import click
from click.shell_completion import CompletionItem

from hub.base.errors import HubError
from hub.base.printable import printable
from hub.cli.target import hub_of
from hub.model.node import NodeStatus
from hub.model.plugin import CORDON_SOURCES
from hub.status.lookup import KnownDevice, known_devices

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]

_EXPANDED = set('$`"\\!')
"""Characters that a shell would interpret even in double quotes."""

_RELEASABLE = CORDON_SOURCES | {"flapping", "broken"}
"""The sources of faults that `dphub uncordon` clears."""


def _completing(find: Callable[[NodeStatus, str], Iterable[tuple[str, str]]]) -> Complete:
    """Return a function that completes names, each with a description; zsh shows it, fish only up to a comma."""

    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem[str]]:
        try:
            found = dict(find(hub_of(context).status(), begun))
        except (HubError, OSError):
            # There is no hub, or this user may not read its files: a shell cannot show that.
            return []
        # A shell prints names and descriptions as they are, and control characters cannot be typed.
        fitting = {name: text for name, text in found.items() if name.startswith(begun) and _is_plain(name)}
        return [CompletionItem(name, help=printable(text)) for name, text in fitting.items()]

    return complete


def _is_plain(name: str) -> bool:
    return name.isprintable() and not _EXPANDED.intersection(name)


def _plugins(status: NodeStatus, _begun: str = "") -> Iterator[tuple[str, str]]:
    for plugin in status.plugins:
        yield plugin.name, f"plugin {plugin.condition}"


def _resources(status: NodeStatus) -> Iterator[tuple[str, str]]:
    for plugin in status.plugins:
        for resource in plugin.report.resources:
            yield resource.name, f"resource {resource.allocatable} of {resource.capacity} healthy"


def _devices(status: NodeStatus, begun: str) -> Iterator[tuple[str, str]]:
    for known in known_devices(status):
        yield _best_name(known, begun), f"{known.resource} {known.device.health}"


def _pods(status: NodeStatus) -> Iterator[tuple[str, str]]:
    for known in known_devices(status):
        if known.device.holder:
            yield known.device.holder.rpartition("/")[0], f"pod that uses {known.resource}"


def _releasable(status: NodeStatus, begun: str) -> Iterator[tuple[str, str]]:
    cordons = {(plugin.name, key): reason for plugin in status.plugins for key, reason in plugin.report.cordons.items()}
    for known in known_devices(status):
        cordoned = cordons.pop(known.key, "")
        if cordoned or known.device.source in _RELEASABLE:
            yield _best_name(known, begun), cordoned or known.device.reason
    # Devices that are currently absent.
    yield from ((key, reason) for (_, key), reason in cordons.items())


def _best_name(known: KnownDevice, begun: str) -> str:
    """Choose the name that the user has begun to type, or else the one that commands print."""
    best, *others = known.names
    if " " in best:
        # Other devices have the same id.
        others.remove(known.device.id)
    # Every device also has a name "RESOURCE ID", which is offered only once the user has typed the space.
    fitting = (name for name in others if begun and name.startswith(begun) and (" " not in name or " " in begun))
    return best if best.startswith(begun) else next(fitting, best)


plugins = _completing(_plugins)
devices = _completing(_devices)
releasable = _completing(_releasable)
used = _completing(lambda status, begun: [*_devices(status, begun), *_pods(status)])
everything = _completing(lambda status, begun: [*_plugins(status), *_resources(status), *_devices(status, begun)])

plugin_option = click.option(
    "--plugin", shell_complete=plugins, help="The device's plugin, if several plugins have a device of that name."
)
"""The option of a command about one device."""

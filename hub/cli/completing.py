"""What a shell can complete: plugins, resources and devices, from the files in the run directory.

A shell asks while somebody types. So nothing slow is asked, and a mistake shows nothing.
"""

from collections.abc import Callable, Iterable, Iterator

import click
from click.shell_completion import CompletionItem

from hub.cli.node import hub_of
from hub.errors import HubError
from hub.status.finding import KnownDevice, known_devices
from hub.status.model import NodeStatus

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem[str]]]

_RELEASABLE = {"cordon", "flapping", "broken"}
"""Sources of a fault that `dphub uncordon` ends."""


def _completing(find: Callable[[NodeStatus, str], Iterable[tuple[str, str]]]) -> Complete:
    """A completion by names and what is said about each, which zsh and fish show."""

    def complete(context: click.Context, _parameter: click.Parameter, begun: str) -> list[CompletionItem[str]]:
        try:
            found = dict(find(hub_of(context).status(), begun))
        except (HubError, OSError):
            # There is no hub, or this user may not read its files: a shell has no place to say so.
            return []
        return [CompletionItem(name, help=text) for name, text in found.items() if name.startswith(begun)]

    return complete


def _plugins(status: NodeStatus, _begun: str = "") -> Iterator[tuple[str, str]]:
    for plugin in status.plugins:
        yield plugin.name, f"plugin, {plugin.condition}"


def _resources(status: NodeStatus) -> Iterator[tuple[str, str]]:
    for plugin in status.plugins:
        for resource in plugin.resources:
            yield resource.name, f"resource, {resource.healthy} of {resource.total} healthy"


def _devices(status: NodeStatus, begun: str) -> Iterator[tuple[str, str]]:
    for known in known_devices(status):
        yield _best_name(known, begun), f"{known.resource}, {known.device.health}"


def _releasable(status: NodeStatus, begun: str) -> Iterator[tuple[str, str]]:
    for plugin in status.plugins:
        yield from plugin.cordons.items()
    for known in known_devices(status):
        if known.device.source in _RELEASABLE:
            yield _best_name(known, begun), known.device.reason


def _best_name(known: KnownDevice, begun: str) -> str:
    """The name that the user has begun to type; what a command calls the device where none is."""
    # "RESOURCE ID", which every device has, only once its blank is typed.
    fitting = (name for name in known.names if name.startswith(begun) and (" " not in name or " " in begun))
    return next(fitting, known.names[0])


plugins = _completing(_plugins)
devices = _completing(_devices)
releasable = _completing(_releasable)
everything = _completing(lambda status, begun: [*_plugins(status), *_resources(status), *_devices(status, begun)])

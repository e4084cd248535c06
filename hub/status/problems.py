"""What an administrator should know of a node, in words, the worst first."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from hub.state import DeviceState
from hub.status.model import Condition, HubStatus, PluginStatus, Problem, ResourceStatus, Severity

_ORDER = list(Severity)

_FAULTS = {
    Condition.STARTING,
    Condition.SERVING,
    Condition.REFUSED,
    Condition.HANGING,
    Condition.BACKING_OFF,
    Condition.FAILING,
}

_REMEDIES = {
    "cordon": "dphub uncordon {}",
    "flapping": "dphub uncordon {}",
    "broken": "once it is mended: dphub uncordon {}",
}
"""By the source of what is wrong with a device."""

_NAMED = 4


def problems_of(hub: HubStatus, plugins: Sequence[PluginStatus], known: Iterable[Problem] = ()) -> tuple[Problem, ...]:
    """Everything, each thing once.

    Args:
        hub: The hub.
        plugins: Its plugins.
        known: What was found wrong before.
    """
    found = [*_of_hub(hub, plugins), *known]
    if hub.running:
        for plugin in plugins:
            found += _of_plugin(hub, plugin)
    return tuple(sorted(found, key=lambda problem: _ORDER.index(problem.severity)))


def _of_hub(hub: HubStatus, plugins: Sequence[PluginStatus]) -> Iterator[Problem]:
    if not hub.running:
        yield Problem(Severity.FAULT, "hub", "the hub does not run; what is shown is what it last told")
        return
    if hub.config_problem:
        text = f"the last reload was refused, all goes on as before: {hub.config_problem}"
        yield Problem(Severity.DEGRADED, "hub", text, "mend the file, then dphub reload")
    if hub.http_problem:
        remedy = "end who listens there, or give dphub run another --http"
        yield Problem(Severity.DEGRADED, "hub", f"{hub.http_problem}; it is tried again", remedy)
    if not hub.kubelet_since:
        waiting = [plugin.name for plugin in plugins if plugin.condition is Condition.WAITING]
        text = f"there is no kubelet at {hub.plugin_dir}" + (f"; {', '.join(waiting)} wait for it" if waiting else "")
        yield Problem(Severity.DEGRADED, "kubelet", text, "start the kubelet")


def _of_plugin(hub: HubStatus, plugin: PluginStatus) -> Iterator[Problem]:
    about = plugin.name
    said = f": {plugin.text}" if plugin.text else ""
    if plugin.condition in _FAULTS and not (plugin.condition is Condition.SERVING and not plugin.resources):
        remedy = f"dphub logs {about}" if plugin.condition in {Condition.BACKING_OFF, Condition.FAILING} else ""
        yield Problem(Severity.FAULT, about, f"{plugin.condition}{said}", remedy)
    elif plugin.condition is Condition.STOPPED:
        yield Problem(Severity.NOTE, about, "stopped", f"dphub start {about}")
    elif plugin.condition is Condition.WAITING and hub.kubelet_since:
        yield Problem(Severity.DEGRADED, about, f"{plugin.condition}{said}")
    if plugin.reason:
        yield Problem(Severity.DEGRADED if plugin.fault else Severity.NOTE, about, plugin.reason)
    for resource in plugin.resources:
        for problem in resource.problems:
            yield Problem(Severity.DEGRADED, about, f"{resource.name}: {problem}")
        yield from _of_devices(about, resource)
    for excluded in plugin.excluded:
        yield Problem(Severity.NOTE, about, f"{excluded.id} is left out: {excluded.reason}")


def _of_devices(about: str, resource: ResourceStatus) -> Iterator[Problem]:
    """One for all devices that share a reason: where a driver hangs, there may be thousands."""
    for (reason, source), devices in _grouped(device for device in resource.devices if not device.healthy):
        text = f"{_counted(devices, resource)} of {resource.name} not healthy ({_named(devices)}): {reason}"
        keys = dict.fromkeys(device.physical or device.id for device in devices)
        remedy = _REMEDIES.get(source, "").format(next(iter(keys)))
        yield Problem(Severity.NOTE if source == "cordon" else Severity.DEGRADED, about, text, remedy)


def _grouped(devices: Iterable[DeviceState]) -> Iterator[tuple[tuple[str, str], list[DeviceState]]]:
    def key(device: DeviceState) -> tuple[str, str]:
        return device.reason, device.source

    return ((found, list(group)) for found, group in groupby(sorted(devices, key=key), key=key))


def _counted(devices: Sequence[DeviceState], resource: ResourceStatus) -> str:
    return f"{len(devices)} of {resource.total} devices"


def _named(devices: Sequence[DeviceState]) -> str:
    more = len(devices) - _NAMED
    return ", ".join(device.id for device in devices[:_NAMED]) + (f" and {more} more" if more > 0 else "")

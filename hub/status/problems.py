"""What an administrator should know of a node, in words, the worst first."""

import shlex
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence

from hub.base.wording import counted
from hub.model.node import Condition, HubStatus, PluginStatus, Problem, Severity
from hub.model.plugin import DeviceStatus, ExcludedDevice, RegistrationStatus, ResourceStatus

_ORDER = list(Severity)

_FAULTS = {
    Condition.STARTING,
    Condition.REGISTERING,
    Condition.REGISTRATION_FAILED,
    Condition.UNRESPONSIVE,
    Condition.BACKING_OFF,
    Condition.START_FAILED,
}

_IDLE = {Condition.NO_RESOURCES, Condition.STANDBY}
"""Nothing to register, which is an error only where the plugin itself reports one."""

_TOLD_IN_THE_LOG = {
    Condition.STARTING,
    Condition.BACKING_OFF,
    Condition.START_FAILED,
    Condition.REGISTRATION_FAILED,
    *_IDLE,
}

_REMEDIES = {
    "cordon": ("", "dphub uncordon"),
    "flapping": ("", "dphub uncordon"),
    "broken": ("once mended: ", "dphub uncordon"),
    "reset": ("", "dphub reset"),
}
"""By the source of what is wrong with a device: when to do it, and what to do to the device."""

REASONS = 8
"""So many reasons are told one by one, of one resource or of what one plugin leaves out. Where thousands of devices
have a reason each, the devices themselves tell it."""

REFUSED_OF_LATE = 600.0
"""Seconds for which a refusal is told."""

_NAMED = 4
_NO_HUB = "the hub is not running"


def problems_of(hub: HubStatus, plugins: Sequence[PluginStatus], known: Iterable[Problem] = ()) -> tuple[Problem, ...]:
    """Everything, each thing once.

    Args:
        hub: The hub.
        plugins: Its plugins.
        known: What was found wrong before.
    """
    found = [*_of_hub(hub, plugins), *known]
    if hub.running:
        ambiguous = _ambiguous(plugins)
        for plugin in plugins:
            found += _of_plugin(hub, plugin, plugins, ambiguous)
    return tuple(sorted(found, key=lambda problem: _ORDER.index(problem.severity)))


def problems_of_plugin(plugin: str, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Those of one plugin and of what it cannot do without: a plugin is not well under a hub that is dead."""
    return tuple(problem for problem in problems if problem.about in {plugin, "hub", "kubelet"})


def _of_hub(hub: HubStatus, plugins: Sequence[PluginStatus]) -> Iterator[Problem]:
    if not hub.running:
        text = (
            f"the hub shows no life: the event loop of process {hub.report.pid} does not turn"
            if hub.unresponsive
            else _NO_HUB
        )
        start = "start one with dphub run; in a pod, its container ends with it and is restarted"
        remedy = f"end process {hub.report.pid}; in a pod, it is restarted" if hub.unresponsive else start
        yield Problem(Severity.ERROR, "hub", text, remedy)
        return
    if hub.report.config_error:
        text = f"the last reload was refused, all goes on as before: {hub.report.config_error}"
        yield Problem(Severity.WARNING, "hub", text, "mend the file, then dphub reload")
    if hub.report.http_error:
        remedy = "stop the process that listens there, or choose another address with dphub run --http or DPHUB_HTTP"
        yield Problem(Severity.WARNING, "hub", f"{hub.report.http_error}; it is tried again", remedy)
    for part, how in hub.report.failures.items():
        text = f"its {part} has failed of late and was started anew: {how}"
        yield Problem(Severity.WARNING, "hub", text, "dphub logs")
    if not hub.report.kubelet_since:
        waiting = [plugin.name for plugin in plugins if plugin.condition is Condition.WAITING]
        silent = f"nobody answers on {hub.report.plugin_dir}/kubelet.sock, as after a kubelet's sudden death"
        text = silent if hub.report.kubelet_unresponsive else f"there is no kubelet at {hub.report.plugin_dir}"
        text += f"; {', '.join(waiting)} {'waits' if len(waiting) == 1 else 'wait'} for it" if waiting else ""
        yield Problem(Severity.WARNING, "kubelet", text, "start the kubelet")
    elif any(plugin.report.resources and not plugin.report.holders_known for plugin in plugins):
        text = "who holds which device is not known: its pod resources API does not answer"
        yield Problem(Severity.INFO, "kubelet", text)


def _of_plugin(
    hub: HubStatus, plugin: PluginStatus, plugins: Sequence[PluginStatus], ambiguous: Collection[str]
) -> Iterator[Problem]:
    about = plugin.name
    said = f": {plugin.message}" if plugin.message else ""
    idle = plugin.condition in _IDLE
    if plugin.condition in _FAULTS or (idle and plugin.report.fault):
        yield Problem(Severity.ERROR, about, f"{plugin.condition}{said}", _remedy_of_fault(plugin, plugins))
    elif plugin.condition is Condition.STOPPED:
        yield Problem(Severity.INFO, about, "stopped", f"dphub start {about}")
    elif plugin.condition is Condition.WAITING and hub.report.kubelet_since:
        yield Problem(Severity.WARNING, about, f"{plugin.condition}{said}")
    if plugin.report.reason and not (idle and plugin.report.fault):
        yield Problem(Severity.WARNING if plugin.report.fault else Severity.INFO, about, plugin.report.reason)
    for resource in plugin.report.resources:
        yield from _of_resource(plugin, resource)
        yield from _of_devices(about, resource, ambiguous)
    yield from _of_excluded(about, plugin.report.excluded)


def _rivals(plugin: PluginStatus, plugins: Iterable[PluginStatus]) -> list[str]:
    """Other plugins of the hub that offer a resource of the same name."""
    names = {resource.name for resource in plugin.report.resources}
    return [each.name for each in plugins if each is not plugin and names & {one.name for one in each.report.resources}]


def _remedy_of_fault(plugin: PluginStatus, plugins: Iterable[PluginStatus]) -> str:
    if plugin.condition is Condition.REGISTRATION_FAILED and (rivals := _rivals(plugin, plugins)):
        return f"{', '.join(rivals)} of this hub serves the same: take one out of circus.ini, then dphub reload"
    return f"dphub logs {plugin.name}" if plugin.condition in _TOLD_IN_THE_LOG else ""


def _of_resource(plugin: PluginStatus, resource: ResourceStatus) -> Iterator[Problem]:
    about = plugin.name
    for problem in (*resource.problems, *resource.warnings):
        yield Problem(Severity.WARNING, about, f"{resource.name}: {problem}")
    if held := resource.removed_in_use:
        text = _named(f"{name} of {holder}" for name, holder in held.items())
        yield Problem(Severity.WARNING, about, f"{resource.name}: held, and no longer offered: {text}")
    if (refusal := resource.rejection) and time.time() - refusal.time < REFUSED_OF_LATE:
        refused = (
            f"{counted(refusal.count, 'container')} did not get {'its' if refusal.count == 1 else 'their'} devices"
        )
        text = f"{refused} since the plugin started: {refusal.reason}"
        yield Problem(Severity.INFO, about, text)
    never_offered = resource.registration is RegistrationStatus.INVALID
    if not (never_offered or resource.devices or resource.reason or plugin.report.reason):
        yield Problem(Severity.INFO, about, f"{resource.name}: the plugin finds no device for it")


def _of_devices(about: str, resource: ResourceStatus, ambiguous: Collection[str]) -> Iterator[Problem]:
    """One for all devices that share a reason: where a driver hangs, there may be thousands."""
    groups: dict[tuple[bool, str, str], list[DeviceStatus]] = {}
    for device in resource.devices:
        if not device.healthy:
            groups.setdefault((device.source == "cordon", device.source, device.reason), []).append(device)
    worst = sorted(groups.items(), key=lambda group: (group[0][0], -len(group[1])))
    of_all = f"of {counted(resource.capacity, 'device')} of {resource.name} not healthy"
    for (wanted, source, reason), devices in worst[:REASONS]:
        text = f"{len(devices)} {of_all} ({_named(device.id for device in devices)}): {reason}"
        keys = dict.fromkeys(device.physical or _said(resource.name, device.id, ambiguous) for device in devices)
        yield Problem(Severity.INFO if wanted else Severity.WARNING, about, text, _remedy(source, list(keys)))
    if rest := worst[REASONS:]:
        others = [device for _, devices in rest for device in devices]
        text = f"{len(others)} more {of_all} ({_named(device.id for device in others)}), for {_reasons(rest)}"
        wanted = all(key[0] for key, _ in rest)
        yield Problem(
            Severity.INFO if wanted else Severity.WARNING, about, text, f"dphub devices {shlex.quote(resource.name)}"
        )


def _of_excluded(about: str, excluded: Iterable[ExcludedDevice]) -> Iterator[Problem]:
    groups: dict[str, list[str]] = {}
    for each in excluded:
        groups.setdefault(each.reason, []).append(each.id)
    known = list(groups.items())
    for reason, names in known[:REASONS]:
        yield Problem(Severity.INFO, about, f"{_named(names)} {'is' if len(names) == 1 else 'are'} left out: {reason}")
    if rest := known[REASONS:]:
        others = [name for _, names in rest for name in names]
        are = "is" if len(others) == 1 else "are"
        text = f"{len(others)} more {are} left out ({_named(others)}), for {_reasons(rest)}"
        yield Problem(Severity.INFO, about, text, f"dphub status {about} --json")


def _remedy(source: str, keys: Sequence[str]) -> str:
    """What mends devices, one after the other, as a shell takes it."""
    if source not in _REMEDIES:
        return ""
    when, command = _REMEDIES[source]
    more = len(keys) - _NAMED
    said = "; ".join(f"{command} {key}" for key in keys[:_NAMED])
    return f"{when}{said}" + (f"; and {more} more" if more > 0 else "")


def _ambiguous(plugins: Iterable[PluginStatus]) -> set[str]:
    """The ids that more than one resource has, such as the numbers of pools."""
    resources = [resource for plugin in plugins for resource in plugin.report.resources]
    counts = Counter(device.id for resource in resources for device in resource.devices if not device.physical)
    return {name for name, count in counts.items() if count > 1}


def _said(resource: str, name: str, ambiguous: Collection[str]) -> str:
    """How a command calls a device that is no share of another one."""
    return shlex.quote(f"{resource} {name}" if name in ambiguous else name)


def _named(names: Iterable[str]) -> str:
    names = list(names)
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _reasons(groups: Sequence[object]) -> str:
    return f"{len(groups)} other reasons" if len(groups) > 1 else "another reason"

"""What an administrator should know about a node, the worst first."""

import shlex
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from hub.base.wording import counted, first_of
from hub.model.node import Condition, HubStatus, PluginStatus, Problem, Severity
from hub.model.plugin import (
    INTENDED_SOURCES,
    DeviceStatus,
    ExcludedDevice,
    RegistrationStatus,
    ResourceStatus,
    UnmatchedSetting,
)

_ORDER = list(Severity)

_NOT_READY = {
    Condition.STARTING,
    Condition.REGISTERING,
    Condition.REGISTRATION_FAILED,
    Condition.UNRESPONSIVE,
    Condition.BACKING_OFF,
    Condition.START_FAILED,
}

_ERRORS = _NOT_READY | {Condition.FAILING}

_IDLE = {Condition.NO_RESOURCES, Condition.STANDBY}
"""Conditions with nothing to register, which is an error only if the plugin itself reports one."""

_EXPLAINED_IN_LOG = {
    Condition.STARTING,
    Condition.BACKING_OFF,
    Condition.START_FAILED,
    Condition.REGISTRATION_FAILED,
    Condition.FAILING,
    *_IDLE,
}

_REMEDIES = {
    "cordon": ("", "dphub uncordon"),
    "flapping": ("", "dphub uncordon"),
    "broken": ("once repaired: ", "dphub uncordon"),
    "reset": ("", "dphub reset"),
}
"""By the source of a device's fault: when to run a command, and the command, which takes the device."""

REASONS = 8
"""Maximum number of reasons that are listed individually, for one resource or for what one plugin excludes. If
thousands of devices each have a different reason, the list of devices shows them."""

RECENT_SECONDS = 600.0
"""Seconds for which a rejected container is reported."""

_NAMED = 4


def problems_of(hub: HubStatus, plugins: Sequence[PluginStatus], known: Iterable[Problem] = ()) -> tuple[Problem, ...]:
    """List all problems, each once.

    Args:
        hub: The hub.
        plugins: Its plugins.
        known: Problems that were found before.
    """
    found = [*_hub_problems(hub), *known]
    if hub.running:
        found += _kubelet_problems(hub, plugins)
        ambiguous = _ambiguous(plugins)
        for plugin in plugins:
            found += _plugin_problems(hub, plugin, plugins, ambiguous)
    return tuple(sorted(found, key=lambda problem: _ORDER.index(problem.severity)))


def is_ready(hub: HubStatus, plugins: Iterable[PluginStatus]) -> bool:
    """Return whether every plugin is registered, or has a reason not to be that is not an error.

    Failing allocations and resets are errors that do not count. Any pod can trigger them at any time: a user whose
    pods fail could otherwise make hubs unready, and thereby stop the rollout that fixes them.
    """
    return hub.running and all(is_plugin_ready(plugin) for plugin in plugins)


def is_plugin_ready(plugin: PluginStatus) -> bool:
    """Return whether a plugin is registered, or has a reason not to be that is not an error."""
    return plugin.condition not in _NOT_READY and not _is_idle_by_fault(plugin)


def problems_of_plugin(plugin: str, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Select the problems of one plugin and of what it depends on: without a hub no plugin works."""
    return tuple(problem for problem in problems if problem.about in {plugin, "hub", "kubelet"})


def unreachable_problem(pid: int) -> str:
    """Describe a hub that is running but cannot receive commands."""
    return (
        f"the hub is running (process {pid}), but nothing listens on its control socket: it is starting or stopping, "
        "or another process has removed or replaced the socket"
    )


def unreachable_remedy(pid: int) -> str:
    """Return what to do about such a hub."""
    return f"if this persists, stop process {pid} and start the hub again; in a pod, the container then restarts"


def _hub_problems(hub: HubStatus) -> Iterator[Problem]:
    report = hub.report
    if hub.unresponsive:
        message = f"the hub does not respond: the event loop of process {report.pid} is blocked"
        remedy = f"kill process {report.pid}; in a pod, the container then restarts"
        yield Problem(Severity.ERROR, "hub", message, remedy)
    elif not hub.running:
        remedy = "start one with dphub run; in a pod, the container exits with the hub and is restarted"
        yield Problem(Severity.ERROR, "hub", "the hub is not running", remedy)
    if not hub.running:
        return
    if hub.service not in {"", report.instance}:
        message = f"the node's service (hub {hub.service}) serves this node's devices, so this hub does not"
        yield Problem(Severity.INFO, "hub", message, f"dphub status --instance {hub.service}")
    if report.config_error:
        message = f"the last reload was rejected; the previous configuration remains in use: {report.config_error}"
        yield Problem(Severity.WARNING, "hub", message, "fix the file, then dphub reload")
    if report.http_error:
        remedy = "stop the process that listens there, or choose another address with dphub run --http or DPHUB_HTTP"
        yield Problem(Severity.WARNING, "hub", f"{report.http_error}; the hub keeps trying", remedy)
    yield from _task_problems("hub", report.failures, "dphub logs")


def _task_problems(about: str, failures: Mapping[str, str], remedy: str) -> Iterator[Problem]:
    for task, error in failures.items():
        yield Problem(Severity.WARNING, about, f"the task {task!r} failed recently and was restarted: {error}", remedy)


def _kubelet_problems(hub: HubStatus, plugins: Sequence[PluginStatus]) -> Iterator[Problem]:
    report = hub.report
    if not report.kubelet_since:
        waiting = [plugin.name for plugin in plugins if plugin.condition is Condition.WAITING]
        missing = f"there is no kubelet at {report.plugin_dir}"
        silent = f"the kubelet does not answer on {report.plugin_dir}/kubelet.sock; it may have been killed"
        message = silent if report.kubelet_unresponsive else missing
        message += f"; {', '.join(waiting)} {'is' if len(waiting) == 1 else 'are'} waiting for it" if waiting else ""
        yield Problem(Severity.WARNING, "kubelet", message, "start the kubelet")
    elif any(plugin.report.resources and not plugin.report.holders_known for plugin in plugins):
        message = "cannot determine which containers use which devices: the pod resources API is unavailable"
        yield Problem(Severity.INFO, "kubelet", message)


def _plugin_problems(
    hub: HubStatus, plugin: PluginStatus, plugins: Sequence[PluginStatus], ambiguous: Collection[str]
) -> Iterator[Problem]:
    about, report = plugin.name, plugin.report
    message = f"{plugin.condition}: {plugin.message}".removesuffix(": ")
    idle_error = _is_idle_by_fault(plugin)
    if plugin.condition in _ERRORS or idle_error:
        yield Problem(Severity.ERROR, about, message, _remedy_of_error(plugin, plugins))
    elif plugin.condition is Condition.STOPPED and not plugin.is_off:
        yield Problem(Severity.INFO, about, "stopped", f"dphub start {about}")
    elif plugin.condition is Condition.WAITING and hub.report.kubelet_since:
        yield Problem(Severity.WARNING, about, message)
    if report.reason and not idle_error:
        yield Problem(Severity.WARNING if report.fault else Severity.INFO, about, report.reason)
    yield from _task_problems(about, report.failures, f"dphub logs {about}")
    for resource in report.resources:
        yield from _resource_problems(plugin, resource)
        yield from device_problems(about, resource, ambiguous)
    yield from _exclusions(about, report.excluded)
    yield from _unmatched(about, report.unmatched)
    yield from (Problem(Severity.INFO, about, note) for note in report.notes)


def _is_idle_by_fault(plugin: PluginStatus) -> bool:
    return plugin.condition in _IDLE and plugin.report.fault


def _rivals(plugin: PluginStatus, plugins: Iterable[PluginStatus]) -> list[str]:
    """List the other plugins of the hub that offer a resource of the same name."""
    names = {resource.name for resource in plugin.report.resources}
    return [each.name for each in plugins if each is not plugin and names & {one.name for one in each.report.resources}]


def _remedy_of_error(plugin: PluginStatus, plugins: Iterable[PluginStatus]) -> str:
    if plugin.condition is Condition.REGISTRATION_FAILED and (rivals := _rivals(plugin, plugins)):
        serve, surplus = ("serves", "one") if len(rivals) == 1 else ("serve", "all but one")
        names = ", ".join(rivals)
        return (
            f"{names}, in the same hub, {serve} the same resource: remove {surplus} from circus.ini, then dphub reload"
        )
    return f"dphub logs {plugin.name}" if plugin.condition in _EXPLAINED_IN_LOG else ""


def _resource_problems(plugin: PluginStatus, resource: ResourceStatus) -> Iterator[Problem]:
    about = plugin.name
    for problem in (*resource.problems, *resource.warnings):
        yield Problem(Severity.WARNING, about, f"{resource.name}: {problem}")
    if used := resource.removed_in_use:
        named = _named(f"{name} by {holder}" for name, holder in used.items())
        yield Problem(Severity.WARNING, about, f"{resource.name}: removed, but still in use: {named}")
    if (last := resource.rejection) and not resource.failing and time.time() - last.time < RECENT_SECONDS:
        received = "has failed to get its" if last.count == 1 else "have failed to get their"
        since = f"{counted(last.count, 'container')} {received} devices since the plugin started"
        yield Problem(Severity.INFO, about, f"{since}: {last.reason}")
    never_offered = resource.registration is RegistrationStatus.INVALID
    if not (never_offered or resource.devices or resource.reason or plugin.report.reason):
        yield Problem(Severity.INFO, about, f"{resource.name}: the plugin found no device for it")


def device_problems(about: str, resource: ResourceStatus, ambiguous: Collection[str] = ()) -> Iterator[Problem]:
    """Report one problem for all devices with the same reason: if a driver hangs, there may be thousands.

    Args:
        about: The plugin.
        resource: A resource of the plugin.
        ambiguous: Ids that more than one resource has, for the remedies.
    """
    groups: dict[tuple[bool, str, str], list[DeviceStatus]] = {}
    for device in resource.devices:
        if not device.healthy:
            groups.setdefault((device.source in INTENDED_SOURCES, device.source, device.reason), []).append(device)
    worst = sorted(groups.items(), key=lambda group: (group[0][0], -len(group[1])))
    of_all = f"of {counted(resource.capacity, f'{resource.name} device')}"
    for (intended, source, reason), devices in worst[:REASONS]:
        message = f"{len(devices)} {of_all} {_are_unhealthy(devices)}: {reason}"
        keys = dict.fromkeys(device.physical or _argument(resource.name, device.id, ambiguous) for device in devices)
        yield Problem(Severity.INFO if intended else Severity.WARNING, about, message, _remedy(source, list(keys)))
    if rest := worst[REASONS:]:
        others = [device for _, devices in rest for device in devices]
        message = f"{len(others)} more {of_all} {_are_unhealthy(others)}, for {_reasons(rest)}"
        severity = Severity.INFO if all(key[0] for key, _ in rest) else Severity.WARNING
        yield Problem(severity, about, message, f"dphub devices {shlex.quote(resource.name)}")


def _are_unhealthy(devices: Sequence[DeviceStatus]) -> str:
    are = "is unhealthy" if len(devices) == 1 else "are unhealthy"
    return f"{are} ({_named(device.id for device in devices)})"


def _exclusions(about: str, excluded: Iterable[ExcludedDevice]) -> Iterator[Problem]:
    groups: dict[str, list[str]] = {}
    for each in excluded:
        groups.setdefault(each.reason, []).append(each.id)
    known = list(groups.items())
    for reason, names in known[:REASONS]:
        yield Problem(Severity.INFO, about, f"{_named(names)} {'is' if len(names) == 1 else 'are'} excluded: {reason}")
    if rest := known[REASONS:]:
        others = [name for _, names in rest for name in names]
        are = "is" if len(others) == 1 else "are"
        message = f"{len(others)} more {are} excluded ({_named(others)}), for {_reasons(rest)}"
        yield Problem(Severity.INFO, about, message, f"dphub status {about} --json")


def _unmatched(about: str, settings: Sequence[UnmatchedSetting]) -> Iterator[Problem]:
    for each in settings[:REASONS]:
        yield Problem(Severity.INFO, about, str(each))
    if rest := settings[REASONS:]:
        message = f"{counted(len(rest), 'more setting')} without a match"
        yield Problem(Severity.INFO, about, message, f"dphub status {about} --json")


def _remedy(source: str, keys: Sequence[str]) -> str:
    """Write the commands that fix devices, one for each, quoted for a shell."""
    if source not in _REMEDIES:
        return ""
    when, command = _REMEDIES[source]
    more = len(keys) - _NAMED
    commands = "; ".join(f"{command} {key}" for key in keys[:_NAMED])
    return f"{when}{commands}" + (f"; and {more} more" if more > 0 else "")


def _ambiguous(plugins: Iterable[PluginStatus]) -> set[str]:
    """Find the ids that more than one resource has, such as the numbers of pools."""
    resources = [resource for plugin in plugins for resource in plugin.report.resources]
    counts = Counter(device.id for resource in resources for device in resource.devices if not device.physical)
    return {name for name, count in counts.items() if count > 1}


def _argument(resource: str, name: str, ambiguous: Collection[str]) -> str:
    """Write the argument with which a command names a device that is not a share of another one."""
    return shlex.quote(f"{resource} {name}" if name in ambiguous else name)


def _named(names: Iterable[str]) -> str:
    return first_of(list(names), _NAMED)


def _reasons(groups: Sequence[object]) -> str:
    return f"{len(groups)} other reasons" if len(groups) > 1 else "another reason"

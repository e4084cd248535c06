"""Derives a plugin's condition and the reason for it."""

from hub.model.hub import AS_REQUESTED, HubReport, ProcessReport, RunState
from hub.model.node import Condition
from hub.model.plugin import PluginReport, RegistrationStatus, ResourceStatus

_NOT_RUNNING = {
    RunState.STARTING: Condition.STARTING,
    RunState.BACKING_OFF: Condition.BACKING_OFF,
    RunState.START_FAILED: Condition.START_FAILED,
    RunState.STOPPING: Condition.STOPPING,
    RunState.STOPPED: Condition.STOPPED,
}

_REGISTRATIONS = (
    (RegistrationStatus.INVALID, Condition.REGISTRATION_FAILED),
    (RegistrationStatus.REJECTED, Condition.REGISTRATION_FAILED),
    (RegistrationStatus.SOCKET_TAKEN, Condition.REGISTRATION_FAILED),
    (RegistrationStatus.WAITING, Condition.WAITING),
    (RegistrationStatus.REGISTERING, Condition.REGISTERING),
    (RegistrationStatus.SUPERSEDED, Condition.SUPERSEDED),
)
"""From the worst to the best; a plugin with none of them is registered."""


def condition_of(hub: HubReport, process: ProcessReport, report: PluginReport | None) -> tuple[Condition, str]:
    """Derive a plugin's condition, and the reason if there is more to say.

    Args:
        hub: The hub of the plugin.
        process: The plugin's process, as the hub sees it.
        report: What the process reported, if it has reported anything yet.
    """
    if process.run is not RunState.RUNNING:
        return _NOT_RUNNING[process.run], _why_not_running(process)
    if not process.is_hub_plugin:
        return Condition.EXTERNAL, "not one of the hub's plugin processes; its state is unknown"
    if process.unresponsive:
        return Condition.UNRESPONSIVE, process.unresponsive
    if report is None:
        return Condition.STARTING, _previous_exit(process)
    if not report.resources and not report.scanned:
        return Condition.STARTING, report.reason or _previous_exit(process)
    return _registration_condition(hub, report)


def _registration_condition(hub: HubReport, report: PluginReport) -> tuple[Condition, str]:
    if not report.resources:
        return (Condition.STANDBY if report.standby else Condition.NO_RESOURCES), report.reason
    for registration, condition in _REGISTRATIONS:
        found = [resource for resource in report.resources if resource.registration is registration]
        if found:
            # A missing kubelet is the reason, however far the registration of a resource had got.
            waits = condition is Condition.REGISTERING and not hub.kubelet_since
            return (Condition.WAITING if waits else condition), "; ".join(map(_message, found))
    failing = [f"{resource.name}: {resource.failing}" for resource in report.resources if resource.failing]
    failing += filter(None, [report.reset_fault])
    return (Condition.FAILING if failing else Condition.REGISTERED), "; ".join(failing)


def _why_not_running(process: ProcessReport) -> str:
    if process.start_error:
        return process.start_error
    if process.run is RunState.BACKING_OFF and process.last_exit:
        return process.last_exit.reason
    return ""


def _previous_exit(process: ProcessReport) -> str:
    """Say how the previous process exited, for as long as the new one has nothing to report."""
    last = process.last_exit
    return f"the previous process exited: {last.reason}" if last and last.reason != AS_REQUESTED else ""


def _message(resource: ResourceStatus) -> str:
    return ": ".join(filter(None, (resource.name, resource.detail)))

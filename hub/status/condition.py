"""How a plugin is, in one word and a reason."""

from hub.model.hub import AS_REQUESTED, HubReport, ProcessReport, RunState
from hub.model.node import Condition
from hub.model.plugin import PluginReport, RegistrationStatus, ResourceStatus

_ENDED = {
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
"""From the worst to the best; what is left is registered."""


def condition_of(hub: HubReport, process: ProcessReport, state: PluginReport | None) -> tuple[Condition, str]:
    """How a plugin is, and why, where there is more to say.

    Args:
        hub: The hub that it belongs to.
        process: Its process, as the hub sees it.
        state: What the process tells, if it has told anything yet.
    """
    if process.run is not RunState.RUNNING:
        return _ENDED[process.run], _why_ended(process)
    if not process.is_hub_plugin:
        return Condition.EXTERNAL, "not a plugin process of the hub; its state is unknown"
    if process.unresponsive:
        return Condition.UNRESPONSIVE, process.unresponsive
    if state is None:
        return Condition.STARTING, _after(process)
    if not state.resources and not state.scanned:
        return Condition.STARTING, state.reason or _after(process)
    return _of_resources(hub, state)


def _of_resources(hub: HubReport, state: PluginReport) -> tuple[Condition, str]:
    if not state.resources:
        return (Condition.STANDBY if state.standby else Condition.NO_RESOURCES), state.reason
    for registration, condition in _REGISTRATIONS:
        found = [resource for resource in state.resources if resource.registration is registration]
        if found:
            # A kubelet that is gone is the reason, however far a resource had come.
            gone = condition is Condition.REGISTERING and not hub.kubelet_since
            return (Condition.WAITING if gone else condition), "; ".join(map(_words, found))
    return Condition.REGISTERED, ""


def _why_ended(process: ProcessReport) -> str:
    if process.start_error:
        return process.start_error
    if process.run is RunState.BACKING_OFF and process.last_exit:
        return process.last_exit.reason
    return ""


def _after(process: ProcessReport) -> str:
    """What ended the process before, as long as its successor has nothing to say."""
    last = process.last_exit
    return f"after: {last.reason}" if last and last.reason != AS_REQUESTED else ""


def _words(resource: ResourceStatus) -> str:
    return ": ".join(filter(None, (resource.name, resource.detail)))

"""How a plugin is, in one word and a reason."""

from hub.model.hub import AS_ASKED, HubState, ProcessState, Run
from hub.model.node import Condition
from hub.model.plugin import PluginState, Registration, ResourceState

_ENDED = {
    Run.STARTING: Condition.STARTING,
    Run.BACKING_OFF: Condition.BACKING_OFF,
    Run.FAILING: Condition.FAILING,
    Run.STOPPING: Condition.STOPPING,
    Run.STOPPED: Condition.STOPPED,
}

_REGISTRATIONS = (
    (Registration.INVALID, Condition.REFUSED),
    (Registration.REFUSED, Condition.REFUSED),
    (Registration.DISPLACED, Condition.REFUSED),
    (Registration.WAITING, Condition.WAITING),
    (Registration.REGISTERING, Condition.SERVING),
    (Registration.HANDED_OVER, Condition.HANDED_OVER),
)
"""From the worst to the best; what is left is registered."""


def condition_of(hub: HubState, process: ProcessState, state: PluginState | None) -> tuple[Condition, str]:
    """How a plugin is, and why, where there is more to say.

    Args:
        hub: The hub that it belongs to.
        process: Its process, as the hub sees it.
        state: What the process tells, if it has told anything yet.
    """
    if process.run is not Run.RUNNING:
        return _ENDED[process.run], _why_ended(process)
    if not process.is_hub_plugin:
        return Condition.SERVING, "another program, which tells nothing of itself"
    if process.hanging:
        return Condition.HANGING, process.hanging
    if state is None:
        return Condition.STARTING, _after(process)
    if not state.resources and not state.scanned:
        return Condition.STARTING, state.reason or _after(process)
    return _of_resources(hub, state)


def _of_resources(hub: HubState, state: PluginState) -> tuple[Condition, str]:
    if not state.resources:
        return Condition.SERVING, state.reason
    for registration, condition in _REGISTRATIONS:
        found = [resource for resource in state.resources if resource.registration is registration]
        if found:
            # A kubelet that is gone is the reason, however far a resource had come.
            gone = condition is Condition.SERVING and not hub.kubelet_since
            return (Condition.WAITING if gone else condition), "; ".join(map(_words, found))
    return Condition.REGISTERED, ""


def _why_ended(process: ProcessState) -> str:
    if process.trouble:
        return process.trouble
    if process.run is Run.BACKING_OFF and process.last_exit:
        return process.last_exit.why
    return ""


def _after(process: ProcessState) -> str:
    """What ended the process before, as long as its successor has nothing to say."""
    last = process.last_exit
    return f"after: {last.why}" if last and last.why != AS_ASKED else ""


def _words(resource: ResourceState) -> str:
    return ": ".join(filter(None, (resource.name, resource.detail)))

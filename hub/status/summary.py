"""The status in lines for scripts, such as that for node-problem-detector, which can use neither Python nor JSON.

Each line answers one question: it has a name, a state, and a reason. A state is "ok", "problem", "unknown", or the Unix
time of an event.

    plugins ok
    devices/gpu problem 1 of 8 nvidia.com/gpu devices is unhealthy (GPU-1): XID 79
    devices/ib unknown starting
    restarts 1790000000 gpu: killed by SIGSEGV
    rejections 1790000000 gpu: nvidia.com/gpu: GPU-1 is unhealthy
    resets 1790000000 gpu: GPU-1: the reset took longer than 25 s
"""

from collections.abc import Iterator, Sequence

from hub.base.printable import printable
from hub.model.hub import AS_REQUESTED
from hub.model.node import Condition, NodeStatus, PluginStatus, Severity
from hub.status.problems import device_problems, is_plugin_ready

_UNDECIDED = {Condition.STARTING, Condition.REGISTERING}
"""These conditions end within seconds, or become an error."""

_OF_ANOTHER_HUB = {Condition.SUPERSEDED, Condition.STANDBY}
"""With these conditions, another hub serves the devices and reports on them."""

_EXPECTED_OUTCOMES = {"ok", "skipped"}


def summary(status: NodeStatus) -> str:
    """Return the lines, each ending in a line feed."""
    lines = [_of_plugins(status.plugins)]
    for plugin in status.plugins:
        lines += _of_devices(plugin)
        lines += _of_events(plugin)
    return "".join(f"{printable(line)}\n" for line in lines)


def _of_plugins(plugins: Sequence[PluginStatus]) -> str:
    """Return whether all plugins work; containers that fail to get their devices do not count, as for `is_ready`."""
    waiting = [plugin for plugin in plugins if plugin.condition in _UNDECIDED]
    failed = [plugin for plugin in plugins if plugin not in waiting and not is_plugin_ready(plugin)]
    if failed:
        return f"plugins problem {'; '.join(map(_condition, failed))}"
    return f"plugins unknown {'; '.join(map(_condition, waiting))}" if waiting else "plugins ok"


def _of_devices(plugin: PluginStatus) -> Iterator[str]:
    """Yield whether all devices of a plugin can be used; devices that an administrator cordoned do not count."""
    if plugin.condition in _OF_ANOTHER_HUB:
        return
    problems = [each for resource in plugin.report.resources for each in device_problems(plugin.name, resource)]
    if unintended := [problem.message for problem in problems if problem.severity is not Severity.INFO]:
        yield f"devices/{plugin.name} problem {'; '.join(unintended)}"
    elif is_plugin_ready(plugin):
        yield f"devices/{plugin.name} ok"
    else:
        yield f"devices/{plugin.name} unknown {_condition(plugin)}"


def _of_events(plugin: PluginStatus) -> Iterator[str]:
    last = plugin.process.last_exit
    if last and last.reason != AS_REQUESTED:
        yield f"restarts {last.ended:.0f} {plugin.name}: {last.reason}"
    for resource in plugin.report.resources:
        if rejection := resource.rejection:
            yield f"rejections {rejection.time:.0f} {plugin.name}: {resource.name}: {rejection.reason}"
    for device, reset in plugin.report.resets.items():
        if reset.outcome not in _EXPECTED_OUTCOMES:
            yield f"resets {reset.ended:.0f} {plugin.name}: {device}: {reset.message}"


def _condition(plugin: PluginStatus) -> str:
    """Return the condition of a plugin with its message."""
    return f"{plugin.name}: {plugin.condition}" + (f": {plugin.message}" if plugin.message else "")

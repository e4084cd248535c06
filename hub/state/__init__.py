"""What the processes of a node tell about themselves: JSON files in the run directory, replaced at each change.

Each process writes its own, everything that shows a node's condition reads them all. They survive a crash of either
side.
"""

from pathlib import Path

from hub.base.jsonfile import read_file, replace_file
from hub.model.heartbeat import Pulse
from hub.model.hub import AS_ASKED, HubState, LastExit, ProcessState, RestartReason, Run
from hub.model.plugin import (
    ConfigState,
    DeviceState,
    ExcludedState,
    PluginState,
    RefusalState,
    Registration,
    ResetState,
    ResourceState,
)

__all__ = [
    "AS_ASKED",
    "ConfigState",
    "DeviceState",
    "ExcludedState",
    "HubState",
    "LastExit",
    "PluginState",
    "ProcessState",
    "Pulse",
    "RefusalState",
    "Registration",
    "ResetState",
    "ResourceState",
    "RestartReason",
    "Run",
    "read_file",
    "read_state",
    "replace_file",
]


def read_state(path: Path) -> PluginState | None:
    """The last state that a plugin wrote, or None where it has not written one."""
    return read_file(path, PluginState)

"""The condition of a plugin, in a word and a reason."""

import msgspec

from hub.model.hub import AS_REQUESTED, HubReport, LastExit, ProcessReport, RunState
from hub.model.node import Condition
from hub.model.plugin import PluginReport, RegistrationStatus, ResourceStatus
from hub.status.condition import condition_of

HUB = HubReport("1", 1, 1.0, "dphub", "/circus.ini", "/plugins", "/")
SILENT = PluginReport("stub", 2, 1.0)
"""A plugin that has not scanned for its devices yet."""


def _process(last: str = "", **more: object) -> ProcessReport:
    last_exit = LastExit(1, 1.0, last, -9) if last else None
    return ProcessReport("stub", RunState.RUNNING, 2, 1.0, last_exit=last_exit, **more)  # type: ignore[arg-type]


def test_a_plugin_that_starts_again() -> None:
    """The exit of the last process is the reason until the new one serves, whether it has reported yet or not."""
    hung = "killed by the hub: its hardware has not responded for 30 s"
    for state in (None, SILENT):
        assert condition_of(HUB, _process(hung), state) == (Condition.STARTING, f"the previous process exited: {hung}")
        assert condition_of(HUB, _process(), state) == (Condition.STARTING, "")
        assert condition_of(HUB, _process(AS_REQUESTED), state) == (Condition.STARTING, "")


def test_a_plugin_that_hangs_before_its_first_report() -> None:
    """It is unresponsive, like any other plugin that hangs."""
    why = "it did not start serving within 60 s"
    assert condition_of(HUB, _process(unresponsive=why), None) == (Condition.UNRESPONSIVE, why)


def test_another_program() -> None:
    """It is external: its state is unknown."""
    condition, text = condition_of(HUB, _process("exit code 1", is_hub_plugin=False), None)
    assert (condition, text) == (Condition.EXTERNAL, "not one of the hub's plugin processes; its state is unknown")


def test_a_plugin_that_keeps_containers_from_their_devices() -> None:
    """It is failing, and all reasons are given at once; a worse condition comes first."""
    registered = ResourceStatus("a.com/x", "", RegistrationStatus.REGISTERED, 0, failing="the last 3 failed: no idea")
    report = PluginReport("stub", 2, scanned=True, resources=(registered,), reset_fault="no module")
    words = "a.com/x: the last 3 failed: no idea; no module"
    assert condition_of(HUB, _process(), report) == (Condition.FAILING, words)
    away = msgspec.structs.replace(registered, registration=RegistrationStatus.REJECTED)
    rejected = msgspec.structs.replace(report, resources=(away,))
    assert condition_of(HUB, _process(), rejected)[0] is Condition.REGISTRATION_FAILED


def test_a_plugin_without_resources() -> None:
    """A node without such hardware and a plugin in standby have different conditions."""
    scanned = PluginReport("stub", 2, 1.0, scanned=True, reason="no such hardware")
    assert condition_of(HUB, _process(), scanned) == (Condition.NO_RESOURCES, "no such hardware")
    standby = PluginReport("stub", 2, 1.0, scanned=True, standby=True, reason="no library", fault=True)
    assert condition_of(HUB, _process(), standby) == (Condition.STANDBY, "no library")

"""Resets of virtual functions before a container starts. This runs in a process of its own, see `hub.reset`.

A container starts after its pod's network is set up, and a reset undoes what was set up on the function. So it is for
pods whose network is not on it, and has to be asked for.
"""

from pathlib import Path
from typing import Any

import msgspec

from hub import Host, ResetDevice, ResetFailed
from plugins.ib.reset.function import Function
from plugins.ib.reset.settings import VfResetSettings
from plugins.ib.reset.unbound import record, unbound_directory


def reset(device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - what JSON made of VfResetSettings
    """Unbind a virtual function's driver, reset it, bind the driver again, and see that it is as it was.

    Raises:
        ResetFailed: it is not, and the container must not start.
    """
    asked = msgspec.convert(settings, VfResetSettings)
    limits = asked.limits
    function = Function(Host(device.host_root), device.id)
    _check(function)
    names = {Path(node).name for node in device.nodes} - {"rdma_cm"}
    was_active = function.is_active
    with record(unbound_directory(device.runtime), device.id, function.driver):
        function.unbind(limits.unbind)
        try:
            function.reset(limits.reset)
        except ResetFailed as failed:
            raise ResetFailed(f"{failed}; {_restored(function, limits.bind)}") from failed
        function.bind(limits.bind)
    function.wait_until_ready(limits.ready, names=names, active=was_active)


def _check(function: Function) -> None:
    """That it may be reset at all."""
    if not function.is_virtual:
        raise ResetFailed("it is no virtual function, and others depend on a physical one")
    if not function.is_bound:
        raise ResetFailed("no driver is bound to it")
    if holders := sorted(set(function.holders())):
        raise ResetFailed(f"somebody has it open: {'; '.join(holders)}")


def _restored(function: Function, limit: float) -> str:
    """Bind the driver again after a failure; what came of it."""
    try:
        function.bind(limit)
    except ResetFailed as failed:
        return f"and it could not be restored: {failed}"
    return "the driver is bound to it again"

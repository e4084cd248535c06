"""Resets of virtual functions before a container starts. They run in a separate process (see `hub.reset`).

A container starts after its pod's network is set up, and a reset undoes what was set up on the function. So resets are
for pods whose network does not use the function, and are off by default.
"""

from pathlib import Path
from typing import Any

import msgspec

from hub import Host, ResetDevice, ResetFailed
from plugins.ib.reset.function import Function
from plugins.ib.reset.settings import VfResetSettings
from plugins.ib.reset.unbound import record, unbound_directory

_OF_THE_NODE = {"rdma_cm", "vhost-net", "tun"}
"""The names of device files that a container gets in addition to those of its function."""


def reset(device: ResetDevice, settings: Any) -> None:  # noqa: ANN401 - VfResetSettings as decoded from JSON
    """Unbind a virtual function's driver, reset the function, bind the driver again, and check the result.

    Raises:
        ResetFailed: the function was not restored to its previous state, and the container must not start.
    """
    timeouts = msgspec.convert(settings, VfResetSettings).timeouts
    function = Function(Host(device.host_root), device.id)
    _check(function)
    names = {Path(node).name for node in device.nodes} - _OF_THE_NODE
    was_active = function.is_active
    with record(unbound_directory(device.runtime), device.id, function.driver):
        function.unbind(timeouts.unbind)
        try:
            function.reset(timeouts.reset)
        except ResetFailed as failed:
            raise ResetFailed(f"{failed}; {_bind_again(function, timeouts.bind)}") from failed
        function.bind(timeouts.bind)
    function.wait_until_ready(timeouts.ready, names=names, active=was_active)


def _check(function: Function) -> None:
    """Check that the function may be reset."""
    if not function.is_virtual:
        raise ResetFailed("it is a physical function, on which virtual functions may depend")
    if not function.is_bound:
        raise ResetFailed("no driver is bound to it")
    if holders := sorted(set(function.holders())):
        raise ResetFailed(f"other processes have it open: {'; '.join(holders)}")


def _bind_again(function: Function, timeout: float) -> str:
    """Bind the driver again after a failure, and describe the result."""
    try:
        function.bind(timeout)
    except ResetFailed as failed:
        return f"its driver could not be bound again: {failed}"
    return "its driver was bound again"

"""The process that calls the plugin's reset."""

import faulthandler
import importlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from hub.api.reset import ResetDevice, ResetFailed
from hub.base.failures import explain, one_line
from hub.base.prctl import set_death_signal
from hub.reset.messages import ResetLimits, ResetReply, ResetRequest

_MESSAGE = 1000
"""Maximum length of a failure text in characters; it is sent in a header of a gRPC response, whose size is limited."""

_Function = Callable[[ResetDevice, Any], object]


def work(target: str, request: ResetRequest, guard: int, result: int) -> None:
    """Run the reset, write its reply, and exit.

    Args:
        target: The function, as "MODULE:FUNCTION".
        request: The request for the reset.
        guard: The process id of the guard, which this process must not outlive.
        result: The descriptor for the reply.
    """
    os.setsid()
    set_death_signal(signal.SIGKILL)
    if os.getppid() != guard:
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # The log then shows where the reset crashed, or where it was at the deadline.
    faulthandler.enable()
    faulthandler.register(signal.SIGTERM, chain=True)
    _limit(request.limits)
    reply = _reset(target, request)
    os.write(result, msgspec.json.encode(reply))
    # Exit immediately: without waiting for threads, and without the exit handlers of libraries, which could hang.
    os._exit(0)


def _limit(limits: ResetLimits) -> None:
    for kind, most in (
        # Memory that is used, not memory that is reserved: drivers' libraries reserve a lot of address space.
        (resource.RLIMIT_DATA, limits.memory),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_CPU, limits.processor),
    ):
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # The hard limit on CPU time sends SIGKILL. One second earlier, SIGXCPU shows the reason.
        spare = 1 if kind == resource.RLIMIT_CPU and least != hard else 0
        resource.setrlimit(kind, (least, least + spare))


def _reset(target: str, request: ResetRequest) -> ResetReply:
    try:
        function = _load(target, request.directories)
    except BaseException as error:  # noqa: BLE001 - plugin code; every exception is a reset that cannot begin
        return _failed(error, begun=False)
    try:
        _call(function, target, request)
    except ResetFailed as failed:
        return ResetReply(ok=False, message=one_line(failed)[:_MESSAGE])
    except BaseException as error:  # noqa: BLE001 - plugin code; every exception is a failed reset
        return _failed(error, begun=True)
    return ResetReply(ok=True)


def _failed(error: BaseException, *, begun: bool) -> ResetReply:
    sys.__excepthook__(type(error), error, error.__traceback__)
    return ResetReply(ok=False, message=explain(error)[:_MESSAGE], begun=begun)


def _load(target: str, directories: tuple[str, ...]) -> _Function:
    if directories:
        from hub.base.sourceonly import import_source_from  # noqa: PLC0415 - most resets do not need it

        for directory in directories:
            import_source_from(Path(directory))
    module, _, name = target.partition(":")
    function: _Function = getattr(importlib.import_module(module), name)
    return function


def _call(function: _Function, target: str, request: ResetRequest) -> None:
    returned = function(request.device, request.settings)
    if returned is not None:
        # For example False, or a coroutine that is never awaited.
        raise TypeError(f"{target} returned {returned!r}, expected None")

"""The process that calls the plugin's reset."""

import faulthandler
import importlib
import os
import resource
import signal
import sys

import msgspec

from hub.api.reset import ResetFailed
from hub.base.failures import explain, printable
from hub.base.prctl import set_death_signal
from hub.reset.messages import ResetLimits, ResetReply, ResetRequest

_MESSAGE = 1000
"""Characters of a failure's text; it travels in the header of a gRPC answer, and those are small."""


def work(target: str, request: ResetRequest, guard: int, result: int) -> None:
    """Run the reset, write its reply, and end.

    Args:
        target: The function, as "MODULE:FUNCTION".
        request: What it is given.
        guard: The process that this one must not outlive.
        result: The descriptor for the reply.
    """
    os.setsid()
    set_death_signal(signal.SIGKILL)
    if os.getppid() != guard:
        return
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    # The log tells where it crashed, and where it was when its time was over.
    faulthandler.enable()
    faulthandler.register(signal.SIGTERM, chain=True)
    _limit(request.limits)
    reply = _reset(target, request)
    os.write(result, msgspec.json.encode(reply))
    # At once: no thread is waited for, and no handler of a library can hang at exit.
    os._exit(0)


def _limit(limits: ResetLimits) -> None:
    for kind, most in (
        (resource.RLIMIT_AS, limits.memory),
        (resource.RLIMIT_NOFILE, limits.files),
        (resource.RLIMIT_CPU, limits.processor),
    ):
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # At the hard limit of processor time comes SIGKILL. A second before comes SIGXCPU, which tells the reason.
        spare = 1 if kind == resource.RLIMIT_CPU and least != hard else 0
        resource.setrlimit(kind, (least, least + spare))


def _reset(target: str, request: ResetRequest) -> ResetReply:
    try:
        _call(target, request)
    except ResetFailed as failed:
        return ResetReply(ok=False, message=printable(failed)[:_MESSAGE])
    except BaseException as error:  # noqa: BLE001 - foreign code; whatever it raises is its failure
        sys.__excepthook__(type(error), error, error.__traceback__)
        return ResetReply(ok=False, message=explain(error)[:_MESSAGE])
    return ResetReply(ok=True)


def _call(target: str, request: ResetRequest) -> None:
    module, _, function = target.partition(":")
    returned = getattr(importlib.import_module(module), function)(request.device, request.settings)
    if returned is not None:
        # Such as False, or a coroutine that nobody awaits.
        raise TypeError(f"{target} returned {returned!r}, expected None")

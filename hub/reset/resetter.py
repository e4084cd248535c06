"""Resets of devices, each in processes of its own that end with their deadline."""

import asyncio
import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack

import msgspec

from hub.log import get_logger
from hub.plugin.failure import PluginFailure
from hub.reset import Outcome, ResetDevice, ResetResult
from hub.reset.messages import Limits, Request
from hub.reset.process import ResetProcess, clean_environment

GRACE = 1.0
"""Seconds between SIGTERM and SIGKILL."""

PATIENCE = 3.0
"""Seconds after SIGTERM when a process that is still there is taken for stuck in the kernel. With the 25 s that a call
has by default, this stays inside the 30 s that the kubelet waits."""

_LIMITS = Limits()

_HINTS: dict[int, str] = {
    signal.SIGXCPU: ": its processor time is used up",
    signal.SIGKILL: ", perhaps for want of memory",
}


class Resetter:
    """Runs a plugin's resets: several devices at a time, but each device only once at a time.

    Args:
        target: The plugin's function, as "MODULE:FUNCTION".
        settings: Tells the plugin's settings as of now, anything that can be written as JSON.
        limits: What one reset may use.
        parallel: How many devices are reset at a time, over all calls.
        environment: More variables for the resets.
        grace: Seconds between SIGTERM and SIGKILL.
        patience: Seconds after SIGTERM until a process is abandoned.
    """

    def __init__(
        self,
        target: str,
        settings: Callable[[], object],
        *,
        limits: Limits = _LIMITS,
        parallel: int = 8,
        environment: Mapping[str, str] | None = None,
        grace: float = GRACE,
        patience: float = PATIENCE,
    ) -> None:
        self._target = target
        self._settings = settings
        self._limits = limits
        self._environment = clean_environment() | dict(environment or {})
        self._grace = grace
        self._patience = patience
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._slots = asyncio.Semaphore(parallel)
        self._abandoned: dict[str, ResetProcess] = {}

    async def reset(self, devices: Iterable[ResetDevice], deadline: float) -> dict[str, ResetResult]:
        """Reset devices, and say by id how it went.

        A call that is cancelled ends its resets before it ends itself.

        Args:
            devices: What to reset; a device that is there twice is reset once.
            deadline: Seconds for all of it, waiting for other calls included. Ending what has not ended by then may
                take the resetter's patience on top.
        """
        expiry = asyncio.get_running_loop().time() + deadline
        distinct = {device.id: device for device in devices}
        try:
            settings = msgspec.to_builtins(self._settings())
        except Exception as error:  # noqa: BLE001 - foreign code
            why = f"could not begin, for the plugin has no settings for it: {PluginFailure.of(error)}"
            return {name: ResetResult(Outcome.FAILED, f"reset of {name} {why}", 0) for name in distinct}
        async with asyncio.TaskGroup() as tasks:
            resets = {
                name: tasks.create_task(self._reset(device, settings, deadline, expiry))
                for name, device in distinct.items()
            }
        return {name: task.result() for name, task in resets.items()}

    def stuck(self, device: str) -> str:
        """Why a device cannot be reset until further notice; empty when it can."""
        process = self._abandoned.get(device)
        if process is None or process.exited.is_set():
            self._abandoned.pop(device, None)
            return ""
        return f"an earlier reset of {device} does not end, not even by SIGKILL (process {process.pid})"

    async def _reset(self, device: ResetDevice, settings: object, deadline: float, expiry: float) -> ResetResult:
        async with AsyncExitStack() as turn:
            try:
                async with asyncio.timeout_at(expiry):
                    await turn.enter_async_context(self._turns[device.id])
                    if stuck := self.stuck(device.id):
                        return ResetResult(Outcome.ABANDONED, f"reset of {device.id} was not tried: {stuck}", 0)
                    await turn.enter_async_context(self._slots)
            except TimeoutError:
                message = f"reset of {device.id} could not begin within {deadline:.3g} s: others were not done"
                return ResetResult(Outcome.TIMED_OUT, message, deadline)
            return await self._run(device, settings, expiry)

    async def _run(self, device: ResetDevice, settings: object, expiry: float) -> ResetResult:
        loop = asyncio.get_running_loop()
        log = get_logger(device=device.id)
        begin = loop.time()

        def result(outcome: Outcome, what: str) -> ResetResult:
            seconds = loop.time() - begin
            return ResetResult(outcome, f"reset of {device.id} {what} after {seconds:.3g} s", seconds)

        def tell(line: str) -> None:
            log.info("reset printed", line=line)

        request = Request(os.getpid(), device, settings, self._limits, self._grace)
        try:
            process = ResetProcess(self._target, request, self._environment, tell)
        except OSError as error:
            return result(Outcome.CRASHED, f"could not be started ({error.strerror}); given up")
        ended = await self._see_through(device.id, process, expiry)
        if not process.exited.is_set():
            return result(Outcome.ABANDONED, f"does not end, not even by SIGKILL (process {process.pid}); given up")
        if not ended:
            return result(Outcome.TIMED_OUT, "did not end and was stopped")
        reply = process.reply
        if reply is None:
            return result(Outcome.CRASHED, f"gave no valid result: its process {_ending(process.status)}")
        if not reply.ok:
            failed = result(Outcome.FAILED, "failed")
            return msgspec.structs.replace(failed, message=f"{failed.message}: {reply.message}")
        return result(Outcome.OK, "succeeded")

    async def _see_through(self, device: str, process: ResetProcess, expiry: float) -> bool:
        """Wait until a reset is over; whether that was before its time was."""
        try:
            async with asyncio.timeout_at(expiry):
                await process.exited.wait()
        except TimeoutError:
            return False
        else:
            return True
        finally:
            await self._end(device, process)

    async def _end(self, device: str, process: ResetProcess) -> None:
        process.terminate()
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await process.exited.wait()
        except asyncio.CancelledError:
            # A second time: without the grace.
            process.terminate()
            raise
        finally:
            if not process.exited.is_set():
                self._abandoned[device] = process
                get_logger(device=device).error("reset abandoned", pid=process.pid)


def _ending(status: int) -> str:
    """How a process ended, in words."""
    if status >= 0:
        return f"ended with exit code {status}"
    hint = _HINTS.get(-status, "")
    return f"was killed by {_signal_name(-status)} ({signal.strsignal(-status)}{hint})"


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"

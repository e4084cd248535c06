"""Resets of devices, each in separate processes, which are stopped at the deadline."""

import asyncio
import contextlib
import os
import signal
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import NamedTuple

import msgspec

from hub.api.reset import ResetDevice
from hub.base.calls import Calls
from hub.base.exits import signal_name
from hub.base.failures import PluginError, explain
from hub.base.log import get_logger
from hub.base.processid import ProcessId
from hub.base.sourceonly import source_directories
from hub.reset.messages import ResetLimits, ResetRequest
from hub.reset.process import ResetProcess, clean_environment
from hub.reset.result import Outcome, ResetResult

TERM_TIMEOUT = 1.0
"""Seconds between SIGTERM and SIGKILL."""

KILL_TIMEOUT = 3.0
"""Seconds after SIGTERM after which a process that still exists counts as stuck in the kernel. Together with the
default of 25 s for a call, this is within the 30 s that the kubelet waits."""

CANCEL_TIMEOUTS = (0.3, 1.0)
"""Both timeouts for a cancelled call: no caller waits for the reset, and the plugin may have to exit."""

SETTINGS_LIMIT = 2.0
"""Seconds for `Plugin.reset_settings`, within the deadline."""

_LIMITS = ResetLimits()

_HINTS: dict[int, str] = {
    signal.SIGXCPU: ": it used up its CPU time",
    signal.SIGKILL: ", possibly out of memory",
}


class ResetRunner:
    """Runs a plugin's resets: several devices in parallel, but one reset of each device at a time.

    Args:
        target: The plugin's function, as "MODULE:FUNCTION".
        settings: Returns the current settings for the resets, anything that can be written as JSON.
        limits: The limits of one reset.
        parallel: Maximum number of devices that are reset in parallel, across all calls.
        environment: More variables for the resets.
        term_timeout: Seconds between SIGTERM and SIGKILL.
        kill_timeout: Seconds after SIGTERM until a process counts as stuck.
        cancel_timeouts: Both timeouts after a cancelled call.
        stuck: By device, the processes of earlier resets that were stuck.
        on_stuck: Called with each device whose reset is stuck, and why; even after a cancelled call.
    """

    def __init__(
        self,
        target: str,
        settings: Callable[[], object],
        *,
        limits: ResetLimits = _LIMITS,
        parallel: int = 8,
        environment: Mapping[str, str] | None = None,
        term_timeout: float = TERM_TIMEOUT,
        kill_timeout: float = KILL_TIMEOUT,
        cancel_timeouts: tuple[float, float] = CANCEL_TIMEOUTS,
        stuck: Mapping[str, ProcessId] | None = None,
        on_stuck: Callable[[str, str], None] = lambda _device, _why: None,
    ) -> None:
        self._target = target
        self._settings = settings
        self._limits = limits
        self._environment = clean_environment() | dict(environment or {})
        self._term_timeout = term_timeout
        self._kill_timeout = kill_timeout
        self._cancel_timeouts = cancel_timeouts
        self._calls = Calls()
        self._turns: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._parallel = asyncio.Semaphore(parallel)
        self._holders = dict(stuck or {})
        self._on_stuck = on_stuck

    async def reset(
        self, devices: Iterable[ResetDevice] | Mapping[str, ResetDevice], deadline: float, *, bounded: bool = True
    ) -> dict[str, ResetResult]:
        """Reset devices, and return the results by id.

        A cancelled call stops its resets before it returns.

        Args:
            devices: The devices to reset; duplicates are reset once. A mapping may have keys other than ids, which then
                need not be unique.
            deadline: Seconds for everything, including the time spent waiting for other calls. Stopping the resets that
                are still running after that may take up to `kill_timeout` longer.
            bounded: Whether these resets wait for, and count towards, the limit of parallel resets.
        """
        expiry = asyncio.get_running_loop().time() + deadline
        distinct = devices if isinstance(devices, Mapping) else {device.id: device for device in devices}
        if not distinct:
            return {}
        try:
            settings = await self._read_settings(min(SETTINGS_LIMIT, deadline))
        except PluginError as failure:
            return {
                key: ResetResult.not_begun(Outcome.FAILED, f"reset of {device.id} could not start: {failure}")
                for key, device in distinct.items()
            }
        slots = self._parallel if bounded else contextlib.nullcontext()
        async with asyncio.TaskGroup() as tasks:
            resets = {
                key: tasks.create_task(self._reset(_Job(key, device, settings, deadline, expiry), slots))
                for key, device in distinct.items()
            }
        return {key: task.result() for key, task in resets.items()}

    def holder(self, device: str) -> ProcessId | None:
        """Return the process of the last reset of a device, unless it has exited."""
        process = self._holders.get(device)
        if process is None or process.alive:
            return process
        del self._holders[device]
        return None

    async def _read_settings(self, limit: float) -> object:
        try:
            return await self._calls.call(self._settings, lambda: msgspec.to_builtins(self._settings()), limit)
        except PluginError as failure:
            raise PluginError(f"no settings for the reset: {failure}") from failure

    async def _reset(self, job: "_Job", slots: AbstractAsyncContextManager[None]) -> ResetResult:
        name = job.device.id
        async with AsyncExitStack() as turn:
            try:
                async with asyncio.timeout_at(job.expiry):
                    await turn.enter_async_context(self._turns[job.key])
                    if holder := self.holder(job.key):
                        why = f"an earlier reset of {name} survived SIGKILL (process {holder.pid})"
                        return ResetResult.not_begun(Outcome.STUCK, f"reset of {name} was not started: {why}")
                    await turn.enter_async_context(slots)
            except TimeoutError:
                cause = f"reset of {name} could not start within {job.deadline:.3g} s: other resets had not finished"
                return ResetResult.not_begun(Outcome.TIMED_OUT, cause, job.deadline)
            return await self._run(job)

    async def _run(self, job: "_Job") -> ResetResult:
        loop = asyncio.get_running_loop()
        name = job.device.id
        begin = loop.time()

        def result(outcome: Outcome, what: str, why: str = "", begun: bool = True) -> ResetResult:  # noqa: FBT001, FBT002 - as in `_judge`
            seconds = loop.time() - begin
            why = f": {why}" if why else ""
            message = f"reset of {name} {what} after {seconds:.3g} s{why}"
            return ResetResult(outcome, message, seconds, f"reset of {name} {what}{why}", begun)

        request = ResetRequest(
            os.getpid(), job.device, job.settings, self._limits, self._term_timeout, source_directories()
        )
        try:
            process = ResetProcess(self._target, request, self._environment, get_logger(device=name))
        except OSError as error:
            return result(Outcome.CRASHED, f"could not be started ({error.strerror})", begun=False)
        except Exception as error:  # noqa: BLE001 - not every value from a plugin can be passed to a process
            why = explain(error)
            return result(Outcome.FAILED, "could not be started", why, begun=False)
        self._holders[job.key] = process.identity
        ended = await self._wait(job, process)
        return result(*_judge(process, ended_in_time=ended))

    async def _wait(self, job: "_Job", process: ResetProcess) -> bool:
        """Wait for the end of a reset; return whether it ended before its deadline."""
        try:
            async with asyncio.timeout_at(job.expiry):
                await process.exited.wait()
        except TimeoutError:
            await self._end(job, process)
            return False
        except asyncio.CancelledError:
            await self._end_early(job, process)
            raise
        return True

    async def _end(self, job: "_Job", process: ResetProcess) -> None:
        process.terminate()
        try:
            await self._await_end(job, process, self._kill_timeout)
        except asyncio.CancelledError:
            await self._end_early(job, process)
            raise

    async def _end_early(self, job: "_Job", process: ResetProcess) -> None:
        term_timeout, kill_timeout = self._cancel_timeouts
        process.terminate()
        try:
            await _has_exited(process, term_timeout)
        finally:
            # The second call kills it.
            process.terminate()
        await self._await_end(job, process, kill_timeout - term_timeout)

    async def _await_end(self, job: "_Job", process: ResetProcess, seconds: float) -> None:
        if not await _has_exited(process, seconds):
            get_logger(device=job.device.id).error("reset stuck", pid=process.identity.pid)
            self._on_stuck(job.key, f"reset of {job.device.id} {_survived(process)}")


async def _has_exited(process: ResetProcess, seconds: float) -> bool:
    """Return whether every process has exited within `seconds`.

    This does not use asyncio.timeout, which does not raise TimeoutError in a cancelled task before Python 3.11.4.
    """
    exited = asyncio.ensure_future(process.exited.wait())
    try:
        await asyncio.wait([exited], timeout=seconds)
    finally:
        exited.cancel()
    return process.exited.is_set()


class _Job(NamedTuple):
    """One requested reset."""

    key: str
    device: ResetDevice
    settings: object
    deadline: float
    expiry: float
    """The deadline by the clock of the event loop."""


def _judge(process: ResetProcess, *, ended_in_time: bool) -> tuple[Outcome, str, str, bool]:
    """Return the outcome of a reset, its description, the reason, if there is one, and whether it has begun."""
    if not process.exited.is_set():
        return Outcome.STUCK, _survived(process), "", True
    if not ended_in_time:
        return Outcome.TIMED_OUT, "did not finish in time and was stopped", "", True
    reply = process.reply
    if reply is None:
        return Outcome.CRASHED, f"returned no valid result: its process {_ending(process.status)}", "", True
    if not reply.ok:
        return Outcome.FAILED, "failed" if reply.begun else "could not begin", reply.message, reply.begun
    return Outcome.OK, "succeeded", "", True


def _survived(process: ResetProcess) -> str:
    return f"survived SIGKILL (process {process.identity.pid})"


def _ending(status: int) -> str:
    """Describe how a process exited."""
    if status >= 0:
        return f"exited with code {status}"
    hint = _HINTS.get(-status, "")
    return f"was killed by {signal_name(-status)} ({signal.strsignal(-status)}{hint})"

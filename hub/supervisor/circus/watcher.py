"""One plugin process, as circus knows it (a watcher), with the hub's own life cycle.

circus provides a watcher's commands and options in circusctl, its events, and how it starts a process. The hub decides
when a process is started and stopped, because circus polls for exited children, gives up on a command after five
immediate attempts, and has one lock for all watchers; see `arbiter` for the lock.
"""

import asyncio
import os
import shlex
import signal
import time
from contextlib import suppress
from subprocess import SubprocessError
from typing import Any

from circus.exc import MessageError
from circus.watcher import Watcher
from psutil import NoSuchProcess

from hub.base.exits import Exit
from hub.base.log import get_logger
from hub.base.optional import optional
from hub.base.untrusted import UnreadableError, read_tail
from hub.model.heartbeat import HANDOVER_TIMEOUT, STACK_SIGNAL, WATCHDOG_VARIABLE, is_handing_over
from hub.model.hub import RestartReason
from hub.model.plugin import DRIVER_VARIABLE, EVICT_VARIABLE
from hub.supervisor.backoff import BackOff
from hub.supervisor.circus.process import WatchedProcess, why_not_started
from hub.supervisor.config.watchers import PluginConfig
from hub.supervisor.exitreason import RECENT, last_error
from hub.supervisor.forkserver import ForkServer
from hub.supervisor.processrecord import ProcessRecord, exit_fields
from hub.supervisor.settings import HubSettings

STACK_SECONDS = 0.5
"""Seconds for an unresponsive process to write the stacks of its threads; if it still can, that takes a millisecond."""

STACK_BYTES = 8000
"""Maximum bytes of these stacks in one line of the log."""

KILL_SECONDS = 2.0
"""Seconds that a process may take to exit after SIGKILL. One that hangs in a driver may never exit."""


class PluginWatcher(Watcher):  # type: ignore[misc] # circus has no types
    """Keeps one plugin process running from a start until a stop.

    Args:
        config: The plugin's section of circus.ini.
        settings: The settings of the hub.
        record: Records what happens to the plugin's processes.
        fork_server: Starts the processes that it can start.
    """

    def __init__(
        self, config: PluginConfig, settings: HubSettings, record: ProcessRecord, fork_server: ForkServer
    ) -> None:
        super().__init__(
            config.name,
            shlex.join(config.command),
            working_dir=config.working_dir,
            singleton=True,
            autostart=config.autostart,
            priority=config.priority,
            graceful_timeout=config.graceful_timeout,
            stop_signal=config.stop_signal,
            rlimits=dict(config.rlimits),
        )
        # Not passed to the constructor, which would add a PYTHONPATH in the variables to the hub's own search path.
        self.env = settings.environment(config.name, config.env)
        self.env[WATCHDOG_VARIABLE] = f"{config.watchdog:g}"
        if config.dra_driver:
            self.env[DRIVER_VARIABLE] = config.dra_driver
            self.env[EVICT_VARIABLE] = str(config.evict).lower()
        self.config = config
        self.record = record
        self._fork_server = fork_server
        self._stack = settings.run_dir.stack(config.name)
        self._plugin_log = settings.run_dir.log(config.name)
        self._heartbeat = settings.run_dir.heartbeat(config.name)
        self._unresponsive: dict[int, str] = {}
        self._log = get_logger(plugin=config.name)
        self._backoff = BackOff()
        self._next_start: asyncio.TimerHandle | None = None
        self._turn = asyncio.Lock()  # one start, stop or restart at a time
        self._ended = asyncio.Event()  # set while no process is running
        self._ended.set()
        self._closed = False
        self._start_failure = ""

    # An administrator's commands: circus's start, stop, restart and reload.

    async def _start(self) -> None:
        async with self._turn:
            self._launch()
            self.record.write_now()

    async def _stop(self, *_circus: object) -> None:
        async with self._turn:
            await self._halt()
            self.record.write_now()

    async def _restart(self) -> None:
        async with self._turn:
            await self._halt()
            self.record.count(RestartReason.REQUESTED)
            self._launch()
            self.record.write_now()

    async def _reload(self, **_circus: object) -> None:
        # circus would start the new process alongside the old one: when the old one then exits, the kubelet takes the
        # resource from the new one.
        await self._restart()

    async def close(self) -> bool:
        """Stop permanently; commands that are still waiting for their turn do not start a process.

        Returns:
            Whether the process has exited.
        """
        self._closed = True
        await self._stop()
        return self._ended.is_set()

    def incr(self, *_circus: object) -> None:
        """Reject the command: a plugin is one process."""
        raise MessageError(f"{self.name} runs as one process; a second one would take its resources")

    def decr(self, *_circus: object) -> None:
        """Reject the command: a plugin is one process."""
        raise MessageError(f"{self.name} runs as one process; use stop")

    def set_opt(self, key: str, val: Any) -> Any:  # noqa: ANN401 - as in circus
        """Change one option until the next restart of the hub; variables are added to the existing ones."""
        if key == "numprocesses":
            self.incr()
        if key == "env":
            val = self.env | val
        return super().set_opt(key, val)

    async def manage_processes(self) -> None:
        """Do nothing: SIGCHLD reports an exited process, and its next start is scheduled then."""

    # The life cycle of a process.

    def _launch(self) -> None:
        """Start now, regardless of earlier crashes; do nothing while a process is running."""
        if self._closed:
            return
        self._forget_crashes()
        if self.processes:
            self._status = "active"
        else:
            self._status = "starting"
            self._spawn()

    async def _halt(self) -> None:
        """Stop the process if there is one, and do not start another."""
        self._forget_crashes()
        if self.is_stopped():
            return
        self._status = "stopping"
        self.record.stopping()
        await asyncio.gather(*(self.kill_process(process) for process in list(self.processes.values())))
        self._status = "stopped"
        if not self.processes:
            self.record.stopped()
        self.notify_event("stop", {"time": time.time()})

    def _forget_crashes(self) -> None:
        self._backoff.reset()
        self._start_failure = ""
        if self._next_start is not None:
            self._next_start.cancel()
            self._next_start = None

    def _spawn(self) -> None:
        self._next_start = None
        try:
            process = self._new_process()
        # Raised for a bad command, directory, user or limit, here or in the child before its command runs.
        except (OSError, ValueError, SubprocessError) as error:
            self._report_start_failure(why_not_started(error, self.config))
            delay = self._backoff.crashed()
            self._respawn_later(delay)
            self.record.start_failed(self._start_failure, delay)
            return
        self.processes[process.pid] = process
        self.arbiter.children[process.pid] = self
        self._ended.clear()
        self._backoff.started()
        self._start_failure = ""
        self._status = "active"
        self.record.started(process.pid)
        self._log.info("plugin started", pid=process.pid)
        self.notify_event("spawn", {"process_pid": process.pid, "time": process.started})

    def _new_process(self) -> WatchedProcess:
        return WatchedProcess(
            self.name,
            1,
            self.cmd,
            working_dir=self.working_dir,
            env=self.env,
            rlimits=self.rlimits,
            watcher=self,
            fork_server=self._fork_server,
            pipe_stdout=False,  # its logs are the hub's logs
            pipe_stderr=False,
        )

    def _report_start_failure(self, reason: str) -> None:
        if reason != self._start_failure:
            self._log.error("plugin start failed", reason=reason)
        self._start_failure = reason

    def reaped(self, pid: int, status: int) -> None:
        """Handle the exit of the process, with its status from `waitpid`: first restart it, then explain the exit."""
        process = self.processes.pop(pid)
        process.poll()  # lets subprocess know that it has exited
        self._ended.set()
        code = os.waitstatus_to_exitcode(status)
        killed_for = self._unresponsive.pop(pid, "")
        self.record.ended(pid, status, killed_for)
        delay = None
        if self._status == "active":
            delay = self._backoff.crashed()
            self._respawn_later(delay)
            self.record.backing_off(self._restart_reason(code, killed_for), delay)
        with optional(f"explanation of the exit of {self.name}"):
            self._explain_exit(process, code, delay, is_explained=bool(killed_for))

    def _explain_exit(self, process: WatchedProcess, code: int, delay: float | None, *, is_explained: bool) -> None:
        """Log how a process exited, with what its files say about that."""
        pid, ended = process.pid, exit_fields(code, ours=self.config.is_hub_plugin)
        # The stack of an unresponsive process has already been logged. The next process empties the file.
        if code < 0 and not is_explained and (stack := self._read_stack()):
            ended["stack"] = stack
        self.record.add_error(pid, self._last_error(process, code))
        if delay is None:
            self._log.info("plugin stopped", pid=pid, **ended)
        else:
            self._log.warning("plugin exited", pid=pid, **ended, restart_in_seconds=delay)
        self.notify_event("reap", {"process_pid": pid, "time": time.time(), "exit_code": code})

    def _last_error(self, process: WatchedProcess, code: int) -> str:
        """Return the last error in the log of a process that exited on its own."""
        if code <= 0 or not self.config.is_hub_plugin:
            return ""
        return last_error(self._plugin_log, max(process.started, time.time() - RECENT))

    def _restart_reason(self, code: int, killed_for: str) -> RestartReason:
        if killed_for:
            return RestartReason.UNRESPONSIVE
        needed = code == Exit.NEEDS_RESTART and self.config.is_hub_plugin
        return RestartReason.SELF_REQUESTED if needed else RestartReason.CRASHED

    async def kill_unresponsive(self, pid: int, reason: str) -> None:
        """Kill an unresponsive process, after giving it time to write where it is stuck."""
        self._unresponsive[pid] = reason
        self.record.unresponsive(reason)
        if self.config.is_hub_plugin:
            with suppress(NoSuchProcess):
                self.send_signal(pid, STACK_SIGNAL)
            await asyncio.sleep(STACK_SECONDS)
        if pid not in self.processes:
            return
        self._log.error("plugin unresponsive, killed", pid=pid, reason=reason, stack=self._read_stack())
        os.killpg(pid, signal.SIGKILL)

    def _read_stack(self) -> str:
        try:
            return read_tail(self._stack, STACK_BYTES).decode(errors="replace")
        except UnreadableError:
            return ""

    def _respawn_later(self, delay: float) -> None:
        self._status = "starting"
        self._next_start = asyncio.get_running_loop().call_later(delay, self._spawn)

    async def kill_process(
        self, process: WatchedProcess, stop_signal: int | None = None, graceful_timeout: float | None = None
    ) -> bool:
        """Stop one process: with the stop signal, and with SIGKILL after the graceful timeout and a handover."""
        try:
            self.send_signal(process.pid, self.stop_signal if stop_signal is None else stop_signal)
        except NoSuchProcess:
            return False
        grace = self.graceful_timeout if graceful_timeout is None else graceful_timeout
        if await self._has_exited(process, grace):
            return True
        if is_handing_over(self._heartbeat, process.pid) and await self._has_exited(process, HANDOVER_TIMEOUT):
            return True
        self._log.warning("plugin stop timed out", pid=process.pid, grace_seconds=grace)
        # Including its children: each plugin leads its own process group.
        os.killpg(process.pid, signal.SIGKILL)
        if await self._has_exited(process, KILL_SECONDS):
            return True
        self._log.error("plugin survived SIGKILL", pid=process.pid)
        return False

    async def _has_exited(self, process: WatchedProcess, seconds: float) -> bool:
        """Wait for a process to exit; return whether it has exited in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
        return process.pid not in self.processes

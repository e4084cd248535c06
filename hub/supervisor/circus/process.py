"""How the process of a plugin is started: by the fork server, or by circus, with additional steps in the child."""

import os
import shlex
import signal
import sys
import time
from subprocess import SubprocessError
from typing import Any

import psutil
from circus.process import Process

from hub.base.exits import Exit
from hub.base.prctl import set_death_signal
from hub.model.heartbeat import BLOCKED_AT_START
from hub.supervisor.config.command import SAFE_PATH, plugin_arguments
from hub.supervisor.config.watchers import PluginConfig
from hub.supervisor.forkserver import ForkServer


class WatchedProcess(Process):  # type: ignore[misc] # circus has no types
    """A child that exits with the hub, however the hub exits.

    Otherwise it would keep the next hub's plugins from getting the resources.

    Args:
        fork_server: Starts the process if it can; otherwise, the command is run.
        circus: The arguments for circus's own class.
    """

    def __init__(self, *circus: Any, fork_server: ForkServer, **options: Any) -> None:  # noqa: ANN401 - as in circus
        self._fork_server = fork_server
        self._hub_pid = os.getpid()
        super().__init__(*circus, **options)

    def spawn(self) -> None:
        """Start the process."""
        started = time.time()
        pid = self._fork_server.fork(self.format_args(), self.env, self.working_dir, self.rlimits)
        if pid:
            self.started = started
            try:
                self._worker = _ForkedProcess(pid)
            except psutil.Error as error:
                os.kill(pid, signal.SIGKILL)
                raise OSError(str(error)) from None
        else:
            super().spawn()

    def format_args(self, sockets_fds: Any = None) -> list[str]:  # noqa: ANN401, ARG002 - as in circus
        """Return the words of the command as it is run. circus would look for variables in their values."""
        return _as_run(shlex.split(self.cmd))

    def _null_streams(self, streams: list[Any]) -> None:
        # Runs in the child before its command; it is the only such hook in circus.
        super()._null_streams(streams)
        is_hub_plugin = plugin_arguments(self.format_args()) is not None
        signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_AT_START if is_hub_plugin else {signal.SIGHUP})
        set_death_signal(signal.SIGKILL)
        if os.getppid() != self._hub_pid:
            os._exit(Exit.FAILED)  # the hub exited before the death signal was set


class _ForkedProcess(psutil.Process):
    """A process that was not started by `subprocess`, with the attributes of a `Popen` that circus uses."""

    stdout = stderr = None
    returncode = 0

    def poll(self) -> int | None:
        """Return None while the process is running. Its exit code is known to the watcher."""
        return None if self.is_running() else self.returncode


def _as_run(words: list[str]) -> list[str]:
    """Replace `python` with the hub's interpreter, which may not be on the PATH under that name.

    A plugin process of the hub does not import anything from its working directory.
    """
    program, *arguments = words
    option = [SAFE_PATH] if plugin_arguments(words) is not None else []
    return [sys.executable if program == "python" else program, *option, *arguments]


def why_not_started(error: Exception, config: PluginConfig) -> str:
    """Return why a plugin's process could not be started, without the values of variables."""
    if isinstance(error, SubprocessError):
        return "its limits, user or group cannot be set"
    if isinstance(error, OSError) and error.filename:
        name = config.working_dir if error.filename == config.working_dir else config.cmd.split()[0]
        return f"{error.strerror}: {name}"
    return str(error)

"""The processes of one reset, as seen from the plugin process."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import msgspec

from hub.base.log import Logger
from hub.base.processid import ProcessId
from hub.base.sourceonly import source_directories
from hub.base.untrusted import UnreadableError, decode_json
from hub.reset.messages import ResetReply, ResetRequest
from hub.reset.output import Output

_REPLY_BYTES = 1 << 16


class ResetProcess:
    """A reset in its own processes, from its start until every process that it started has exited.

    Create it in the thread of the event loop, because the processes die with the thread that started them.

    Args:
        target: The plugin's function, as "MODULE:FUNCTION".
        request: The request for the reset.
        environment: The complete environment of the reset.
        log: The logger for the lines that the reset prints.

    Attributes:
        identity: The identity of the guard's process.
        exited: Set when every process has exited.

    Raises:
        OSError: the reset could not be started.
        ValueError, TypeError: the request cannot be written as JSON, or the target cannot be a command-line argument.
    """

    def __init__(self, target: str, request: ResetRequest, environment: Mapping[str, str], log: Logger) -> None:
        self.exited = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        with ExitStack() as failed, ExitStack() as theirs:
            question = theirs.enter_context(os.fdopen(os.memfd_create("reset-request"), "w+b"))
            question.write(msgspec.json.encode(request))
            question.seek(0)
            self._result, result = _pipe(failed, theirs)
            self._printed, printed = _pipe(failed, theirs)
            # A reset that fills this pipe with other output must not block.
            os.set_blocking(result, False)
            self._process = subprocess.Popen(  # noqa: S603 - this program
                [sys.executable, "-u", "-P", "-m", "hub.reset", target],
                stdin=question,
                stdout=result,
                stderr=printed,
                cwd="/",
                env=environment,
                start_new_session=True,
            )
            failed.callback(self._process.wait)
            failed.callback(self._process.kill)
            # Unlike a process id, it never refers to a different process later, and the event loop can wait for it.
            self._handle = os.pidfd_open(self._process.pid)
            failed.pop_all()
        self.identity = ProcessId.of(self._process.pid)
        self._output = Output(self._printed, log)
        self._reply = b""
        self._loop.add_reader(self._printed, self._on_output)
        self._loop.add_reader(self._handle, self._on_exit)

    @property
    def status(self) -> int:
        """The exit code of the reset, or its negative signal number, after `exited`."""
        return self._process.returncode

    @property
    def reply(self) -> ResetReply | None:
        """The result of the reset, after `exited`; None if there is none."""
        if self.status:
            return None
        try:
            return decode_json(self._reply, ResetReply, "reply")
        except UnreadableError:
            return None

    def terminate(self) -> None:
        """Ask the processes to exit; a second call kills them.

        A stopped guard is continued (SIGCONT), so that it can handle the signal.
        """
        if not self.exited.is_set():
            for number in (signal.SIGTERM, signal.SIGCONT):
                signal.pidfd_send_signal(self._handle, number)

    def _on_output(self) -> None:
        if not self._output.read():
            self._loop.remove_reader(self._printed)

    def _on_exit(self) -> None:
        for descriptor in (self._handle, self._printed):
            self._loop.remove_reader(descriptor)
        self._process.wait()
        self._output.finish()
        try:
            self._reply = os.read(self._result, _REPLY_BYTES)
        except BlockingIOError:
            # A process still holds the other end, although all should have exited.
            self._reply = b""
        for descriptor in (self._handle, self._printed, self._result):
            os.close(descriptor)
        self.exited.set()


def clean_environment() -> dict[str, str]:
    """Return the environment of every reset: PATH, a UTF-8 locale, and the module path of this process.

    The directory of a plugin's file is not on that path: it is in the request.
    """
    directories = source_directories()
    paths = [path for path in sys.path if path not in directories]
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(str(Path(path).absolute()) for path in paths),
    }


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    reading, writing = os.pipe()
    ours.callback(os.close, reading)
    theirs.callback(os.close, writing)
    os.set_blocking(reading, False)
    return reading, writing

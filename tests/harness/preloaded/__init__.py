"""A pytest plugin that starts the hub's processes and plugin processes quickly: by a fork of a prepared process.

Most of the CPU time of a short process of Python is spent on loading modules. So `subprocess` and `asyncio` here start
`python -P -m hub...` with a server that has loaded them, see `tests.harness.preloaded.__main__`; the caller gets a
child of its own as usual. All other commands are run, and so is each that has an environment which affects the start of
Python or of a library, or any option that the server does not know.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from hub.base.prctl import become_subreaper, resign_as_subreaper
from tests.harness.preloaded.protocol import MESSAGE_BYTES, TITLE, Request, main_of

_AFFECTS_START = ("PYTHON", "LD_", "GRPC_", "MALLOC_", "GLIBC_", "LC_", "LANG", "TZ", "MARK", "TMPDIR")
"""The prefixes of variables that have an effect before a process reads them itself, or that mark it for others."""

_UNUSUAL = {"executable", "preexec_fn", "pass_fds", "startupinfo", "shell", "gid", "gids", "uid"}
_EXPECTED = {"close_fds": True, "restore_signals": True, "umask": -1, "creationflags": 0, "process_group": -1}

SERVERS: set[int] = set()
"""The process ids of the servers of this process."""

_execute_child: Any = subprocess.Popen._execute_child  # type: ignore[attr-defined]
_SIGNATURE = signature(_execute_child)


class Server:
    """Forks processes. Its own process starts with the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None
        self._environment: dict[str, str] = {}

    def can_start(self, environment: Mapping[str, str]) -> bool:
        """Return whether a process with these variables does not differ from one that was started by its command."""
        with self._lock:
            if self._process is None:
                self._start()
        names = {name for name in environment.keys() | self._environment.keys() if name.startswith(_AFFECTS_START)}
        return all(environment.get(name) == self._environment.get(name) for name in names)

    def fork(self, request: Request, files: Sequence[int]) -> int:
        """Start a process with these standard files, as a child of this process, and return its id."""
        assert self._connection is not None
        with self._lock:
            # The process becomes an orphan, and then a child of this one.
            become_subreaper()
            try:
                socket.send_fds(self._connection, [json.dumps(request._asdict()).encode()], files)
                return int(self._connection.recv(MESSAGE_BYTES))
            finally:
                resign_as_subreaper()

    def stop(self) -> None:
        """Stop the server; the processes that it has started do not need it."""
        if self._process is not None and self._connection is not None:
            self._connection.close()
            self._process.wait()

    def _start(self) -> None:
        self._connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._environment = dict(os.environ)
        with theirs:
            command = [sys.executable, "-P", "-m", "tests.harness.preloaded", str(theirs.fileno()), TITLE]
            self._process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True
            )
        SERVERS.add(self._process.pid)


@pytest.fixture(scope="session", autouse=True)
def preloaded_python(process_leaks: None) -> Iterator[None]:  # noqa: ARG001 - at its end, the server has to be gone
    """Start processes with the server until the last test has ended."""
    server = Server()

    def execute_child(process: "subprocess.Popen[bytes]", *arguments: Any) -> None:  # noqa: ANN401 - as in subprocess
        options = _SIGNATURE.bind(process, *arguments).arguments
        request = _request(options)
        if request is None or not server.can_start(request.environment):
            _execute_child(process, *arguments)
            return
        pipes = [options[name] for name in ("p2cread", "c2pwrite", "errwrite")]
        try:
            process.pid = server.fork(request, [own if pipe == -1 else pipe for own, pipe in enumerate(pipes)])
        finally:
            ends = ("p2cread", "p2cwrite", "c2pread", "c2pwrite", "errread", "errwrite")
            process._close_pipe_fds(*(options[name] for name in ends))  # type: ignore[attr-defined]
        process._child_created = True  # type: ignore[attr-defined]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess.Popen, "_execute_child", execute_child)
        yield
    server.stop()


def _request(options: Mapping[str, Any]) -> Request | None:
    """Return what the server is to start; None if the command has to be run."""
    if any(options.get(name) for name in _UNUSUAL):
        return None
    if any(options.get(name, expected) != expected for name, expected in _EXPECTED.items()):
        return None
    arguments, directory = options["args"], options["cwd"] or "."
    if isinstance(arguments, str | bytes | os.PathLike) or not Path(directory).is_dir():
        return None
    command = [os.fspath(word) for word in arguments]
    if not all(isinstance(word, str) for word in command) or main_of(command) is None:
        return None
    environment = dict(os.environ) if options["env"] is None else {**options["env"]}
    if not all(isinstance(text, str) for item in environment.items() for text in item):
        return None
    umask = os.umask(0)
    os.umask(umask)
    return Request(
        command,
        environment,
        str(Path(directory).absolute()),
        umask,
        [int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
        [int(number) for number in signal.valid_signals() if signal.getsignal(number) is signal.SIG_IGN],
        is_leader=bool(options.get("start_new_session")),
    )

"""`python -P -m tests.harness.preloaded FD`: fork a process for each request that arrives on a socket.

The process is forked twice, and the one in between exits at once: so it becomes a child of the process that sent the
request, which is a subreaper at that time.
"""

import gc
import io
import json
import os
import runpy
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

from hub.base.clibrary import skip_c_library_search
from hub.base.processtitle import ProcessTitle
from tests.harness.preloaded.protocol import FILES, MESSAGE_BYTES, Request, main_of


def main() -> None:
    """Fork processes until the socket is closed; in such a process, do what its command does."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    title = ProcessTitle()
    before = dict(os.environ)
    _load()
    assert len(list(Path("/proc/self/task").iterdir())) == 1
    set_by_modules = dict(os.environ.items() - before.items())
    gc.collect()
    gc.freeze()
    # A signal that is sent to a process before it has become what its command starts has its effect later.
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    with suppress(ConnectionError):
        while True:
            message, files, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, FILES)
            if not message:
                return
            if pid := _fork_orphan():
                for file in files:
                    os.close(file)
                connection.send(str(pid).encode())
            else:
                connection.close()
                request = Request(**json.loads(message))
                title.set(request.command)
                _enter(request, files, set_by_modules)
                _run(request)
                return


def _load() -> None:
    """Load what the processes need, but neither their main modules nor the modules of single commands."""
    skip_c_library_search()
    import asyncinotify  # noqa: F401, PLC0415 - looks up the name of the C library

    import hub.agent.agent  # noqa: PLC0415 - as above
    import hub.cli.commands.run  # noqa: PLC0415 - as above
    import hub.plugin.files  # noqa: PLC0415 - as above
    import hub.plugin.loading  # noqa: PLC0415 - as above
    import hub.plugin.process  # noqa: PLC0415 - as above
    import hub.supervisor.hub  # noqa: F401, PLC0415 - as above


def _fork_orphan() -> int:
    """Fork a process whose parent has exited; return its id, and 0 in that process."""
    reader, writer = os.pipe()
    between = os.fork()
    if between:
        os.close(writer)
        os.waitpid(between, 0)
        pid = int(os.read(reader, MESSAGE_BYTES))
        os.close(reader)
        return pid
    os.close(reader)
    pid = os.fork()
    if pid:
        os.write(writer, str(pid).encode())
        os._exit(0)
    os.close(writer)
    return 0


def _enter(request: Request, files: list[int], set_by_modules: dict[str, str]) -> None:
    """Turn this process into what the command would have started."""
    if request.is_leader:
        os.setsid()
    for number, file in enumerate(files):
        os.dup2(file, number)
    for file in files:
        os.close(file)
    os.umask(request.umask)
    os.chdir(request.directory)
    os.environ.clear()
    os.environ.update(set_by_modules | request.environment)
    for number in request.ignored:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, request.blocked)
    for name in ("stdin", "stdout", "stderr"):
        stream = _as_at_start(getattr(sys, name))
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)


def _as_at_start(old: io.TextIOWrapper) -> io.TextIOWrapper:
    """Return a standard stream like one that Python makes when it starts: its file is no longer that of the server."""
    file = io.FileIO(old.fileno(), old.mode, closefd=False)
    is_unbuffered = old.write_through and not file.readable()
    buffer = io.BufferedReader(file) if file.readable() else file if is_unbuffered else io.BufferedWriter(file)
    is_in_lines = old.line_buffering or (file.isatty() and not old.write_through)
    return io.TextIOWrapper(
        buffer,  # type: ignore[arg-type] # as Python does for unbuffered streams
        old.encoding,
        old.errors,
        line_buffering=is_in_lines,
        write_through=old.write_through,
    )


def _run(request: Request) -> None:
    found = main_of(request.command)
    assert found is not None
    module, arguments = found
    sys.orig_argv[:] = request.command
    if " " in module:
        sys.argv[:] = ["-c", *arguments]
        exec(module, {"__name__": "__main__"})  # noqa: S102 - the code of a command, as Python would run it
        return
    sys.argv[:] = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()

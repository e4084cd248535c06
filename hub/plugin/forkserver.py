"""`python -m hub.plugin.forkserver FD`: start plugin processes quickly, for the hub at the other end of a socket.

This process loads what all plugin processes need, once, and forks itself for each of them while the hub is starting. So
a plugin needs a fifth of the CPU time that running its command would take to start, and the plugins of a node share the
memory of these modules. A plugin process loads its own module and configuration itself.

This process has one thread, no event loop and no gRPC channel or server: only then is a fork well defined. It
forks twice, and the process in between exits at once. The hub must be a subreaper, so that it then becomes the
parent of the plugin process.
"""

import gc
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

import hub.plugin.__main__ as plugin_main
from hub.base.clibrary import skip_c_library_search
from hub.base.exits import Exit
from hub.base.prctl import set_death_signal
from hub.base.processtitle import ProcessTitle
from hub.model.forkserver import MESSAGE_BYTES, ForkReply, ForkRequest
from hub.model.heartbeat import BLOCKED_AT_START


def main() -> int:
    """Fork processes until the hub closes the socket; return the exit code of this process, or of a plugin process."""
    set_death_signal(signal.SIGKILL)
    title = ProcessTitle()
    title.set(sys.orig_argv[:-1])
    connection = socket.socket(fileno=int(sys.argv[1]))
    before = dict(os.environ)
    _load()
    if len(list(Path("/proc/self/task").iterdir())) > 1:
        # A module has started a thread. The hub notices that this process has exited, and requests no forks.
        return Exit.FAILED
    set_by_modules = dict(os.environ.items() - before.items())
    # The loaded objects are never garbage. A collection would write to all of them, and end the sharing of memory.
    gc.collect()
    gc.freeze()
    request = None
    # The connection is closed if the hub has exited, and reset if the hub has not read everything.
    with suppress(ConnectionError):
        connection.send(b"\n")
        request = _serve(connection)
    if request is None:
        return Exit.OK
    os.environ.clear()
    os.environ.update(set_by_modules | dict(request.environment))
    title.set(request.command)
    sys.orig_argv[:] = request.command
    sys.argv[:] = [str(plugin_main.__file__), *request.arguments]
    return plugin_main.main()


def _load() -> None:
    """Load what plugin processes need."""
    skip_c_library_search()
    import asyncinotify  # noqa: F401, PLC0415 - looks up the name of the C library

    import hub.plugin.files  # noqa: PLC0415 - they import asyncinotify, too
    import hub.plugin.loading  # noqa: PLC0415 - as above
    import hub.plugin.process  # noqa: F401, PLC0415 - as above


def _serve(connection: socket.socket) -> ForkRequest | None:
    """Fork a process for each request; return the request in that process, and None when the hub closes the socket."""
    while True:
        message, files, _, _ = socket.recv_fds(connection, MESSAGE_BYTES, 1)
        if not message:
            return None
        with socket.socket(fileno=files[0]) as requester:
            request = msgspec.json.decode(message, type=ForkRequest)
            if _fork_orphan():
                connection.close()
                _enter(request, requester)
                return request
        # Only now is the process a child of the hub.
        connection.send(b"\n")


def _fork_orphan() -> bool:
    """Fork a process whose parent has exited; return whether this is that process."""
    between = os.fork()
    if between:
        os.waitpid(between, 0)
        return False
    try:
        is_parent = bool(os.fork())
    except OSError:
        is_parent = True  # the hub finds that there is no process
    if is_parent:
        os._exit(Exit.OK)
    return True


def _enter(request: ForkRequest, requester: socket.socket) -> None:
    """Turn this process into what the command would have started; exit if that fails, or is no longer requested."""
    reply = ForkReply(os.getpid())
    try:
        _prepare(request)
    except (OSError, ValueError, OverflowError, AttributeError) as error:
        reply = ForkReply(error=str(error))
    is_wanted = False
    with suppress(OSError):
        requester.send(msgspec.json.encode(reply))
        is_wanted = bool(requester.recv(1))
    set_death_signal(signal.SIGKILL)
    if not is_wanted or os.getppid() != request.parent:
        os._exit(Exit.FAILED)


def _prepare(request: ForkRequest) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, BLOCKED_AT_START)
    os.setsid()
    for name, value in request.limits.items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name.upper()}"), (value, value))
    os.chdir(request.directory)


if __name__ == "__main__":
    sys.exit(main())

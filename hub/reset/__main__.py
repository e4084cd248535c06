"""`python -m hub.reset MODULE:FUNCTION`: reset one device, and leave nothing behind.

The plugin process starts this one, the guard, with the request on standard input. The guard forks the worker, which
calls the plugin's function, and then only waits: for the worker's end, for SIGTERM, or for the end of the plugin
process. The guard ends when all that the reset started has ended, killed if need be, and ends the way the worker did.
So whoever waits for the guard has waited for everything, and a guard that does not end tells of a process that even
SIGKILL does not reach.

It is a process apart from the worker because a worker that hangs, crashes or is killed can clean up nothing, and
because what it leaves behind would otherwise be left to the container's first process.
"""

import contextlib
import os
import resource
import signal
import sys
import time
from pathlib import Path

import msgspec

from hub.base.prctl import become_subreaper, set_death_signal
from hub.reset.messages import ResetRequest

_WATCHED = {signal.SIGCHLD, signal.SIGTERM}


def main() -> None:
    """Guard one worker."""
    set_death_signal(signal.SIGTERM)
    for number in _WATCHED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, _WATCHED)
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=ResetRequest)
    if os.getppid() != request.parent:
        # It ended before the death signal was set.
        return
    become_subreaper()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    result = _keep_result_apart()
    guard = os.getpid()
    worker = os.fork()
    if not worker:
        _become_worker(sys.argv[1], request, guard, result)
    os.close(result)
    status = _wait(worker)
    if status is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(worker, signal.SIGTERM)
        status = _wait(worker, request.term_timeout)
    _end_everything()
    _end_like(status or 0)


def _keep_result_apart() -> int:
    """Take standard output, on which the result is awaited, out of the reach of what the reset prints.

    Nothing can be read from standard input any more: a reset that asks a question gets no answer.
    """
    result = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return result


def _become_worker(target: str, request: ResetRequest, guard: int, result: int) -> None:
    try:
        from hub.reset.worker import work  # noqa: PLC0415 - the guard needs none of it

        work(target, request, guard, result)
    finally:
        # Whatever happened, the guard's part of the program is not for the worker.
        os._exit(1)


def _wait(worker: int, seconds: float | None = None) -> int | None:
    """The worker's status once it has ended; None when SIGTERM comes first, or the time is over."""
    end = None if seconds is None else time.monotonic() + seconds
    while True:
        ended, status = os.waitpid(worker, os.WNOHANG)
        if ended:
            return status
        if end is None:
            came: signal.struct_siginfo | None = signal.sigwaitinfo(_WATCHED)
        else:
            came = signal.sigtimedwait(_WATCHED, max(0.0, end - time.monotonic()))
        if came is None or came.si_signo == signal.SIGTERM:
            return None


def _end_everything() -> None:
    """Kill what is left, and wait for it as long as it takes.

    Only children are looked for. Theirs become ours with their death, and are found in the next round.
    """
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        for child in children.read_text(encoding="ascii").split():
            os.kill(int(child), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _end_like(status: int) -> None:
    """End with the worker's exit code, or by its signal."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        number = -code
        with contextlib.suppress(OSError):
            # Not to be had for SIGKILL, which needs none.
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(code)


if __name__ == "__main__":
    main()

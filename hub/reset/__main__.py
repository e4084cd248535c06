"""`python -m hub.reset MODULE:FUNCTION`: reset one device, and leave no process behind.

The plugin process starts this process, the guard, with the request on standard input. The guard forks the worker, which
calls the plugin's function, and then only waits: for the worker to exit, for SIGTERM, or for the plugin process to
exit. If necessary, the guard kills the processes that the reset started. It exits once all of them have exited, with
the exit code or signal of the worker. So waiting for the guard means waiting for all of them, and if the guard
does not exit, a process has survived SIGKILL.

The guard is separate from the worker because a worker that hangs, crashes or is killed cannot clean up, and because
processes that it leaves behind would otherwise become children of the container's first process.
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
    """Run the guard of one worker."""
    set_death_signal(signal.SIGTERM)
    for number in _WATCHED:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, _WATCHED)
    request = msgspec.json.decode(sys.stdin.buffer.read(), type=ResetRequest)
    if os.getppid() != request.parent:
        # The parent exited before the death signal was set.
        return
    become_subreaper()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    result = _separate_result()
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
    _exit_like(status or 0)


def _separate_result() -> int:
    """Move the pipe for the result away from standard output, so that the reset cannot print into it.

    Standard input is replaced too: a reset that prompts for input gets none.
    """
    result = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, sys.stdin.fileno())
    os.close(nothing)
    return result


def _become_worker(target: str, request: ResetRequest, guard: int, result: int) -> None:
    try:
        from hub.reset.worker import work  # noqa: PLC0415 - the guard does not need it

        work(target, request, guard, result)
    finally:
        # The worker must never run the guard's part of the program.
        os._exit(1)


def _wait(worker: int, seconds: float | None = None) -> int | None:
    """Wait for the worker and return its status; None if SIGTERM arrives first, or after `seconds`."""
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
    """Kill all remaining descendants, and wait for them as long as it takes.

    Only direct children are looked up. When a child dies, its own children become children of this process, and are
    found in the next round.
    """
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while True:
        for child in children.read_text(encoding="ascii").split():
            os.kill(int(child), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
            # Reap all that have exited by now: with thousands, listing and killing the rest again after each one takes
            # seconds.
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass
        except ChildProcessError:
            return


def _exit_like(status: int) -> None:
    """Exit with the worker's exit code, or through the signal that killed it."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        number = -code
        with contextlib.suppress(OSError):
            # Fails for SIGKILL, which has no handler.
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
        os.kill(os.getpid(), number)
    os._exit(code)


if __name__ == "__main__":
    main()

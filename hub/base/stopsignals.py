"""The signals that stop a process."""

import asyncio
import signal


def stop_signals() -> list[signal.Signals]:
    """Return SIGTERM, and SIGINT unless the process was started with SIGINT ignored.

    Shells ignore SIGINT in the background jobs of a script, so that Ctrl-C stops the script and not the jobs. A handler
    of the event loop would override that.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGINT]


def stop_event() -> asyncio.Event:
    """Return an event that each of these signals sets, as long as the current event loop runs."""
    stopped = asyncio.Event()
    for number in stop_signals():
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    return stopped

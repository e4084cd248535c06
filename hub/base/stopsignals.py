"""The signals that stop a process."""

import signal


def stop_signals() -> list[signal.Signals]:
    """Return SIGTERM, and SIGINT unless the process was started with SIGINT ignored.

    Shells ignore SIGINT in the background jobs of a script, so that Ctrl-C ends the script and not the jobs. A handler
    of the event loop would override that.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGINT]

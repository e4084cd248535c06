"""The signals by which a process is asked to stop."""

import signal


def stop_signals() -> list[signal.Signals]:
    """SIGTERM, and SIGINT unless the process was started with it ignored.

    A shell starts the background jobs of a script that way, so that Ctrl-C ends the script and not them. An event
    loop's handler would overrule that.
    """
    ignored = signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    return [signal.SIGTERM] if ignored else [signal.SIGTERM, signal.SIGINT]

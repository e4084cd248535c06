"""Rules about the end of a plugin."""

import time
from dataclasses import dataclass

from hub.base.paths import KUBELET_SOCKET
from hub.base.sockets import is_served
from hub.testing.conformance.rule import Findings, Level, NotApplicable, rule
from hub.testing.conformance.subject import Subject

_TERMINATION = "Kubernetes documentation, Pod Lifecycle, Termination of Pods"


@dataclass(frozen=True, slots=True)
class Stop:
    """What a plugin did after SIGTERM."""

    seconds: float
    code: int | None
    """Its exit code, or the negative number of the signal that killed it; None if it was still running."""
    exit: str
    sockets: tuple[str, ...]
    """The sockets that it left in the plugin directory."""


async def stopped(subject: Subject) -> Stop:
    """Send SIGTERM to the plugin."""
    command = subject.command
    await subject.registered()
    begin = time.monotonic()
    await command.terminate(subject.limits.stop)
    left = [path for path in subject.plugin_dir.iterdir() if path.is_socket() and path.name != KUBELET_SOCKET]
    names = tuple(sorted(path.name for path in left if not is_served(path)))
    return Stop(time.monotonic() - begin, command.exit_code, command.exit, names)


@rule(
    "stops-on-sigterm",
    Level.SHOULD,
    "It exits with code 0 soon after SIGTERM.",
    reason="Every update of its pod waits for it to exit, for 30 s by default; then the kubelet sends SIGKILL. "
    "Meanwhile, the node has no devices. As PID 1 in a container, most programs without a handler ignore SIGTERM.",
    source=_TERMINATION,
)
async def stops_on_sigterm(subject: Subject) -> Findings:
    """Stop it."""
    found = await subject.once(stopped)
    if found.code is None:
        yield f"it was still running {subject.limits.stop:g} s after SIGTERM"
    elif found.code:
        yield f"after SIGTERM, {found.exit}, expected code 0"


@rule(
    "removes-socket",
    Level.SHOULD,
    "It removes its socket when it stops.",
    reason="A socket that nothing is listening on stays until the next start of the kubelet, and misleads "
    "administrators and monitoring.",
    source=_TERMINATION,
)
async def removes_socket(subject: Subject) -> Findings:
    """Look for sockets that it left."""
    found = await subject.once(stopped)
    if found.code is None:
        raise NotApplicable("it does not stop: see the rule stops-on-sigterm")
    for name in found.sockets:
        yield f"after SIGTERM, it left its socket {name}"


RULES = (stops_on_sigterm, removes_socket)

"""Rules about starts of the kubelet, after which each plugin has to register again."""

import asyncio
import time
from collections import Counter
from dataclasses import dataclass

from hub.testing.conformance.rule import Findings, Level, NotApplicable, rule
from hub.testing.conformance.subject import Subject

_CLEANUP = "kubelet, pkg/kubelet/cm/devicemanager/manager.go, CleanupPluginDirectory"
_CONNECTED = "kubelet 1.37, pkg/kubelet/cm/devicemanager/manager.go, PluginConnected"

_DOWN_SECONDS = 0.5
"""How long the kubelet is down in a restart."""


@dataclass(frozen=True, slots=True)
class Return:
    """What a plugin did after a start of the kubelet."""

    seconds: float | None
    """From the start until the kubelet had its list; None if it did not come back."""
    repeated: tuple[str, ...]
    """The resources that it registered more than once."""
    exit: str
    """How it ended, as a clause; empty if it did not."""


async def observe_return(subject: Subject) -> Return:
    """Watch a plugin after a start of the kubelet."""
    begin = time.monotonic()
    if not await subject.until(subject.lists, subject.limits.back):
        return Return(None, (), subject.exit)
    seconds = max(0.0, subject.lists()[0].time - begin)
    # A second registration comes a little later.
    await subject.until(lambda: False, subject.limits.settle)
    return Return(seconds, _repeated(subject, subject.kubelet.starts), subject.exit)


async def restarted(subject: Subject) -> Return:
    """Restart the kubelet, as in an upgrade."""
    await subject.registered()
    await subject.kubelet.stop()
    await asyncio.sleep(_DOWN_SECONDS)
    await subject.kubelet.start()
    return await observe_return(subject)


async def crashed(subject: Subject) -> Return:
    """Crash the kubelet and start another at once; the old one leaves its socket behind."""
    await subject.registered()
    await subject.kubelet.crash()
    await subject.kubelet.start()
    return await observe_return(subject)


def failure(found: Return, limit: float) -> str:
    """Return why a plugin did not come back; empty if it did."""
    if found.seconds is not None and not found.exit:
        return ""
    return found.exit or f"it did not register and send its list within {limit:g} s"


@rule(
    "kubelet-restart",
    Level.MUST,
    "It registers again after the kubelet restarts, without restarting itself.",
    reason="When a kubelet starts, it deletes all sockets in its directory and has no plugins registered. Until the "
    "plugin registers, the resource has no devices, and pods that request one are rejected for good. A plugin that "
    "exits instead depends on the kubelet's back-off delay for container restarts, which grows to minutes.",
    source=_CLEANUP,
)
async def kubelet_restart(subject: Subject) -> Findings:
    """Restart the kubelet."""
    if why := failure(await subject.once(restarted), subject.limits.back):
        yield f"after a restart of the kubelet, {why}"


@rule(
    "kubelet-crash",
    Level.MUST,
    "It registers again after a crash of the kubelet, which leaves its socket behind.",
    reason="The file kubelet.sock is then replaced by another one almost at once. A plugin that checks only whether "
    "the file exists misses that.",
    source=_CLEANUP,
)
async def kubelet_crash(subject: Subject) -> Findings:
    """Crash and start the kubelet."""
    if why := failure(await subject.once(crashed), subject.limits.back):
        yield f"after a crash of the kubelet, {why}"


@rule(
    "quick-return",
    Level.SHOULD,
    "It is back within a second of the kubelet's start.",
    reason="In the meantime, pods that request a device are rejected for good.",
    source=_CLEANUP,
)
async def quick_return(subject: Subject) -> Findings:
    """Check how long it took."""
    times = [found.seconds for found in (await subject.once(restarted), await subject.once(crashed))]
    known = [seconds for seconds in times if seconds is not None]
    if not known:
        raise NotApplicable("it does not come back: see the rule kubelet-restart")
    if max(known) > subject.limits.quick:
        yield f"the kubelet had its list after {max(known):.1f} s, expected at most {subject.limits.quick:g} s"


@rule(
    "registers-once",
    Level.MUST,
    "It registers each resource once with each kubelet.",
    reason="Kubelet 1.37 refuses a second registration of the same socket and forgets the first: when the plugin "
    "exits, its devices stay healthy, and it cannot register again until the kubelet restarts. In earlier kubelets, "
    "the end of the first stream disconnects the second one.",
    source=_CONNECTED,
)
async def registers_once(subject: Subject) -> Findings:
    """Count the registrations of the first start, and after each restart."""
    for found, when in ((await subject.once(restarted), "restart"), (await subject.once(crashed), "crash")):
        for name in found.repeated:
            yield f"it registered {name} more than once after a {when} of the kubelet"
    for name in _repeated(subject, 1):
        yield f"it registered {name} more than once after its start"


def _repeated(subject: Subject, start: int) -> tuple[str, ...]:
    """Return the resources that were registered more than once; other plugins in the directory do not count."""
    calls = [each for each in subject.kubelet.registrations if each.start == start and not each.error]
    counts = Counter(each.resource for each in calls if subject.has_command or each.resource == subject.resource)
    return tuple(name for name, count in counts.items() if count > 1)


RULES = (kubelet_restart, kubelet_crash, quick_return, registers_once)

"""Rules about several ListAndWatch streams open at once, as happens around each kubelet restart and each upgrade."""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from hub.testing.conformance.lists import devices, watched
from hub.testing.conformance.liststream import Listing, opened_listing
from hub.testing.conformance.rule import Findings, Level, rule
from hub.testing.conformance.subject import Subject

COUNT = 3
RUN_CLIENT = "kubelet, pkg/kubelet/cm/devicemanager/plugin/v1beta1/handler.go, runClient"


@rule(
    "stream-stays-open",
    Level.MUST,
    "ListAndWatch does not return while the plugin is running.",
    reason="To the kubelet, the end of the stream means that the plugin is gone: all its devices become unhealthy.",
    source=RUN_CLIENT,
)
async def stream_stays_open(subject: Subject) -> Findings:
    """Check the stream that was watched."""
    await devices(subject)
    listing = await subject.once(watched)
    if listing.end:
        yield f"ListAndWatch ended within {subject.limits.watch:g} s: {listing.end}"


@rule(
    "several-streams",
    Level.MUST,
    "If several streams are open at the same time, all of them get the list.",
    reason="A new kubelet opens its stream before the plugin knows that the old kubelet's stream is dead. If the new "
    "stream waits for the old one, the resource has no devices in the meantime.",
    source=RUN_CLIENT,
)
async def several_streams(subject: Subject) -> Findings:
    """Open several streams, in addition to the kubelet's."""
    async with opened_several(subject) as listings:
        empty = [listing for listing in listings if not listing.lists]
        if empty:
            yield f"{len(empty)} of {COUNT} streams got no list within {subject.limits.quick:g} s"


@rule(
    "streams-independent",
    Level.MUST,
    "The end of one stream does not affect the others, nor the plugin.",
    reason="When an old kubelet's stream ends late, the new kubelet must keep its own; otherwise, all devices become "
    "unhealthy.",
    source=RUN_CLIENT,
)
async def streams_independent(subject: Subject) -> Findings:
    """Open two streams, close one, and watch the other."""
    await devices(subject)
    before = subject.registration_count()
    async with subject.connect() as stub, opened_listing(stub) as listing:
        async with subject.connect() as other, opened_listing(other) as closed:
            await subject.until(lambda: listing.lists and closed.lists, subject.limits.quick)
        await subject.until(lambda: listing.end, subject.limits.settle)
        if listing.end:
            yield f"after the end of one stream, another one ended too: {listing.end}"
    if subject.exit:
        yield f"after the end of a stream, {subject.exit}"
    elif subject.registration_count() > before:
        yield "after the end of another client's stream, it registered again"


@asynccontextmanager
async def opened_several(subject: Subject) -> AsyncIterator[Sequence[Listing]]:
    """Open several streams, each on a connection of its own, and wait for their first lists."""
    async with AsyncExitStack() as stack:
        stubs = [await stack.enter_async_context(subject.connect()) for _ in range(COUNT)]
        listings = [await stack.enter_async_context(opened_listing(stub)) for stub in stubs]
        await subject.until(lambda: all(each.lists for each in listings), subject.limits.quick)
        yield listings


RULES = (stream_stays_open, several_streams, streams_independent)

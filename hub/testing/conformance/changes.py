"""A rule about changes to the list; after its check, the list differs from what was observed before."""

import asyncio
from collections.abc import Sequence

from hub.base.errors import ConfigError
from hub.testing.conformance.lists import devices
from hub.testing.conformance.liststream import Listing, same_devices
from hub.testing.conformance.rule import Findings, Level, rule
from hub.testing.conformance.streams import COUNT, RUN_CLIENT, opened_several
from hub.testing.conformance.subject import Subject


@rule(
    "changes-everywhere",
    Level.MUST,
    "Every stream gets every change.",
    reason="If a change goes to only one of the streams, the kubelet may be waiting on another one: a broken device "
    "stays healthy, and pods get it.",
    source=RUN_CLIENT,
)
async def changes_everywhere(subject: Subject) -> Findings:
    """Change the list while some streams are open."""
    change = subject.change
    await devices(subject)
    async with opened_several(subject) as listings:
        received = len(subject.lists()) if subject.has_kubelet else 0
        await _run(change)
        await subject.until(lambda: any(_changed(each) for each in listings), subject.limits.back)
        await subject.until(lambda: all(_changed(each) for each in listings), subject.limits.quick)
        lacking = [each for each in listings if not _changed(each)]
        if len(lacking) == len(listings):
            yield f"no stream got a different list within {subject.limits.back:g} s of {' '.join(change)}"
            return
        if lacking:
            yield f"{len(lacking)} of {COUNT} streams did not get the change"
        informed = not subject.has_kubelet or await subject.until(
            lambda: len(subject.lists()) > received, subject.limits.quick
        )
        if not informed:
            yield "the kubelet's stream did not get the change"


def _changed(listing: Listing) -> bool:
    return len(listing.lists) > 1 and not same_devices(listing.lists[0].devices, listing.lists[-1].devices)


async def _run(command: Sequence[str]) -> None:
    """Run the user's command. Its standard output is dropped, because it would appear among the results.

    Raises:
        ConfigError: it failed, so the plugin is not at fault.
    """
    nothing = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*command, stdin=nothing, stdout=nothing)
    except OSError as error:
        raise ConfigError("--change", f"{command[0]} cannot be started: {error.strerror}") from None
    if code := await process.wait():
        raise ConfigError("--change", f"{' '.join(command)} exited with code {code}, expected 0")


RULES = (changes_everywhere,)

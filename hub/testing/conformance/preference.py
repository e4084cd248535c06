"""Rules about GetPreferredAllocation."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import grpc

from hub.base.wording import counted
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.conformance.allocation import UNKNOWN_ID
from hub.testing.conformance.calls import Answer, answer_of
from hub.testing.conformance.lists import healthy
from hub.testing.conformance.registration import require_option
from hub.testing.conformance.rule import Findings, Level, NotApplicable, rule
from hub.testing.conformance.subject import Subject

_CHOICE = "kubelet, pkg/kubelet/cm/devicemanager/manager.go, devicesToAllocate"


@dataclass(frozen=True, slots=True)
class Choice:
    """A request, and the response to it."""

    available: Sequence[str]
    required: Sequence[str]
    size: int
    answer: Answer[wire.PreferredAllocationResponse]

    def __str__(self) -> str:
        required = f", of which {len(self.required)} is required" if self.required else ""
        return f"GetPreferredAllocation, {self.size} of {counted(len(self.available), 'device')}{required}"


async def choices(subject: Subject) -> list[Choice]:
    """Request choices of several sizes."""
    await require_option(subject, "get_preferred_allocation_available")
    ids = await healthy(subject)
    requests = [(ids, [], 1), (ids, ids[-1:], min(2, len(ids))), (ids, [], len(ids)), ([*ids, UNKNOWN_ID], [], 1)]
    found: list[Choice] = []
    for request in requests:
        found.append(await _chosen(subject, *request))
        if found[-1].answer.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            # The plugin hangs, and would do so for each size.
            break
    return found


async def _chosen(subject: Subject, available: Sequence[str], required: Sequence[str], size: int) -> Choice:
    entry = wire.ContainerPreferredAllocationRequest(
        available_deviceIDs=available, must_include_deviceIDs=required, allocation_size=size
    )
    request = wire.PreferredAllocationRequest(container_requests=[entry])
    async with subject.connect() as stub:
        call = stub.GetPreferredAllocation(request, timeout=subject.limits.answer)
        return Choice(available, required, size, await answer_of(call))


@rule(
    "preference-answers",
    Level.MUST,
    "GetPreferredAllocation never returns an error; without a preference, it returns no devices.",
    reason="If the call returns an error, the pod is rejected for good. Without a response, the kubelet waits, and "
    "admits no other pod. After an empty response, the kubelet makes its own choice.",
    source=_CHOICE,
)
async def preference_answers(subject: Subject) -> Findings:
    """Look for errors, even if a device has just left the list."""
    for each in await subject.once(choices):
        if each.answer.is_unimplemented:
            raise NotApplicable("it is not implemented: see the rule options-implemented")
        if each.answer.error:
            gone = " (one of them has left the list)" if UNKNOWN_ID in each.available else ""
            yield f"{each}{gone}: {each.answer.error}"


@rule(
    "preference-legal",
    Level.SHOULD,
    "Its response is empty, or contains exactly as many devices as requested: only available ones and all required "
    "ones.",
    reason="The kubelet drops ids that are not available, and fills the rest with arbitrary devices: the container "
    "gets a combination that the plugin did not choose.",
    source=_CHOICE,
)
async def preference_legal(subject: Subject) -> Findings:
    """Check each choice."""
    for each in await subject.once(choices):
        responses = each.answer.message.container_responses if each.answer.message else ()
        ids = responses[0].deviceIDs if responses else ()
        if ids and (problem := _problem(each, ids)):
            yield f"{each}: {problem}"


def _problem(choice: Choice, ids: Sequence[str]) -> str:
    if foreign := set(ids) - set(choice.available):
        return f"{min(foreign)!r} is not available"
    if twice := [name for name, count in Counter(ids).items() if count > 1]:
        return f"{twice[0]!r} appears twice"
    if missing := set(choice.required) - set(ids):
        return f"{min(missing)!r} is required, but missing"
    if len(ids) != choice.size:
        return f"the response has {counted(len(ids), 'device')}, expected {choice.size}"
    return ""


@rule(
    "preference-quick",
    Level.SHOULD,
    "GetPreferredAllocation answers within a second.",
    reason="The kubelet admits pods one after another, and waits for the response indefinitely.",
    source="kubelet, pkg/kubelet/cm/devicemanager/endpoint.go, getPreferredAllocation",
)
async def preference_quick(subject: Subject) -> Findings:
    """Check the slowest response."""
    slowest = max(await subject.once(choices), key=lambda each: each.answer.seconds)
    if slowest.answer.seconds > subject.limits.quick:
        yield f"{slowest}: {slowest.answer.seconds:.1f} s, expected at most {subject.limits.quick:g} s"


RULES = (preference_answers, preference_legal, preference_quick)

"""Rules about Allocate: which requests it accepts and refuses."""

from collections.abc import Sequence

from google.protobuf.json_format import MessageToDict

from hub.base.failures import short_repr
from hub.base.wording import counted
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.conformance.calls import Answer, answer_of, answers
from hub.testing.conformance.lists import HEALTHY, devices, healthy
from hub.testing.conformance.rule import Findings, Level, NotApplicable, rule
from hub.testing.conformance.subject import Subject

UNKNOWN_ID = "dphub-verify-no-such-device"

_ALLOCATE = "kubelet, pkg/kubelet/cm/devicemanager/manager.go, allocateContainerResources"
_CALL = "kubelet, pkg/kubelet/cm/devicemanager/endpoint.go, allocate"


async def allocate(subject: Subject, *containers: Sequence[str]) -> Answer[wire.AllocateResponse]:
    """Allocate these devices, by container."""
    entries = [wire.ContainerAllocateRequest(devices_ids=ids) for ids in containers]
    request = wire.AllocateRequest(container_requests=entries)
    async with subject.connect() as stub:
        return await answer_of(stub.Allocate(request, timeout=subject.limits.answer))


async def first_allocation(subject: Subject) -> Answer[wire.AllocateResponse]:
    """Allocate one healthy device."""
    return await allocate(subject, (await healthy(subject))[:1])


async def second_allocation(subject: Subject) -> Answer[wire.AllocateResponse]:
    """Allocate the same device again, as if its pod had ended."""
    await granted(subject)
    return await allocate(subject, (await healthy(subject))[:1])


async def granted(subject: Subject) -> wire.AllocateResponse:
    """Return the response to the first allocation.

    Raises:
        NotApplicable: it failed.
    """
    message = (await subject.once(first_allocation)).message
    if message is None or not message.container_responses:
        raise NotApplicable("it allocates nothing: see the rule allocate-answers")
    return message


@rule(
    "allocate-answers",
    Level.MUST,
    "Allocate answers a request for a healthy device, with a response for its container.",
    reason="The pod is rejected for good otherwise. The kubelet waits for the response indefinitely, and admits no "
    "other pod in the meantime.",
    source=_ALLOCATE,
)
async def allocate_answers(subject: Subject) -> Findings:
    """Allocate one device."""
    answer = await subject.once(first_allocation)
    if answer.error:
        yield f"Allocate for {(await healthy(subject))[0]!r}: {answer.error}"
    elif answer.message and not answer.message.container_responses:
        yield "the response has no entry for the container"


@rule(
    "allocate-quick",
    Level.SHOULD,
    "Allocate answers within a second.",
    reason="The kubelet admits pods one after another: each waits for all calls for the pods before it. Long work "
    "belongs in PreStartContainer.",
    source=_CALL,
)
async def allocate_quick(subject: Subject) -> Findings:
    """Check the allocations so far."""
    await granted(subject)
    slowest = max((await subject.once(first_allocation)).seconds, (await subject.once(second_allocation)).seconds)
    if slowest > subject.limits.quick:
        yield f"the response took {slowest:.1f} s, expected at most {subject.limits.quick:g} s"


@rule(
    "allocate-again",
    Level.MUST,
    "Allocate answers a second request for the same device.",
    reason="No call reports that a pod has terminated and its device is free. A plugin that counts a device as taken "
    "never hands it out again.",
    source="device plugin API: there is no call for the release of a device",
)
async def allocate_again(subject: Subject) -> Findings:
    """Allocate the same device again."""
    if error := (await subject.once(second_allocation)).error:
        yield f"the second Allocate for {(await healthy(subject))[0]!r}: {error}"


@rule(
    "allocate-same",
    Level.SHOULD,
    "Allocate returns the same response for the same device each time.",
    reason="The kubelet keeps the response in its checkpoint and uses it for every restart of the container. Anything "
    "that is valid only once makes the second start fail.",
    source=_ALLOCATE,
)
async def allocate_same(subject: Subject) -> Findings:
    """Compare two responses."""
    first, second = await granted(subject), (await subject.once(second_allocation)).message
    if second is None or not second.container_responses:
        raise NotApplicable("the second request fails: see the rule allocate-again")
    one, other = first.container_responses[0], second.container_responses[0]
    for name in [field.name for field in one.DESCRIPTOR.fields]:
        if getattr(one, name) != getattr(other, name):
            values = f"{_shown(one, name)}, then {_shown(other, name)}"
            yield f"two responses for {(await healthy(subject))[0]!r} differ in {name}: {values}"


def _shown(response: wire.ContainerAllocateResponse, field: str) -> str:
    values = MessageToDict(response, preserving_proto_field_name=True)
    return short_repr(values[field]) if field in values else "nothing"


@rule(
    "allocate-each-container",
    Level.SHOULD,
    "Allocate returns one response for each container in the request, in the same order.",
    reason="Today's kubelet sends one container at a time, but the API allows several, and later kubelets may send "
    "them.",
    source=_ALLOCATE,
)
async def allocate_each_container(subject: Subject) -> Findings:
    """Allocate for two containers."""
    await granted(subject)
    first, *others = await healthy(subject)
    if not others:
        # The same device in both containers would be a request that names it twice.
        raise NotApplicable("it lists only one healthy device")
    answer = await allocate(subject, [first], others[:1])
    if answer.message is None:
        yield f"Allocate for two containers: {answer.error}"
    elif len(answer.message.container_responses) != 2:  # noqa: PLR2004 - as many as containers
        yield f"a request for two containers got {counted(len(answer.message.container_responses), 'response')}"


@rule(
    "refuses-unknown",
    Level.MUST,
    "Allocate returns an error for an id that is not in the list.",
    reason="The kubelet can choose a device that has just left the list. Without the error, the pod starts without its "
    "device.",
    source=_ALLOCATE,
)
async def refuses_unknown(subject: Subject) -> Findings:
    """Request an unknown id."""
    async for finding in _accepted(subject, f"the unknown id {UNKNOWN_ID!r}", UNKNOWN_ID):
        yield finding


@rule(
    "refuses-duplicates",
    Level.SHOULD,
    "Allocate returns an error for a request that names a device twice.",
    reason="The kubelet never sends this, so the client is faulty. A plugin that accepts the request gives the "
    "container fewer devices than it counts on, and nothing says so.",
    source=_CALL,
)
async def refuses_duplicates(subject: Subject) -> Findings:
    """Request a device twice."""
    name = (await healthy(subject))[0]
    async for finding in _accepted(subject, f"a request with {name!r} twice", name, name):
        yield finding


@rule(
    "refuses-unhealthy",
    Level.SHOULD,
    "Allocate returns an error for a device that is not healthy.",
    reason="The kubelet can choose a device that has just become unhealthy. With the error, the pod fails at once, and "
    "the reason is in its status.",
    source=_ALLOCATE,
)
async def refuses_unhealthy(subject: Subject) -> Findings:
    """Request an unhealthy device."""
    unhealthy = [device.ID for device in await devices(subject) if device.health != HEALTHY]
    if not unhealthy:
        raise NotApplicable("it lists no unhealthy device")
    async for finding in _accepted(subject, f"the unhealthy device {unhealthy[0]!r}", unhealthy[0]):
        yield finding


async def _accepted(subject: Subject, what: str, *ids: str) -> Findings:
    """Report a request that gets anything but an error from a plugin that continues to run."""
    await granted(subject)
    answer = await allocate(subject, ids)
    if not answer.error:
        yield f"Allocate accepted {what}"
    elif subject.exit or not await answers(await subject.socket(), subject.limits.answer):
        yield f"after Allocate for {what}, {subject.exit or 'the plugin does not answer'}"


RULES = (
    allocate_answers,
    allocate_quick,
    allocate_again,
    allocate_same,
    allocate_each_container,
    refuses_unknown,
    refuses_duplicates,
    refuses_unhealthy,
)

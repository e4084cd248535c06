"""Rules about PreStartContainer."""

from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.conformance.allocation import granted
from hub.testing.conformance.calls import Answer, answer_of
from hub.testing.conformance.lists import healthy
from hub.testing.conformance.registration import require_option
from hub.testing.conformance.rule import Findings, Level, NotApplicable, rule
from hub.testing.conformance.subject import Subject

_PRE_START = "kubelet, pkg/kubelet/cm/devicemanager/manager.go, callPreStartContainerIfNeeded"


async def first_start(subject: Subject) -> Answer[wire.PreStartContainerResponse]:
    """Start a container with one device."""
    await require_option(subject, "pre_start_required")
    await granted(subject)
    return await _started(subject)


async def second_start(subject: Subject) -> Answer[wire.PreStartContainerResponse]:
    """Start the container again, such as after a crash."""
    if (await subject.once(first_start)).error:
        raise NotApplicable("the first call fails: see the rule prestart-answers")
    return await _started(subject)


async def _started(subject: Subject) -> Answer[wire.PreStartContainerResponse]:
    request = wire.PreStartContainerRequest(devices_ids=(await healthy(subject))[:1])
    async with subject.connect() as stub:
        return await answer_of(stub.PreStartContainer(request, timeout=subject.limits.pre_start))


@rule(
    "prestart-answers",
    Level.MUST,
    "PreStartContainer succeeds within 30 s.",
    reason="The kubelet cancels the call after 30 s, and an error keeps the container from starting.",
    source="kubelet, pkg/kubelet/cm/devicemanager/endpoint.go, preStartContainer",
)
async def prestart_answers(subject: Subject) -> Findings:
    """Call PreStartContainer."""
    answer = await subject.once(first_start)
    if answer.is_unimplemented:
        raise NotApplicable("it is not implemented: see the rule options-implemented")
    if answer.error:
        yield f"PreStartContainer: {answer.error}"


@rule(
    "prestart-again",
    Level.MUST,
    "PreStartContainer succeeds again for the same device.",
    reason="The kubelet calls it at each start of the container, without Allocate in between.",
    source=_PRE_START,
)
async def prestart_again(subject: Subject) -> Findings:
    """Call PreStartContainer again."""
    if error := (await subject.once(second_start)).error:
        yield f"the second PreStartContainer: {error}"


RULES = (prestart_answers, prestart_again)

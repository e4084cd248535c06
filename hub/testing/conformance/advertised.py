"""A rule about the calls that a plugin's options advertise."""

from hub.testing.conformance.preference import choices
from hub.testing.conformance.prestart import first_start
from hub.testing.conformance.registration import options
from hub.testing.conformance.rule import Findings, Level, NotApplicable, rule
from hub.testing.conformance.subject import Subject


@rule(
    "options-implemented",
    Level.MUST,
    "It implements the calls that its options advertise.",
    reason="If GetPreferredAllocation returns an error, the pod is rejected for good. An error from PreStartContainer "
    "keeps its container from starting.",
    source="kubelet, pkg/kubelet/cm/devicemanager/manager.go, callGetPreferredAllocationIfAvailable and "
    "callPreStartContainerIfNeeded",
)
async def options_implemented(subject: Subject) -> Findings:
    """Check the responses to the calls that are advertised."""
    found = (await subject.once(options)).message
    if found is None or not (found.pre_start_required or found.get_preferred_allocation_available):
        raise NotApplicable("its options advertise no call")
    if found.get_preferred_allocation_available and any(
        each.answer.is_unimplemented for each in await subject.once(choices)
    ):
        yield "get_preferred_allocation_available is true, but GetPreferredAllocation is not implemented"
    if found.pre_start_required and (await subject.once(first_start)).is_unimplemented:
        yield "pre_start_required is true, but PreStartContainer is not implemented"


RULES = (options_implemented,)

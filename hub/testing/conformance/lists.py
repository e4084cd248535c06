"""Rules about the lists of devices."""

from collections import Counter
from itertools import pairwise

from hub.base.wording import counted
from hub.kubelet.wire import v1beta1_pb2 as wire
from hub.testing.conformance.liststream import Listing, opened_listing, same_devices
from hub.testing.conformance.rule import Findings, Level, NotApplicable, rule
from hub.testing.conformance.subject import Subject

HEALTHY, UNHEALTHY = "Healthy", "Unhealthy"

MAX_LIST_BYTES = 4 * 1024 * 1024
"""The maximum size of a message that the kubelet's gRPC client receives: the default of grpc-go."""

MAX_ID_CHARACTERS = 63

_UPDATE = "kubelet, pkg/kubelet/cm/devicemanager/manager.go, genericDeviceUpdateCallback"
_API = "device plugin API, k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1/api.proto, Device"


async def watched(subject: Subject) -> Listing:
    """Watch one stream for a while; rules about lists share what was seen."""
    async with subject.connect() as stub, opened_listing(stub) as listing:
        if await subject.until(lambda: listing.lists or listing.end, subject.limits.answer):
            await subject.until(lambda: listing.end, subject.limits.watch)
        return listing


async def devices(subject: Subject) -> list[wire.Device]:
    """Return the devices of the latest list.

    Raises:
        NotApplicable: there is no list.
    """
    listing = await subject.once(watched)
    if not listing.lists:
        raise NotApplicable("it sends no list: see the rules first-list and several-streams")
    return list(listing.lists[-1].devices)


async def healthy(subject: Subject) -> list[str]:
    """Return the ids of the healthy devices.

    Raises:
        NotApplicable: there are none.
    """
    ids = dict.fromkeys(device.ID for device in await devices(subject) if device.health == HEALTHY)
    if not ids:
        raise NotApplicable("it lists no healthy device")
    return list(ids)


@rule(
    "first-list",
    Level.MUST,
    "ListAndWatch sends the first list at once, even an empty one.",
    reason="After each start of the kubelet, the resource has no devices until the list arrives, and pods that request "
    "one are rejected for good.",
    source=_UPDATE,
)
async def first_list(subject: Subject) -> Findings:
    """Measure the time until the first list."""
    listing, limit = await subject.once(watched), subject.limits.quick
    seconds = await _first_to_kubelet(subject) if subject.has_kubelet else listing.first_after
    if seconds is None:
        yield _missing(subject, listing)
    elif seconds > limit:
        yield f"the first list came after {seconds:.1f} s, expected at most {limit:g} s"


def _missing(subject: Subject, listing: Listing) -> str:
    if listing.lists:
        return "the kubelet received no list, although this check did: see the rules list-size and several-streams"
    return f"ListAndWatch ended: {listing.end}" if listing.end else f"no list within {subject.limits.answer:g} s"


async def _first_to_kubelet(subject: Subject) -> float | None:
    """Return how long the kubelet waited for its first list; it may be the only client that gets one."""
    registered = await subject.registered()
    return max(0.0, subject.lists()[0].time - registered.time) if subject.lists() else None


@rule(
    "list-size",
    Level.MUST,
    "A list is at most 4 MiB in size.",
    reason="The kubelet's gRPC client ends the stream on receiving a larger message, and all devices of the resource "
    "become unhealthy.",
    source="grpc-go, the default of MaxCallRecvMsgSize, which the kubelet does not change",
)
async def list_size(subject: Subject) -> Findings:
    """Check all lists."""
    listing = await subject.once(watched)
    if listing.is_too_long:
        yield f"a list is too long even for this check, expected at most {MAX_LIST_BYTES} bytes: {listing.end}"
        return
    await devices(subject)
    for each in listing.lists:
        if each.ByteSize() > MAX_LIST_BYTES:
            size = f"{each.ByteSize()} bytes long, expected at most {MAX_LIST_BYTES}"
            yield f"a list of {counted(len(each.devices), 'device')} is {size}"


@rule(
    "ids-unique",
    Level.MUST,
    "Each device has an id, and no other device has the same one.",
    reason="The kubelet keeps devices by id: two devices with the same id are counted once, and if only one of them is "
    "healthy, the node's capacity is wrong.",
    source=_UPDATE,
)
async def ids_unique(subject: Subject) -> Findings:
    """Count ids."""
    for name, count in Counter(device.ID for device in await devices(subject)).items():
        if not name:
            yield f"{counted(count, 'device')} without an id"
        elif count > 1:
            yield f"{count} devices have the id {name!r}"


@rule(
    "ids-short",
    Level.SHOULD,
    "An id has at most 63 characters.",
    reason="The API allows no more. The kubelet accepts longer ids, but other clients of the API may not accept them.",
    source=_API,
)
async def ids_short(subject: Subject) -> Findings:
    """Check all ids."""
    for device in await devices(subject):
        if len(device.ID) > MAX_ID_CHARACTERS:
            yield f"the id {device.ID!r} has {len(device.ID)} characters"


@rule(
    "health-words",
    Level.MUST,
    'The health of a device is "Healthy" or "Unhealthy".',
    reason='Any other word, even "healthy", counts as unhealthy: no pod ever gets the device, and nothing says why.',
    source=_UPDATE,
)
async def health_words(subject: Subject) -> Findings:
    """Check all devices."""
    for device in await devices(subject):
        if device.health not in (HEALTHY, UNHEALTHY):
            yield f"device {device.ID!r} has health {device.health!r}"


@rule(
    "numa-nodes",
    Level.MUST,
    "A NUMA node is 0 or higher; a device without one has no topology.",
    reason="Linux shows -1 for an unknown node. The kubelet treats it as a preference that no node satisfies, and with "
    "the topology policies restricted and single-numa-node it rejects every pod that requests the device.",
    source="kubelet, pkg/kubelet/cm/devicemanager/topology_hints.go, generateDeviceTopologyHints",
)
async def numa_nodes(subject: Subject) -> Findings:
    """Check all devices."""
    for device in await devices(subject):
        for node in device.topology.nodes:
            if node.ID < 0:
                yield f"device {device.ID!r} is on NUMA node {node.ID}"


@rule(
    "sent-on-change",
    Level.SHOULD,
    "It sends a list only if something has changed.",
    reason="For each list, the kubelet writes its checkpoint file to disk, and reconsiders all devices.",
    source=_UPDATE,
)
async def sent_on_change(subject: Subject) -> Findings:
    """Compare each list with the one before, on our stream and on the kubelet's."""
    await devices(subject)
    lists = (await subject.once(watched)).lists
    repeated = sum(same_devices(one.devices, other.devices) for one, other in pairwise(lists))
    if repeated:
        yield f"within {subject.limits.watch:g} s, {counted(repeated, 'list')} repeated the one before"
    elif again := _repeated_to_kubelet(subject):
        yield f"{counted(again, 'list')} repeated the one before, on the kubelet's stream"


def _repeated_to_kubelet(subject: Subject) -> int:
    """Return how often the kubelet got the same list again on one stream."""
    if subject.registration_count() != 1:
        # Each registration opens a stream, which begins with the whole list.
        return 0
    lists = [sorted(update.devices, key=lambda device: device.id) for update in subject.lists()]
    return sum(one == other for one, other in pairwise(lists))


RULES = (first_list, list_size, ids_unique, ids_short, health_words, numa_nodes, sent_on_change)

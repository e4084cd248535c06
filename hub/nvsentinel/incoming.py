"""What NVSentinel reports: each of its checks is a source of reports, as if it were a program of its own.

A healthy event of one check therefore never ends what another one has reported.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from urllib.parse import quote

from hub.base.errors import HubError
from hub.base.log import get_logger
from hub.base.printable import printable
from hub.model.external import ExternalReport
from hub.nvsentinel.outgoing import AGENT, NVSENTINEL
from hub.nvsentinel.wire import NO_ACTION, RESTART_APPLICATION, STORE_ONLY, HealthEvent, decode_event, split_events
from hub.rpc import ServiceError
from hub.status.externalreports import ExternalReports

WRITER = NVSENTINEL
"""The prefix of the reports' sources and of their file names."""

_LONGEST_NAME = 100
_LONGEST_REASON = 500

MAX_DEVICES = 4096
"""Maximum number of devices in all events of a request."""

_UUID = re.compile(r"(GPU|MIG)-[0-9A-Za-z/-]{1,90}", re.ASCII)
_PCI = re.compile(r"([0-9a-f]{4,8}):([0-9a-f]{2}):([0-9a-f]{2})(?:\.([0-7]))?", re.ASCII | re.IGNORECASE)

_SAFE = " :.()[]+=@"
"""The characters of a check or an error code that its source keeps, besides letters, digits, `_`, `.`, `-` and `~`."""

_Report = tuple[str, str]
"""A source, and a device."""


class Incoming:
    """Turns events into reports, and withdraws them.

    Args:
        reports: Keeps the reports.
        node: The node's name: an event about another one is ignored.
        all_events: Whether to act on events that are not fatal, too.
    """

    def __init__(self, reports: ExternalReports, node: str, *, all_events: bool = False) -> None:
        self._reports = reports
        self._node = node
        self._all_events = all_events
        self._log = get_logger()

    def take(self, request: bytes) -> None:
        """Carry out a request. An event that cannot be used does not affect the others.

        Raises:
            ServiceError: it is not a request.
            OSError: the reports cannot be read.
        """
        before = {(report.source, report.device): report.reason for report in self._reports.kept()}
        after = dict(before)
        rejected: list[str] = []
        left = MAX_DEVICES
        for content in split_events(request):
            try:
                event = decode_event(content)
                left -= len(event.entities)
                if left < 0:
                    raise ServiceError(f"the request has more than {MAX_DEVICES} entities")
                self._apply(event, after)
            except HubError as error:
                rejected.append(str(error))
        rejected += self._keep(before, after)
        if rejected:
            self._log.warning("NVSentinel events rejected", count=len(rejected), reason=printable(rejected[0]))

    def _apply(self, event: HealthEvent, reports: dict[_Report, str]) -> None:
        """Add the reports that follow from an event, or remove those that it ends.

        Raises:
            HubError: it cannot be used.
        """
        if event.agent == AGENT or event.strategy == STORE_ONLY or event.node not in ("", self._node):
            return
        if event.is_healthy:
            for each in _ended(event, reports):
                del reports[each]
        elif self._all_events or _is_fault(event):
            reports |= _reports(event)

    def _keep(self, before: Mapping[_Report, str], after: Mapping[_Report, str]) -> list[str]:
        """Write what all events of a request have changed; return why reports could not be written or removed."""
        problems = []
        for source, device in before.keys() - after.keys():
            try:
                self._reports.withdraw(source, device)
                self._log.info("external report withdrawn", device=device, source=source)
            except OSError as error:
                problems.append(str(error))
        for (source, device), reason in after.items() - before.items():
            try:
                if self._reports.put(ExternalReport(device, reason, source)):
                    self._log.info("external report received", device=device, source=source, reason=reason)
            except (HubError, OSError) as error:
                problems.append(str(error))
        return problems


def _reports(event: HealthEvent) -> dict[_Report, str]:
    """Return the reports that follow from an event, with their reason.

    Raises:
        ServiceError: a name in it cannot be used.
    """
    source = "/".join((_check_source(event), *([_codes(event)] if event.codes else [])))
    reason = printable(event.message.strip() or event.check)[:_LONGEST_REASON]
    # A PCI address also names MIG devices and shares, which have UUIDs of their own.
    devices = list(_devices(event))
    addresses = [name for kind, name in devices if kind == "PCI"]
    return dict.fromkeys(((source, device) for device in addresses or [name for _, name in devices]), reason)


def _is_fault(event: HealthEvent) -> bool:
    """Return whether the device is faulty. Later versions send only the action, which determines what is fatal."""
    return event.is_fatal or event.action not in (NO_ACTION, RESTART_APPLICATION)


def _ended(event: HealthEvent, kept: Iterable[_Report]) -> Sequence[_Report]:
    """Return the reports that a healthy event ends: of its check, and of its error codes and devices, if it has any."""
    check = _check_source(event)
    exact = f"{check}/{_codes(event)}" if event.codes else ""
    devices = {name for _, name in _devices(event)}

    def is_ended(source: str, device: str) -> bool:
        is_meant = source == exact if exact else source == check or source.startswith(f"{check}/")
        return is_meant and (not event.entities or device in devices)

    return [each for each in kept if is_ended(*each)]


def _check_source(event: HealthEvent) -> str:
    return f"{WRITER}/{_part(event.check)}"


def _codes(event: HealthEvent) -> str:
    _checked(",".join(event.codes))
    return ",".join(_part(code) for code in sorted(event.codes))


def _devices(event: HealthEvent) -> Iterator[tuple[str, str]]:
    """Yield the kinds and the names of the devices that an event is about, as plugins name them.

    Raises:
        ServiceError: a name is not one that a device can have.
    """
    for kind, value in event.entities:
        if kind == "PCI":
            found = _PCI.fullmatch(value)
            if not found:
                raise ServiceError(f'the PCI address is "{value[:_LONGEST_NAME]}", expected one such as 0000:1b:00')
            domain, bus, slot, function = found.groups()
            yield kind, f"{int(domain, 16):04x}:{bus}:{slot}.{function or 0}".lower()
        elif kind == "GPU_UUID":
            if not _UUID.fullmatch(value):
                raise ServiceError(
                    f'the UUID of the GPU is "{value[:_LONGEST_NAME]}", expected one such as GPU-5ad2e0cd'
                )
            yield kind, value


def _part(text: str) -> str:
    """Return a string as a part of a source. Different strings are different parts: one check cannot end another's.

    Raises:
        ServiceError: it is empty or too long.
    """
    part = quote(_checked(text), safe=_SAFE)
    # A quoted text has no number sign.
    return part if len(part) <= _LONGEST_NAME else f"{part[:_LONGEST_NAME]}#{sha256(part.encode()).hexdigest()[:16]}"


def _checked(text: str) -> str:
    """Return a name.

    Raises:
        ServiceError: it is empty or too long.
    """
    if not 0 < len(text) <= _LONGEST_NAME:
        raise ServiceError(f"a name has {len(text)} characters, expected 1 to {_LONGEST_NAME}")
    return text

"""NVSentinel's health events on the wire: the fields of its API that are used here, by their numbers.

There is no generated code: the few fields are written and read by their numbers, and all others are ignored.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from hub.rpc import ServiceError, message_fields

METHODS = ("HealthEventOccurredV1", "HealthEventOccuredV1")
"""The method, and its name in earlier versions."""

SERVICE = "datamodels.PlatformConnector"

STORE_ONLY = 2
"""The processing strategy of an event that is kept, and on which nothing acts."""

NO_ACTION, RESTART_APPLICATION = 0, 39
"""The recommended actions that mean that the device works."""

MAX_EVENTS = 1000
"""Maximum number of events in a request: sixteen GPUs with all their checks have a few hundred."""

MAX_ENTITIES = 64
"""Maximum number of entities of an event, and of error codes."""

_VERSION = 1

_LOW_BITS = 0x7F
_ALL_BITS = (1 << 64) - 1


class Entity(NamedTuple):
    """Something that an event is about."""

    kind: str
    """GPU_UUID, PCI, or any other word."""
    value: str


class HealthEvent(NamedTuple):
    """An event: what a check reports about a few devices."""

    check: str
    is_healthy: bool
    message: str = ""
    entities: Sequence[Entity] = ()
    codes: Sequence[str] = ()
    """The errors, such as XIDs; a healthy event without them is about all errors of its check."""
    is_fatal: bool = False
    action: int = NO_ACTION
    strategy: int = 0
    node: str = ""
    agent: str = ""
    component: str = ""
    time: float = 0
    """Unix time."""


def encode_events(events: Iterable[HealthEvent]) -> bytes:
    """Encode a request."""
    return _field(1, _VERSION) + b"".join(_field(2, _encoded(event)) for event in events)


def split_events(request: bytes) -> list[bytes]:
    """Return the events of a request, each encoded.

    Raises:
        ServiceError: it is not a request, or has too many events.
    """
    events = [each for each in _fields(request).get(2, ()) if isinstance(each, bytes)]
    if len(events) > MAX_EVENTS:
        raise ServiceError(f"the request has {len(events)} events, expected at most {MAX_EVENTS}")
    return events


def decode_event(content: bytes) -> HealthEvent:
    """Decode an event.

    Raises:
        ServiceError: it is not an event, or has too many parts.
    """
    fields = _fields(content)
    entities = [_fields(each) for each in fields.get(10, ()) if isinstance(each, bytes)]
    codes = [each.decode(errors="replace") for each in fields.get(9, ()) if isinstance(each, bytes)]
    if max(len(entities), len(codes)) > MAX_ENTITIES:
        raise ServiceError(f"the event has more than {MAX_ENTITIES} entities or error codes")
    return HealthEvent(
        check=_text(fields, 4),
        is_healthy=bool(_number(fields, 6)),
        message=_text(fields, 7),
        entities=[Entity(_text(each, 1), _text(each, 2)) for each in entities],
        codes=codes,
        is_fatal=bool(_number(fields, 5)),
        action=_number(fields, 8),
        strategy=_number(fields, 16),
        node=_text(fields, 13),
        agent=_text(fields, 2),
        component=_text(fields, 3),
    )


def _encoded(event: HealthEvent) -> bytes:
    seconds, part = divmod(event.time, 1)
    return b"".join(
        (
            _field(1, _VERSION),
            _field(2, event.agent),
            _field(3, event.component),
            _field(4, event.check),
            _field(5, event.is_fatal),
            _field(6, event.is_healthy),
            _field(7, event.message),
            _field(8, event.action),
            *(_field(9, code) for code in event.codes),
            *(_field(10, _field(1, kind) + _field(2, value)) for kind, value in event.entities),
            _field(12, _field(1, int(seconds)) + _field(2, int(part * 1e9))),
            _field(13, event.node),
            _field(16, event.strategy),
        )
    )


def _field(number: int, value: int | str | bytes) -> bytes:
    """Encode a field of a message; a field with its default value takes no space."""
    if not value:
        return b""
    if isinstance(value, int):
        # As protobuf encodes a negative number, such as a time before 1970.
        return _varint(number << 3) + _varint(value & _ALL_BITS)
    content = value.encode(errors="replace") if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > _LOW_BITS:
        encoded.append(value & _LOW_BITS | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


_Fields = dict[int, list[int | bytes]]


def _fields(content: bytes) -> _Fields:
    try:
        return message_fields(content)
    except ServiceError:
        raise ServiceError("expected a message of NVSentinel's API") from None


def _text(fields: _Fields, number: int) -> str:
    value = fields.get(number, [b""])[-1]
    return value.decode(errors="replace") if isinstance(value, bytes) else ""


def _number(fields: _Fields, number: int) -> int:
    value = fields.get(number, [0])[-1]
    return value if isinstance(value, int) else 0

"""NVSentinel's platform connector as health monitors see it: a socket on which it receives their events."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

SERVICE = "datamodels.PlatformConnector"

_TYPES = descriptor_pb2.FieldDescriptorProto
_MESSAGES: Mapping[str, Sequence[tuple[int, str, str]]] = {
    "HealthEvents": [(1, "version", "int"), (2, "events", "*HealthEvent")],
    "Entity": [(1, "entityType", ""), (2, "entityValue", "")],
    "Time": [(1, "seconds", "int"), (2, "nanos", "int")],
    "HealthEvent": [
        (1, "version", "int"),
        (2, "agent", ""),
        (3, "componentClass", ""),
        (4, "checkName", ""),
        (5, "isFatal", "bool"),
        (6, "isHealthy", "bool"),
        (7, "message", ""),
        (8, "recommendedAction", "int"),
        (9, "errorCode", "*"),
        (10, "entitiesImpacted", "*Entity"),
        (12, "generatedTimestamp", "Time"),
        (13, "nodeName", ""),
        (16, "processingStrategy", "int"),
    ],
}
"""The messages of the API: the number, the name and the type of each field, by default text."""


def event(check: str, entities: Iterable[tuple[str, str]] = (), **fields: Any) -> Any:  # noqa: ANN401 - a message
    """Create an event, which is fatal unless it is healthy."""
    made = _class("HealthEvent")(checkName=check, version=1, **{"isFatal": not fields.get("isHealthy"), **fields})
    for kind, value in entities:
        made.entitiesImpacted.add(entityType=kind, entityValue=value)
    return made


def request(*events: Any) -> bytes:  # noqa: ANN401 - messages
    """Encode a request."""
    return bytes(_class("HealthEvents")(version=1, events=events).SerializeToString())


def events_in(content: bytes) -> list[Any]:
    """Decode a request."""
    return list(_class("HealthEvents").FromString(content).events)


async def send(socket: Path, content: bytes, method: str = "HealthEventOccurredV1") -> None:
    """Send a request to a socket, as NVSentinel's gRPC sink and monitors do."""
    async with grpc.aio.insecure_channel(f"unix://{socket}") as channel:
        call: Any = channel.unary_unary(f"/{SERVICE}/{method}", None, None)
        await call(content, timeout=60, wait_for_ready=True)


class Connector:
    """A connector.

    Args:
        socket: The path of its socket.
        method: The name of its method, which was different in earlier versions.

    Attributes:
        events: The events that it has received.
        refuses: Whether it refuses events.
    """

    def __init__(self, socket: Path, method: str = "HealthEventOccurredV1") -> None:
        self.events: list[Any] = []
        self.refuses = False
        self._socket = socket
        self._method = method
        self._server: grpc.aio.Server | None = None

    async def __aenter__(self) -> Self:
        self._socket.unlink(missing_ok=True)
        self._server = grpc.aio.server()
        handler = grpc.unary_unary_rpc_method_handler(self._take)
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {self._method: handler}),))
        self._server.add_insecure_port(f"unix://{self._socket}")
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server
        await self._server.stop(None)

    async def _take(self, content: bytes, context: Any) -> bytes:  # noqa: ANN401 - gRPC's
        if self.refuses:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
        self.events += events_in(content)
        return b""

    def last(self, value: str) -> Any:  # noqa: ANN401 - a message
        """Return the last event about an entity with this value; None if there is none."""
        found = [each for each in self.events if value in {entity.entityValue for entity in each.entitiesImpacted}]
        return found[-1] if found else None


def _class(name: str) -> Any:  # noqa: ANN401 - a class that is made here
    return message_factory.GetMessageClass(_file().message_types_by_name[name])


@cache
def _file() -> Any:  # noqa: ANN401 - a file descriptor
    file = descriptor_pb2.FileDescriptorProto(name="nvsentinel-test.proto", package="datamodels", syntax="proto3")
    scalars = {"": _TYPES.TYPE_STRING, "int": _TYPES.TYPE_INT64, "bool": _TYPES.TYPE_BOOL}
    for name, fields in _MESSAGES.items():
        message = file.message_type.add(name=name)
        for number, field, kind in fields:
            scalar = scalars.get(kind.removeprefix("*"))
            message.field.add(
                name=field,
                number=number,
                label=_TYPES.LABEL_REPEATED if kind.startswith("*") else _TYPES.LABEL_OPTIONAL,
                type=_TYPES.TYPE_MESSAGE if scalar is None else scalar,
                type_name=f".datamodels.{kind.removeprefix('*')}" if scalar is None else None,
            )
    return descriptor_pool.DescriptorPool().Add(file)

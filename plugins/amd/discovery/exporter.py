"""Query AMD's metrics exporter for unhealthy GPUs."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from hub import ServiceError, call_service, message_fields

METHODS = ("/metricssvc.MetricsService/List", "/gpumetricssvc.MetricsService/List")
"""The names of the method that lists all GPUs: first the name that exporters implement, then the documented one."""

_STATE = 1
"""The repeated field of the response that contains the state of a GPU."""

_HEALTH, _DEVICE = 3, 5
"""Fields of a state. The device is a PCI address."""

_UNHEALTHY = "unhealthy"
"""The exporter writes it in lower case; any other value does not make the GPU unhealthy."""


def unhealthy_devices(socket: Path) -> frozenset[str]:
    """Return the names of the GPUs that the exporter reports as unhealthy.

    Raises:
        hub.ServiceError: the exporter does not answer, or its response is invalid.
    """
    states = [
        message_fields(state) for state in message_fields(_ask(socket)).get(_STATE, ()) if isinstance(state, bytes)
    ]
    return frozenset(_text(state, _DEVICE) for state in states if _text(state, _HEALTH) == _UNHEALTHY)


def _ask(socket: Path) -> bytes:
    usual, described = METHODS
    try:
        return call_service(socket, usual)
    except ServiceError as error:
        try:
            return call_service(socket, described)
        except ServiceError:
            raise error from None


def _text(state: Mapping[int, Sequence[int | bytes]], field: int) -> str:
    """Return a field as text in lower case; empty if it is missing."""
    value = state.get(field, [b""])[-1]
    return value.decode(errors="replace").lower() if isinstance(value, bytes) else ""
